"""`python -m flows.incoming`: submit every table of observations below `incoming/` of the bucket, each exactly once.

It submits and leaves; workers do the tasks, `flows.monitor` and `flows.collect` go on with each job.
"""

import argparse
import sys
from collections.abc import Sequence

from prefect import flow
from pydantic import SecretStr

from flows.submit import settings_with, submit_steps
from flows.terminal import command_line
from tasks import instrument
from tasks.bootstrap import open_bucket_from_settings
from tasks.operations.take_in import Arrival, TakeIn

COLUMNS = ("table", "outcome", "job", "tasks", "why")


@flow(name="thor-incoming", description="Submit every new table of observations below incoming/, each exactly once.")
def submit_incoming(bucket: str | None = None, queue: SecretStr | None = None) -> list[Arrival]:
    """Submit the tables below incoming/ that are new, and return what became of them. Twice: safe.

    Args:
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
        queue: amqp://... or sqlite:///PATH; better left at None: what stands here is kept with the run, in the clear.
    """
    settings = settings_with(bucket=bucket, queue=queue)
    store = open_bucket_from_settings(settings, bucket or None)
    settings = settings.with_bucket(store.url)
    arrivals = list(TakeIn(store, lambda submission: submit_steps(submission, settings)).run())
    if arrivals:
        rows = [dict(zip(COLUMNS, row(arrival), strict=True)) for arrival in arrivals]
        instrument.show_table("thor-incoming", rows, "Tables that came in")
    for arrival in arrivals:
        subject = f"thor.job.{arrival.job_id}"
        instrument.tell_event(f"thor.incoming.{arrival.outcome}", subject=subject, table=arrival.table)
    return arrivals


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "incoming",
        "Submits every table of observations below incoming/ of the bucket that is new. "
        "Its test orbits are those of orbits.csv beside it, or in the nearest folder above; settings likewise from "
        "config.csv. What is wrong with a table is written beside it (TABLE.error.txt) and holds up no other. Safe to "
        "run at any time, also twice at once.",
        epilog="Ends with 1 when a table was not submitted.",
    )
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    return parser.parse_args(arguments)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    arrivals = command_line.show_run(submit_incoming, options.bucket, options.queue)
    command_line.print_json(arrivals) if options.json else show(arrivals)
    is_done = all(arrival.outcome == "submitted" for arrival in arrivals)
    return command_line.DONE if is_done else command_line.FAILED


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
