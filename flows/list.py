"""`python -m flows.list`: the jobs of a bucket, newest first, with the number of their tasks in each state."""

import sys
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl, either_of
from flows.terminal.verb import Verb
from tasks.operations.jobs_list import JobsList, JobSummary, list_jobs
from tasks.wording import counted

NEWEST = 20
"""Jobs that are listed by default: the status of each of their tasks is read."""

HOW_MANY = either_of("--all", "--limit")

COLUMNS = ("job", "created (UTC)", "tasks", "requested", "in_progress", "succeeded", "failed", "notes")


def list_of_jobs(
    all_jobs: Annotated[bool, Parameter(name="--all"), HOW_MANY] = False,  # noqa: FBT002 (a flag of the command)
    limit: Annotated[int, Field(ge=1), HOW_MANY] = NEWEST,
    bucket: BucketUrl = None,
) -> JobsList:
    """List the jobs of a bucket, newest first, with the number of their tasks in each state.

    Args:
        all_jobs: Every job, in place of the newest.
        limit: How many of the newest jobs.
    """
    store = bucket_of(bucket)
    return list_jobs(store, limit=None if all_jobs else limit)


def show(found: JobsList) -> None:
    """Print the table."""
    if not found.jobs:
        command_line.print_line(f"There are no jobs in {found.bucket}.")
        return
    command_line.print_table(COLUMNS, [row(job) for job in found.jobs])
    if found.n_left_out:
        command_line.print_line(f"{counted(found.n_left_out, 'older job')} left out; --all shows them.")


def row(job: JobSummary) -> tuple[object, ...]:
    """Return the cells of one job."""
    created = None if job.created_at is None else f"{job.created_at:%Y-%m-%d %H:%M}"
    counts = job.progress
    return (
        job.job_id,
        created,
        counts.total,
        counts.requested,
        counts.in_progress,
        counts.succeeded,
        counts.failed,
        "; ".join(job.notes),
    )


main = Verb("list", list_of_jobs, show=show)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
