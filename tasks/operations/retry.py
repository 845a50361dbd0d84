"""An operator has failed tasks done again. Status before message: a worker acks the message of a failed task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.broker.protocol import Publisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.jobs.claim import is_cancelled
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.task_changes import SeenTask, change_tasks
from tasks.jobs.task_messages import publish_tasks, shown_as
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tasks.records.status import ErrorKind, Retried, Status
from tasks.wording import counted

RetryKind = Literal["lost", "crashed", "task_error", "bad_input", "cancelled", "all"]
"""Which failures are done again."""


@dataclass(frozen=True)
class RetryReport:
    """What a retry did."""

    job_id: str
    #: Failed before, requested now.
    retried: list[TaskId]
    #: Tasks that a message was sent for: the retried ones, and those that an interrupted retry may have left without.
    n_published: int
    #: Failed tasks of other kinds than asked for, by their kind.
    left_failed: dict[str, int]
    #: Tasks whose status is missing or can't be read, with the reason.
    faults: dict[TaskId, str]


def retry_job(
    bucket: Bucket,
    publisher: Publisher,
    job: JobLayout,
    *,
    kind: RetryKind | None = None,
    task_ids: Sequence[str] = (),
) -> RetryReport:
    """Make failed tasks requested again, and enqueue them.

    Order: cancel.json goes (of a cancelled job), then each status by compare-and-swap, then the messages.
    Idempotent. What is requested already stays so; its message is sent again, since an interrupted retry may not
    have sent it.

    Parameters
    ----------
    kind
        Which failures; None: all but the cancelled ones, or whatever made the named tasks fail.
    task_ids
        The tasks meant; empty: all tasks of the job.

    Raises
    ------
    BadInputError
        If there is no such job or task, or the job is cancelled and `kind` does not say that this is over.
    """
    manifest = read_manifest(bucket, job)
    chosen = _chosen_tasks(manifest, task_ids)
    kinds = _kinds(kind, are_named=bool(task_ids))
    if is_cancelled(bucket, job):
        if kind not in {"cancelled", "all"}:
            raise BadInputError(
                f"Cannot retry tasks of job {job.job_id!r}: it is cancelled, so workers would cancel them again. "
                "With --kind cancelled (or all) the job is no longer cancelled, and they are done."
            )
        bucket.delete(job.cancel)
    seen = change_tasks(bucket, job, chosen, _retried_if(kinds))
    to_ring_for = [task.task_id for task in seen if _needs_message(task.status)]
    n_published = publish_tasks(publisher, bucket, job, to_ring_for, shown=shown_as(manifest))
    return RetryReport(
        job_id=job.job_id,
        retried=[task.task_id for task in seen if task.is_changed],
        n_published=n_published,
        left_failed=_failures(seen),
        faults={task.task_id: task.fault for task in seen if task.fault is not None},
    )


def _chosen_tasks(manifest: Manifest, named: Sequence[str]) -> list[TaskId]:
    unknown = [name for name in named if name not in manifest.task_ids]
    if unknown:
        raise BadInputError(
            f"Cannot retry task {unknown[0]!r}: job {manifest.job_id!r} has no such task. "
            f"`python -m flows.status {manifest.job_id}` names its {counted(len(manifest.task_ids), 'task')}."
        )
    return [task_id for task_id in manifest.task_ids if not named or task_id in named]


def _kinds(kind: RetryKind | None, *, are_named: bool) -> frozenset[ErrorKind]:
    every: frozenset[ErrorKind] = frozenset({"lost", "crashed", "task_error", "bad_input", "cancelled"})
    if kind is None:
        return every if are_named else every - {"cancelled"}
    return every if kind == "all" else frozenset({kind})


def _retried_if(kinds: frozenset[ErrorKind]) -> Callable[[Status], Retried | None]:
    def decide(status: Status) -> Retried | None:
        # A failure without a kind was written by a client that knows only the diagram's two keys.
        is_meant = status.state == "failed" and (status.error_kind or "task_error") in kinds
        return Retried() if is_meant else None

    return decide


def _needs_message(status: Status | None) -> bool:
    """Tell whether the task is requested by somebody else than the submission: only its own status has no nonce."""
    return status is not None and status.state == "requested" and status.nonce != ""


def _failures(seen: Sequence[SeenTask]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in seen:
        if task.status is not None and task.status.state == "failed":
            kind = task.status.error_kind or "task_error"
            counts[kind] = counts.get(kind, 0) + 1
    return counts
