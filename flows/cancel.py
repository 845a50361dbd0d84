"""`python -m flows.cancel JOB`: give up what is not done.

cancel.json first; then requested tasks become failed (cancelled) at once, those at work at their next renewal.
"""

import argparse
import sys
from collections.abc import Sequence

from prefect import flow

from flows.terminal import command_line
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.operations.cancel import CancelReport, cancel_job
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted


@flow(name="thor-cancel", flow_run_name="cancel {job_id}", description="Give up what is not done of a job.")
def cancel(job_id: str, bucket: str | None = None) -> CancelReport:
    """Cancel a job. Twice: safe.

    Args:
        job_id: The job.
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
    """
    job = JobLayout(job_id_from_text(job_id))
    return cancel_job(open_bucket_from_settings(settings_from_environment(), bucket or None), job)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "cancel",
        "Cancels a job: requested tasks fail as cancelled at once, those at work when their worker next renews its "
        "lease; what is done stays. Safe to run twice.",
        epilog="'python -m flows.retry JOB --kind cancelled' takes it back.",
    )
    command_line.add_job_argument(parser)
    command_line.add_bucket_option(parser)
    return parser.parse_args(arguments)


def show(report: CancelReport) -> None:
    """Tell a person what was done."""
    again = " already" if report.was_cancelled else ""

    command_line.print_line(
        f"Job {report.job_id} is{again} cancelled: {counted(len(report.cancelled), 'requested task')} cancelled now, "
        f"{report.n_completed} had come to an end before."
    )
    if report.in_progress:
        at_work = counted(len(report.in_progress), "task")
        command_line.print_line(f"Still at work: {at_work}; each ends when its worker next renews its lease.")
    command_line.print_faults(report.faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    report = command_line.show_run(cancel, options.job_id, bucket=options.bucket)
    command_line.print_json(report) if options.json else show(report)
    return command_line.FAILED if report.faults else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
