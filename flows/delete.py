"""`python -m flows.delete JOB --yes`: take a job out of the bucket, inputs and outputs."""

import argparse
import sys
from collections.abc import Sequence

from prefect import flow

from flows.terminal import command_line
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.operations.delete import DeleteReport, delete_job
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted


@flow(name="thor-delete", flow_run_name="delete {job_id}", description="Take a job out of the bucket.")
def delete(
    job_id: str,
    bucket: str | None = None,
    yes: bool = False,  # noqa: FBT001, FBT002 (a check box)
    force: bool = False,  # noqa: FBT001, FBT002
) -> DeleteReport:
    """Delete a job, once `yes` says that this is meant. Twice: safe."""
    job = JobLayout(job_id_from_text(job_id))
    store = open_bucket_from_settings(settings_from_environment(), bucket or None)
    if not yes:
        raise BadInputError(
            f"Nothing was deleted. This takes inputs and outputs of job {job_id!r} out of {store.url} for good: "
            "say --yes if it is meant."
        )
    return delete_job(store, job, force=force)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "delete",
        "Deletes a job from the bucket: inputs, statuses, outputs. Refused while tasks are requested or in progress. "
        "An interrupted deletion is completed by running it again.",
        epilog="A local copy that `flows.collect` made stays.",
    )
    command_line.add_job_argument(parser)
    parser.add_argument("--yes", action="store_true", help="needed: say that it is meant")
    parser.add_argument("--force", action="store_true", help="also when tasks have not come to an end")
    command_line.add_bucket_option(parser)
    return parser.parse_args(arguments)


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
        command_line.print_line(f"{left} came in meanwhile: somebody still writes. Run it again.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    report = command_line.show_run(delete, options.job_id, bucket=options.bucket, yes=options.yes, force=options.force)
    command_line.print_json(report) if options.json else show(report)
    return command_line.FAILED if report.n_left else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
