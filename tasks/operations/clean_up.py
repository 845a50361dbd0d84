"""Which jobs are old and done, and taking them out of the bucket. The decision is pure; `delete` has the order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.task_changes import look_at_tasks
from tasks.operations.delete import delete_job
from tasks.operations.find_jobs import find_jobs
from tasks.records.ids import JobId
from tasks.records.manifest import Manifest
from tasks.wording import counted

Verdict = Literal["deleted", "would be deleted", "kept"]


@dataclass(frozen=True)
class Limits:
    """Which jobs may go."""

    #: A job that was made before this time is old.
    made_before: datetime
    #: Also those with tasks that are requested or in progress, or whose status can't be read.
    with_unfinished: bool = False


@dataclass(frozen=True)
class OldJob:
    """A job that is old, or whose age is not known, and what became of it."""

    job_id: JobId
    #: From its manifest; None: it has none that can be read.
    created_at: datetime | None
    verdict: Verdict
    #: Why it was kept, or what is left of it; empty otherwise.
    why: str = ""
    n_deleted: int = 0
    #: How many objects it has in the bucket, which were deleted or would be; None: it is kept.
    n_objects: int | None = None


def limits_from_days(days: float, *, now: datetime, with_unfinished: bool = False) -> Limits:
    """Return the limits for jobs older than `days`.

    Raises
    ------
    BadInputError
        If the number of days is negative, or no number.
    """
    if not 0 <= days <= (now - datetime.min.replace(tzinfo=UTC)).days:
        raise BadInputError(f"Cannot clean up jobs older than {days:g} days: expected 0 or more.")
    return Limits(made_before=now - timedelta(days=days), with_unfinished=with_unfinished)


def reason_to_keep(n_unfinished: int, limits: Limits) -> str | None:
    """Return why an old job with `n_unfinished` tasks that are not done stays, or None when it may go. Pure."""
    if n_unfinished and not limits.with_unfinished:
        return f"{counted(n_unfinished, 'unfinished task')}: --unfinished deletes it all the same"
    return None


def is_old(manifest: Manifest, limits: Limits) -> bool:
    """Tell whether a job was made before the limit. A time without a zone comes from another writer than ours: UTC."""
    created_at = manifest.created_at
    return created_at.replace(tzinfo=created_at.tzinfo or UTC) < limits.made_before


def clean_up(bucket: Bucket, limits: Limits, *, dry_run: bool) -> Iterator[OldJob]:
    """Delete every job that is old and done, and yield what became of those that are old or have no manifest.

    A job without a manifest has no age: it is told, and stays. Idempotent; what was interrupted is then such a job,
    and `flows.delete` completes it.
    """
    for job in find_jobs(bucket):
        try:
            manifest = read_manifest_if_there(bucket, job)
        except BadInputError as error:
            yield OldJob(job.job_id, None, "kept", why=str(error))
            continue
        if manifest is None:
            yield OldJob(job.job_id, None, "kept", why="no manifest: its submission or deletion was interrupted")
        elif is_old(manifest, limits):
            yield _clean_up(bucket, job, manifest, limits, dry_run=dry_run)


def _clean_up(bucket: Bucket, job: JobLayout, manifest: Manifest, limits: Limits, *, dry_run: bool) -> OldJob:
    seen = look_at_tasks(bucket, job, manifest.task_ids)
    n_unfinished = sum(task.status is None or not task.status.is_terminal for task in seen)
    why = reason_to_keep(n_unfinished, limits)
    if why is not None:
        return OldJob(job.job_id, manifest.created_at, "kept", why=why)
    if dry_run:
        n_objects = sum(1 for _ in bucket.list(job.prefix))
        return OldJob(job.job_id, manifest.created_at, "would be deleted", n_objects=n_objects)
    try:
        report = delete_job(bucket, job, force=limits.with_unfinished)
    except BadInputError as error:  # somebody had its tasks done again just now, or deleted it
        return OldJob(job.job_id, manifest.created_at, "kept", why=str(error))
    left = f"{counted(report.n_left, 'object')} came in meanwhile: run flows.delete for it" if report.n_left else ""
    return OldJob(
        job.job_id, manifest.created_at, "deleted", why=left, n_deleted=report.n_deleted, n_objects=report.n_deleted
    )
