"""What jobs a bucket holds and how far each is: newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.jobs.claim import is_cancelled
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.task_changes import look_at_tasks
from tasks.operations.find_jobs import find_jobs
from tasks.records.ids import JobId
from tasks.records.manifest import Manifest
from tasks.records.progress import JobProgress, progress_from_statuses

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class JobSummary:
    """One job of a bucket."""

    job_id: JobId
    #: None without a manifest.
    created_at: datetime | None
    progress: JobProgress
    #: What is out of the ordinary: "cancelled", "submission not complete", a fault; empty: nothing.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobsList:
    """The newest jobs of a bucket."""

    bucket: str
    jobs: list[JobSummary]
    #: Older jobs that were left out.
    n_left_out: int


def list_jobs(bucket: Bucket, *, limit: int | None = None) -> JobsList:
    """Return the newest `limit` jobs (None: all), those without a manifest first: they need a person's attention."""
    manifests = for_each(find_jobs(bucket), lambda job: _read_manifest(bucket, job))
    newest_first = sorted(manifests, key=_age_order)
    chosen = newest_first[:limit]
    jobs = [_summary(bucket, job, manifest, fault) for job, manifest, fault in chosen]
    return JobsList(bucket=bucket.url, jobs=jobs, n_left_out=len(manifests) - len(chosen))


_Found = tuple[JobLayout, Manifest | None, str | None]


def _read_manifest(bucket: Bucket, job: JobLayout) -> _Found:
    try:
        return job, read_manifest_if_there(bucket, job), None
    except BadInputError as error:
        return job, None, str(error)


def _age_order(found: _Found) -> tuple[bool, float, str]:
    job, manifest, _ = found
    # A time without a zone comes from another writer than ours; it only orders the list.
    created_at = manifest.created_at.replace(tzinfo=manifest.created_at.tzinfo or UTC) if manifest else _LONG_AGO
    return manifest is not None, -(created_at - _LONG_AGO).total_seconds(), job.job_id


def _summary(bucket: Bucket, job: JobLayout, manifest: Manifest | None, fault: str | None) -> JobSummary:
    if manifest is None:
        note = fault or "no manifest: its submission or deletion was interrupted"
        return JobSummary(job.job_id, created_at=None, progress=JobProgress(), notes=(note,))
    seen = look_at_tasks(bucket, job, manifest.task_ids)
    statuses = [task.status for task in seen if task.status is not None]
    notes = _notes(
        is_submitted=manifest.submitted_at is not None,
        is_cancelled=is_cancelled(bucket, job),
        n_unreadable=len(seen) - len(statuses),
        n_waiting=sum(status.waits_for_engine is not None for status in statuses),
        engine=manifest.engine_name,
    )
    return JobSummary(job.job_id, manifest.created_at, progress_from_statuses(statuses), notes)


def _notes(
    *, is_submitted: bool, is_cancelled: bool, n_unreadable: int, n_waiting: int, engine: str
) -> tuple[str, ...]:
    notes: Sequence[tuple[bool, str]] = (
        (not is_submitted, "submission not complete"),
        (is_cancelled, "cancelled"),
        (n_unreadable > 0, f"{n_unreadable} without a readable status"),
        (n_waiting > 0, f"{n_waiting} waiting for a worker with engine {engine}"),
    )
    return tuple(note for applies, note in notes if applies)
