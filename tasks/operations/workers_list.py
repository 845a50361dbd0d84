"""Who works on the jobs of a bucket: the notes of the workers, and the statuses of tasks in progress."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import WORKERS_PREFIX
from tasks.bucket.store import Bucket
from tasks.errors import ObjectNotFoundError
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.task_changes import look_at_tasks
from tasks.operations.find_jobs import find_jobs
from tasks.records.status import Status
from tasks.records.worker_note import NOTE_SECONDS, WorkerNote, worker_note_from_bytes

SILENT_SECONDS = 2.5 * NOTE_SECONDS
"""A worker whose note is older was killed, or has lost its bucket: two notes did not come."""


@dataclass(frozen=True)
class WorkerSummary:
    """One worker as its note and the status of its task tell it."""

    worker: str
    #: None: there is no note of it, only a status that names it.
    started_at: datetime | None
    engine: str | None
    #: What it computes; None: it is idle.
    job_id: str | None = None
    task_id: str | None = None
    stage: str | None = None
    attempt: int = 0
    #: When it renewed the lease of its task, by its own clock; without a task: when it wrote its note.
    last_sign_at: datetime | None = None
    is_silent: bool = False


def list_workers(bucket: Bucket, *, now: datetime | None = None) -> list[WorkerSummary]:
    """Return the workers of a bucket, by name: those that left a note, and those that a task in progress names.

    `now` judges only whether a note is old, which informs people: nothing is decided by it.
    """
    notes = {note.worker: note for note in _notes(bucket)}
    at_work = {task.status.worker: task for task in _in_progress(bucket) if task.status.worker is not None}
    judged_at = now or datetime.now(UTC)
    return [
        _summary(worker, notes.get(worker), at_work.get(worker), judged_at) for worker in sorted({*notes, *at_work})
    ]


def workers_there(bucket: Bucket, *, now: datetime | None = None) -> list[WorkerNote]:
    """Return the notes of workers that told of themselves lately; no job is looked at."""
    judged_at = now or datetime.now(UTC)
    return [note for note in _notes(bucket) if not _is_old(note, judged_at)]


def _is_old(note: WorkerNote, now: datetime) -> bool:
    return (now - note.told_at).total_seconds() > SILENT_SECONDS


def _notes(bucket: Bucket) -> Iterator[WorkerNote]:
    names = [info.name for info in bucket.list(WORKERS_PREFIX)]
    yield from (note for note in for_each(names, lambda name: _read_note(bucket, name)) if note is not None)


def _read_note(bucket: Bucket, name: str) -> WorkerNote | None:
    try:
        return worker_note_from_bytes(bucket.read(name).body)
    except (ObjectNotFoundError, ValidationError):  # it has left since, or somebody put something else there
        return None


@dataclass(frozen=True)
class _TaskAtWork:
    job_id: str
    task_id: str
    status: Status


def _in_progress(bucket: Bucket) -> Iterator[_TaskAtWork]:
    for job in find_jobs(bucket):
        manifest = read_manifest_if_there(bucket, job)
        for task in [] if manifest is None else look_at_tasks(bucket, job, manifest.task_ids):
            if task.status is not None and task.status.state == "in_progress":
                yield _TaskAtWork(job.job_id, task.task_id, task.status)


def _summary(worker: str, note: WorkerNote | None, at_work: _TaskAtWork | None, now: datetime) -> WorkerSummary:
    told_at = None if note is None else note.told_at
    started_at = None if note is None else note.started_at
    engine = None if note is None else note.engine + (", thor" if note.has_upstream_thor else "")
    if at_work is None:
        is_silent = note is not None and _is_old(note, now)
        return WorkerSummary(worker, started_at, engine, last_sign_at=told_at, is_silent=is_silent)
    status = at_work.status
    return WorkerSummary(
        worker,
        started_at,
        engine or status.engine,
        job_id=at_work.job_id,
        task_id=at_work.task_id,
        stage=status.stage,
        attempt=status.attempt,
        last_sign_at=status.updated_at,
    )
