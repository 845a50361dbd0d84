"""`python -m flows.retry JOB`: have failed tasks done again.

failed -> requested, each by compare-and-swap; then one message for each.
"""

import sys
from contextlib import closing
from typing import Annotated

from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.signature import BucketUrl, JobName, Positional, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.bucket.layout import JobLayout
from tasks.operations.retry import RetryKind, RetryReport, retry_job
from tasks.records.ids import job_id_from_text
from tasks.wording import counted


@thor_flow(name="thor-retry", flow_run_name="retry {job_id}")
def retry(
    job_id: JobName,
    kind: RetryKind | None = None,
    task_ids: Annotated[tuple[str, ...], Positional("TASK...")] = (),
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> RetryReport:
    """Run failed tasks of a job again. Safe to run twice.

    Args:
        kind: Only failures of this kind. Default: all but cancelled. On a cancelled job, "cancelled" and "all" end the
            cancellation.
        task_ids: Only these tasks. Default: all that failed.
    """
    job = JobLayout(job_id_from_text(job_id))
    store, settings = bucket_and_settings(bucket, queue)
    with closing(open_publisher_from_settings(settings)) as publisher:
        return retry_job(store, publisher, job, kind=kind, task_ids=task_ids)


def show(report: RetryReport) -> None:
    """Tell a person what was done."""
    tasks = counted(len(report.retried), "failed task")
    messages = counted(report.n_published, "message")
    command_line.print_line(f"Job {report.job_id}: {tasks} requested again, {messages} sent.")
    for kind, count in report.left_failed.items():
        left = counted(count, "task")
        command_line.print_line(f"Left as they are: {left} failed as {kind}; --kind {kind} has them done again.")
    command_line.print_faults(report.faults)


main = Verb("retry", retry, show=show, is_failure=lambda report: bool(report.faults))


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
