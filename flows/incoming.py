"""`python -m flows.incoming`: submit every table of observations below `incoming/` of the bucket, each exactly once.

It submits and leaves; workers do the tasks, `flows.monitor` and `flows.collect` go on with each job.
"""

import functools
import sys
from collections.abc import Sequence

from flows.submit import job_steps
from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.operations.take_in import Arrival, TakeIn
from tasks.prefect_api import instrument

COLUMNS = ("table", "outcome", "job", "tasks", "why")


@thor_flow(name="thor-incoming")
def submit_incoming(bucket: BucketUrl = None, queue: QueueUrl = None) -> list[Arrival]:
    """Submit every new table of observations below incoming/ of the bucket, each exactly once.

    Its test orbits are those of orbits.csv beside it, or in the nearest folder above; settings likewise from
    config.csv. What is wrong with a table is written beside it (TABLE.error.txt); the other tables are submitted all
    the same, and the exit code is 1. Safe to run at any time, also twice at once.
    """
    store, settings = bucket_and_settings(bucket, queue)
    arrivals = list(TakeIn(store, functools.partial(open_publisher_from_settings, settings), job_steps()).run())
    if arrivals:
        rows = [dict(zip(COLUMNS, row(arrival), strict=True)) for arrival in arrivals]
        instrument.show_table("thor-incoming", rows, "Tables that came in")
    for arrival in arrivals:
        subject = f"thor.job.{arrival.job_id}"
        instrument.tell_event(f"thor.incoming.{arrival.outcome}", subject=subject, table=arrival.table)
    return arrivals


def show(arrivals: Sequence[Arrival]) -> None:
    """Tell a person what became of each table."""
    if not arrivals:
        command_line.print_line("There is no new table.")
        return
    command_line.print_table(COLUMNS, [row(arrival) for arrival in arrivals])


def row(arrival: Arrival) -> tuple[object, ...]:
    """Return the cells of one table."""
    first_line = (arrival.fault or "").partition("\n")[0]
    return (arrival.table, arrival.outcome, arrival.job_id, arrival.n_tasks, first_line)


def is_left(arrivals: Sequence[Arrival]) -> bool:
    """Whether a table was not submitted."""
    return any(arrival.outcome != "submitted" for arrival in arrivals)


main = Verb("incoming", submit_incoming, show=show, is_failure=is_left)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
