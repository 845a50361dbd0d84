"""`python -m flows.repair JOB | --all`: ring again for every task that is not done.

The bucket is the truth: whatever a queue lost is made anew from it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from prefect import flow
from pydantic import SecretStr

from flows.terminal import command_line
from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.broker.report import recreate_broken_queues
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.operations.find_jobs import find_jobs
from tasks.operations.repair import RepairAllReport, RepairReport, repair_job, repair_jobs
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted


@flow(name="thor-repair", description="Ring again for every task that is not done.")
def repair(
    job_id: str | None = None,
    bucket: str | None = None,
    queue: SecretStr | None = None,
    recreate_queues: bool = False,  # noqa: FBT001, FBT002 (a check box)
) -> RepairAllReport:
    """Repair one job, or with no id every job of the bucket. Twice: safe.

    Args:
        job_id: The job; None: every job of the bucket.
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
        queue: amqp://... or sqlite:///PATH; better left at None: what stands here is kept with the run, in the clear.
        recreate_queues: First delete the queues that do not work and make them anew; then every job is to be repaired,
            those of other buckets on the same queue too.
    """
    settings = settings_from_environment()
    store = open_bucket_from_settings(settings, bucket or None)
    url = command_line.queue_url(queue) or settings.with_bucket(store.url).queue_url
    if job_id:  # a form in the UI that is left empty gives ""
        if recreate_queues:
            raise BadInputError("Cannot make queues anew for one job: messages of all jobs lie in them. Use --all.")
        with closing(open_publisher_from_settings(settings, url)) as publisher:
            return RepairAllReport([repair_job(store, publisher, JobLayout(job_id_from_text(job_id)))], skipped={})
    recreated = recreate_broken_queues(url, ca_file=settings.queue_ca_file) if recreate_queues else []
    with closing(open_publisher_from_settings(settings, url)) as publisher:
        return replace(repair_jobs(store, publisher, find_jobs(store)), recreated_queues=recreated)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "repair",
        "Sends a message again for every task that is not done, as after a queue was lost. Safe to run at any time: a "
        "message too many does no harm, and nothing in the bucket is changed.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("job_id", metavar="JOB", nargs="?", help="the job's id")
    which.add_argument("--all", action="store_true", help="every job of the bucket")
    parser.add_argument(
        "--recreate-queues",
        action="store_true",
        help="first delete the RabbitMQ queues that do not work (no leader, other arguments) and make them anew; with "
        "--all only, and to be done for every bucket that uses them",
    )
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    return parser.parse_args(arguments)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    report = command_line.show_run(
        repair,
        None if options.all else job_id_from_text(options.job_id),
        bucket=options.bucket,
        queue=options.queue,
        recreate_queues=options.recreate_queues,
    )
    command_line.print_json(report) if options.json else show(report)
    has_faults = any(job.faults for job in report.jobs)
    return command_line.FAILED if has_faults or report.skipped else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
