"""`python -m flows.cancel JOB`: give up what is not done.

cancel.json first; then requested tasks become failed (cancelled) at once, those at work at their next renewal.
"""

import sys

from flows.terminal import command_line
from flows.terminal.signature import BucketUrl, JobName
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.operations.cancel import CancelReport, cancel_job
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted


@thor_flow(name="thor-cancel", flow_run_name="cancel {job_id}")
def cancel(job_id: JobName, bucket: BucketUrl = None) -> CancelReport:
    """Give up what is not done of a job.

    Requested tasks fail as cancelled at once, those at work when their worker next renews its lease; what is done
    stays. `python -m flows.retry JOB --kind cancelled` takes it back. Safe to run twice.
    """
    job = JobLayout(job_id_from_text(job_id))
    return cancel_job(open_bucket_from_settings(settings_from_environment(), bucket or None), job)


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


main = Verb("cancel", cancel, show=show, is_failure=lambda report: bool(report.faults))


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
