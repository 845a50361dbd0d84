"""`python -m flows.clean_up`: take jobs out of the bucket that are old and done. It only tells, until --yes."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.operations.clean_up import OldJob, clean_up, limits_from_days
from tasks.prefect_api import instrument
from tasks.wording import counted

OLD_DAYS = 90.0
"""Jobs older than this are old by default."""

COLUMNS = ("job", "created (UTC)", "verdict", "objects", "why")


@thor_flow(name="thor-clean-up")
def clean_up_jobs(
    older_than_days: Annotated[float, Field(ge=0)] = OLD_DAYS,
    dry_run: Annotated[bool, Parameter(negative="--yes")] = True,  # noqa: FBT002 (a check box)
    unfinished: bool = False,  # noqa: FBT001, FBT002
    bucket: BucketUrl = None,
) -> list[OldJob]:
    """Delete old finished jobs from the bucket: inputs, statuses, outputs.

    Without --yes it only says what it would delete. A job with unfinished tasks stays, and so does one without a
    manifest, whose age is not known. Local copies that `flows.collect` made stay. Safe to run twice.

    Args:
        older_than_days: Jobs that were submitted longer ago than this, according to their manifest.
        dry_run: Only say which jobs would be deleted; --yes deletes them.
        unfinished: Also delete jobs with unfinished tasks, which otherwise stay.
    """
    limits = limits_from_days(older_than_days, now=datetime.now(UTC), with_unfinished=unfinished)
    store = bucket_of(bucket)
    jobs = list(clean_up(store, limits, dry_run=dry_run))
    rows = [dict(zip(COLUMNS, row(job), strict=True)) for job in jobs]
    instrument.show_table("thor-clean-up", rows, f"Jobs older than {older_than_days:g} days")
    return jobs


def show(jobs: Sequence[OldJob]) -> None:
    """Tell a person what was done, or would be."""
    if jobs:
        command_line.print_table(COLUMNS, [row(job) for job in jobs])
    n_deleted = sum(job.verdict == "deleted" for job in jobs)
    n_would_be = sum(job.verdict == "would be deleted" for job in jobs)
    if n_would_be:
        command_line.print_line(f"{counted(n_would_be, 'job')} would be deleted; say --yes if it is meant.")
    else:
        command_line.print_line(f"{counted(n_deleted, 'job')} deleted.")


def row(job: OldJob) -> tuple[object, ...]:
    """Return the cells of one job."""
    created = None if job.created_at is None else f"{job.created_at:%Y-%m-%d %H:%M}"
    return (job.job_id, created, job.verdict, job.n_objects, job.why.partition("\n")[0])


def is_left(jobs: Sequence[OldJob]) -> bool:
    """Whether something is left of a job that was deleted."""
    return any(job.verdict == "deleted" and job.why for job in jobs)


main = Verb("clean_up", clean_up_jobs, show=show, is_failure=is_left)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
