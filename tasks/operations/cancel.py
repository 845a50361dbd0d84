"""An operator cancels a job. The sign in the bucket comes first: from then on no worker begins one of its tasks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import BadInputError, GenerationMismatchError
from tasks.jobs.task_changes import SeenTask, change_tasks, task_ids_with_status
from tasks.records.ids import TaskId
from tasks.records.status import Failed, Status
from tasks.wording import counted

CANCELLED = Failed(error_kind="cancelled", error="The job was cancelled before this task was computed.")

TASK_CANCELLED = Failed(error_kind="cancelled", error="The task was cancelled before it was computed.")


@dataclass(frozen=True)
class CancelReport:
    """What a cancellation found and did."""

    job_id: str
    #: Whether the job was cancelled before.
    was_cancelled: bool
    #: Requested before, failed as cancelled now.
    cancelled: list[TaskId]
    #: At work: their workers end them when they next renew their lease.
    in_progress: list[TaskId]
    #: Tasks that had come to an end.
    n_completed: int
    #: Tasks whose status can't be read, with the reason.
    faults: dict[TaskId, str]
    #: Whether the job was cancelled, and not single tasks of it.
    is_whole_job: bool = True


def cancel_job(bucket: Bucket, job: JobLayout) -> CancelReport:
    """Cancel what is not done: requested tasks at once, those at work by their own workers.

    Order: cancel.json, then each requested task's status by compare-and-swap. A worker that claims one in between
    finds cancel.json at its next renewal. No message is taken back: workers ack those of a task that is over.
    Idempotent; the first cancel.json stays, and what an interrupted call left is done.

    Raises
    ------
    BadInputError
        If there is nothing of such a job. One that is being submitted can be cancelled.
    """
    task_ids = task_ids_with_status(bucket, job)
    was_cancelled = not _write_sign(bucket, job)
    seen = change_tasks(bucket, job, task_ids, lambda status: _if_requested(status, CANCELLED))
    return _report(job, seen, was_cancelled=was_cancelled)


def cancel_tasks(bucket: Bucket, job: JobLayout, task_ids: Sequence[str]) -> CancelReport:
    """Cancel single tasks that wait for a worker; the job's others, and those at work, go on. Idempotent.

    Raises
    ------
    BadInputError
        If there is no such job or task.
    """
    known = task_ids_with_status(bucket, job)
    unknown = [name for name in task_ids if name not in known]
    if unknown:
        raise BadInputError(
            f"Cannot cancel task {unknown[0]!r}: job {job.job_id!r} has no such task. "
            f"`python -m flows.status {job.job_id}` names its {counted(len(known), 'task')}."
        )
    chosen = [task_id for task_id in known if task_id in task_ids]
    seen = change_tasks(bucket, job, chosen, lambda status: _if_requested(status, TASK_CANCELLED))
    return _report(job, seen, was_cancelled=False, is_whole_job=False)


def _report(
    job: JobLayout, seen: Sequence[SeenTask], *, was_cancelled: bool, is_whole_job: bool = True
) -> CancelReport:
    known = [(task, task.status) for task in seen if task.status is not None]
    cancelled = [task.task_id for task in seen if task.is_changed]
    in_progress = [task.task_id for task, status in known if status.state == "in_progress"]
    return CancelReport(
        job_id=job.job_id,
        was_cancelled=was_cancelled,
        cancelled=cancelled,
        in_progress=in_progress,
        n_completed=len(known) - len(cancelled) - len(in_progress),
        faults={task.task_id: task.fault for task in seen if task.fault is not None},
        is_whole_job=is_whole_job,
    )


def _write_sign(bucket: Bucket, job: JobLayout) -> bool:
    """Create cancel.json; tell whether it is new. Its presence counts, its content informs people."""
    body = json.dumps({"cancelled_at": datetime.now(UTC).isoformat()}).encode()
    try:
        bucket.write(job.cancel, body, if_generation=MUST_NOT_EXIST)
    except GenerationMismatchError:
        return False
    return True


def _if_requested(status: Status, event: Failed) -> Failed | None:
    return event if status.state == "requested" else None
