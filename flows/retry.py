"""`python -m flows.retry JOB`: have failed tasks done again.

failed -> requested, each by compare-and-swap; then one message for each.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import get_args

from prefect import flow
from pydantic import SecretStr

from flows.terminal import command_line
from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.bucket.layout import JobLayout
from tasks.operations.retry import RetryKind, RetryReport, retry_job
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted


@flow(name="thor-retry", flow_run_name="retry {job_id}", description="Have failed tasks of a job done again.")
def retry(
    job_id: str,
    kind: RetryKind | None = None,
    task_ids: tuple[str, ...] = (),
    bucket: str | None = None,
    queue: SecretStr | None = None,
) -> RetryReport:
    """Make failed tasks requested again, and ring for them. Twice: safe.

    Args:
        job_id: The job.
        kind: Only failures of this kind; None: all but cancelled. On a cancelled job, cancelled and all end that.
        task_ids: Only these tasks; None: all that failed.
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
        queue: amqp://... or sqlite:///PATH; better left at None: what stands here is kept with the run, in the clear.
    """
    job = JobLayout(job_id_from_text(job_id))
    settings = settings_from_environment()
    store = open_bucket_from_settings(settings, bucket or None)
    settings = settings.with_bucket(store.url)
    with closing(open_publisher_from_settings(settings, command_line.queue_url(queue))) as publisher:
        return retry_job(store, publisher, job, kind=kind, task_ids=task_ids)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser("retry", "Has failed tasks of a job done again. Safe to run twice.")
    command_line.add_job_argument(parser)
    parser.add_argument("task_ids", metavar="TASK", nargs="*", help="only these tasks (default: all that failed)")
    parser.add_argument(
        "--kind",
        choices=get_args(RetryKind),
        help="only failures of this kind (default: all but cancelled). On a cancelled job, 'cancelled' and 'all' end "
        "the cancellation",
    )
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    # Plainly parsed, TASK after an option would be refused: "none" has been taken for the tasks by then.
    return parser.parse_intermixed_args(arguments)


def show(report: RetryReport) -> None:
    """Tell a person what was done."""
    tasks = counted(len(report.retried), "failed task")
    messages = counted(report.n_published, "message")
    command_line.print_line(f"Job {report.job_id}: {tasks} requested again, {messages} sent.")
    for kind, count in report.left_failed.items():
        left = counted(count, "task")
        command_line.print_line(f"Left as they are: {left} failed as {kind}; --kind {kind} has them done again.")
    command_line.print_faults(report.faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    report = command_line.show_run(
        retry,
        options.job_id,
        kind=options.kind,
        task_ids=tuple(options.task_ids),
        bucket=options.bucket,
        queue=options.queue,
    )
    command_line.print_json(report) if options.json else show(report)
    return command_line.FAILED if report.faults else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
