"""`python -m flows.repair JOB | --all`: enqueue every task again that is not done.

The bucket is the truth: whatever a queue lost is made anew from it.
"""

import sys
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.signature import BucketUrl, Positional, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.broker.report import recreate_broken_queues
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.operations.find_jobs import find_jobs
from tasks.operations.repair import RepairAllReport, RepairReport, repair_job, repair_jobs
from tasks.records.ids import job_id_from_text
from tasks.wording import counted


@thor_flow(name="thor-repair")
def repair(
    job_id: Annotated[str | None, Positional("JOB")] = None,
    all_jobs: Annotated[bool, Parameter(name="--all")] = False,  # noqa: FBT002 (a check box)
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
    recreate_queues: bool = False,  # noqa: FBT001, FBT002 (a check box)
) -> RepairAllReport:
    """Send the message of every unfinished task again, for example after a queue was lost.

    Safe to run at any time: a duplicate message does no harm, and nothing in the bucket is changed.

    Args:
        job_id: The job's id; in a form, empty: every job of the bucket.
        all_jobs: Every job of the bucket.
        recreate_queues: First delete the RabbitMQ queues that do not work (no leader, other arguments) and create them
            again. Only with --all; run it for every bucket that uses these queues.
    """
    store, settings = bucket_and_settings(bucket, queue)
    if job_id and all_jobs:
        raise BadInputError(f"Cannot repair job {job_id!r} and all jobs: name a job, or say --all.")
    if job_id:  # a form in the UI that is left empty gives ""
        if recreate_queues:
            raise BadInputError("Cannot make queues anew for one job: messages of all jobs lie in them. Use --all.")
        with closing(open_publisher_from_settings(settings)) as publisher:
            return RepairAllReport([repair_job(store, publisher, JobLayout(job_id_from_text(job_id)))], skipped={})
    recreated = recreate_broken_queues(settings.queue_url, ca_file=settings.queue_ca_file) if recreate_queues else []
    with closing(open_publisher_from_settings(settings)) as publisher:
        return replace(repair_jobs(store, publisher, find_jobs(store)), recreated_queues=recreated)


def show(report: RepairAllReport) -> None:
    """Tell a person what was done."""
    for name in report.recreated_queues:
        command_line.print_line(f"Queue {name} did not work and was made anew.")
    for job in report.jobs:
        show_job(job)
    for job_id, reason in report.skipped.items():
        command_line.print_line(f"Job {job_id} was skipped: {reason}")
    if not report.jobs and not report.skipped:
        command_line.print_line("There are no jobs in the bucket.")


def show_job(job: RepairReport) -> None:
    """Tell a person what was done for one job."""
    sent = counted(job.n_published, "message")
    command_line.print_line(f"Job {job.job_id}: {sent} sent, one for each task that is not done (of {job.n_tasks}).")
    command_line.print_faults(job.faults)


def has_faults(report: RepairAllReport) -> bool:
    """Whether a task or a job could not be repaired."""
    return bool(report.skipped) or any(job.faults for job in report.jobs)


def run(job_id: str | None = None, *, all_jobs: bool = False, **options: Any) -> RepairAllReport:
    """Repair what a command line names: unlike a form, an empty one is not taken for all jobs."""
    if job_id is None and not all_jobs:
        raise BadInputError("Cannot repair: name a JOB, or say --all for every job of the bucket.")
    return command_line.show_run(repair, job_id=job_id, all_jobs=all_jobs, **options)


main = Verb("repair", repair, show=show, is_failure=has_faults, run=run)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
