"""`python -m flows.cancel JOB [TASK...]`: give up what is not done.

cancel.json first; then requested tasks become failed (cancelled) at once, those at work at their next renewal.
"""

import sys
from typing import Annotated

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl, JobName, Positional
from flows.terminal.verb import Verb, thor_flow
from tasks.bucket.layout import JobLayout
from tasks.operations.cancel import CancelReport, cancel_job, cancel_tasks
from tasks.records.ids import job_id_from_text
from tasks.wording import counted


@thor_flow(name="thor-cancel", flow_run_name="cancel {job_id}")
def cancel(
    job_id: JobName, task_ids: Annotated[tuple[str, ...], Positional("TASK...")] = (), bucket: BucketUrl = None
) -> CancelReport:
    """Cancel the unfinished tasks of a job, or single tasks that are waiting.

    Requested tasks fail as cancelled at once, tasks in progress when their worker next renews its lease; finished tasks
    keep their results. `python -m flows.retry JOB --kind cancelled` undoes it. Safe to run twice.

    Args:
        task_ids: Only these tasks, if they wait for a worker. Default: the whole job.
    """
    job = JobLayout(job_id_from_text(job_id))
    store = bucket_of(bucket)
    return cancel_tasks(store, job, task_ids) if task_ids else cancel_job(store, job)


def show(report: CancelReport) -> None:
    """Tell a person what was done."""
    if not report.is_whole_job:
        show_tasks(report)
        return
    again = " already" if report.was_cancelled else ""

    command_line.print_line(
        f"Job {report.job_id} is{again} cancelled: {counted(len(report.cancelled), 'requested task')} cancelled now, "
        f"{report.n_completed} had come to an end before."
    )
    if report.in_progress:
        at_work = counted(len(report.in_progress), "task")
        command_line.print_line(f"Still at work: {at_work}; each ends when its worker next renews its lease.")
    command_line.print_faults(report.faults)


def show_tasks(report: CancelReport) -> None:
    """Tell a person what became of single tasks."""
    command_line.print_line(
        f"Job {report.job_id}: {counted(len(report.cancelled), 'requested task')} cancelled, {report.n_completed} of "
        "those named had come to an end before."
    )
    if report.in_progress:
        command_line.print_line(
            f"At work, and going on: {', '.join(report.in_progress)}. Cancel their runs in Prefect, or the whole job."
        )
    command_line.print_faults(report.faults)


main = Verb("cancel", cancel, show=show, is_failure=lambda report: bool(report.faults))


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
