"""`python -m flows.metrics`: how far the jobs are and how many messages wait, for Prometheus."""

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb
from tasks.bootstrap import open_publisher_from_settings
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.metrics import JobMetrics, serve_metrics, write_metrics
from tasks.operations.jobs_list import list_jobs

NEWEST = 20
"""Jobs that are told: the status of each of their tasks is looked at each time."""


def metrics(
    port: Annotated[int | None, Field(ge=1, le=65535)] = None,
    file: Path | None = None,
    seconds: Annotated[float, Field(gt=0)] = 60.0,
    once: bool = False,  # noqa: FBT001, FBT002 (a flag of the command)
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> None:
    """Export to Prometheus how many tasks are in each state, and how many messages wait. Runs until stopped.

    Workers export their own metrics: `python -m workers --metrics-port`.

    Args:
        port: Serve the metrics on this port.
        file: Write them into this file, for node_exporter's textfile collector.
        seconds: Look again after this long.
        once: Look once and exit: for a file that a cron job keeps.
    """
    store, settings = bucket_and_settings(bucket, queue)
    if port is None and file is None:
        raise BadInputError("Nothing would read the metrics: give --port, --file, or both.")
    told = JobMetrics()
    if port is not None:
        serve_metrics(told.registry, port=port)
    while True:
        with closing(open_publisher_from_settings(settings)) as publisher:
            depth = publisher.depth()
        told.tell(tasks_by_state(store), vars(depth))
        if file is not None:
            write_metrics(told.registry, file)
        if once:
            return
        time.sleep(seconds)


def tasks_by_state(bucket: Bucket) -> dict[str, dict[str, int]]:
    """Return, for each of the newest jobs, how many of its tasks are in each state."""
    states = ("requested", "in_progress", "succeeded", "failed")
    return {
        job.job_id: {state: getattr(job.progress, state) for state in states}
        for job in list_jobs(bucket, limit=NEWEST).jobs
    }


main: Verb[None] = Verb("metrics", metrics, show=lambda _: None)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
