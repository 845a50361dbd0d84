"""`python -m flows.delete JOB --yes`: take a job out of the bucket, inputs and outputs."""

import sys

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl, JobName
from flows.terminal.verb import Verb, thor_flow
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.operations.delete import DeleteReport, delete_job
from tasks.records.ids import job_id_from_text
from tasks.wording import counted


@thor_flow(name="thor-delete", flow_run_name="delete {job_id}")
def delete(
    job_id: JobName,
    bucket: BucketUrl = None,
    yes: bool = False,  # noqa: FBT001, FBT002 (a check box)
    force: bool = False,  # noqa: FBT001, FBT002
) -> DeleteReport:
    """Delete a job from the bucket: inputs, statuses, outputs.

    Refused while tasks are requested or in progress. An interrupted deletion is completed by running it again. A local
    copy that `flows.collect` made stays.

    Args:
        yes: Required: confirms the deletion.
        force: Delete it although tasks are unfinished.
    """
    job = JobLayout(job_id_from_text(job_id))
    store = bucket_of(bucket)
    if not yes:
        raise BadInputError(
            f"Nothing was deleted. This takes inputs and outputs of job {job_id!r} out of {store.url} for good: "
            "say --yes if it is meant."
        )
    return delete_job(store, job, force=force)


def show(report: DeleteReport) -> None:
    """Tell a person what was done."""
    objects = counted(report.n_deleted, "object")
    command_line.print_line(f"Job {report.job_id} is deleted: {objects}.")
    unfinished = report.progress.total - report.progress.completed
    if unfinished:
        tasks = counted(unfinished, "task")
        command_line.print_line(
            f"{tasks} had not come to an end: drain the dead queue (--discard) when workers are done."
        )
    if report.n_left:
        left = counted(report.n_left, "object")
        command_line.print_line(f"{left} came in meanwhile: another process still writes. Run it again.")


main = Verb("delete", delete, show=show, is_failure=lambda report: report.n_left > 0)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
