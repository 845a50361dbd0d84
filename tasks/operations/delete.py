"""An operator deletes a job. What is left when that is interrupted never looks whole, and is never taken for new.

The manifest goes first: from then on there is no such job for monitor, collect, retry and repair. Then the statuses: a
succeeded one never outlives its outputs, so that nobody who submits under the same id adopts results that are gone; and
a worker that still holds a task finds its lease gone, and drops it. Then everything of the tasks. The observations go
last: as long as anything is left they are there, so that `list` names the job, and a submission under its id with other
inputs is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.jobs.task_changes import look_at_tasks, task_ids_with_status
from tasks.records.progress import JobProgress, progress_from_statuses
from tasks.wording import counted

PASSES = 3
"""A worker that is at work may write once more before it finds its task gone: what came in is deleted, too."""


@dataclass(frozen=True)
class DeleteReport:
    """What a deletion did."""

    job_id: str
    n_deleted: int
    #: Objects that were written again and again meanwhile; 0 is how it should be.
    n_left: int
    #: The tasks as they were.
    progress: JobProgress


def delete_job(bucket: Bucket, job: JobLayout, *, force: bool = False) -> DeleteReport:
    """Delete every object of a job.

    Order: manifest, statuses, the rest of the tasks, the job's other files, observations.
    Idempotent; an interrupted deletion is completed by the next.

    Parameters
    ----------
    force
        Also when tasks have not come to an end. Their messages then come to the dead queue, when workers receive them.

    Raises
    ------
    BadInputError
        If there is nothing of such a job, or it is not done and `force` is not given.
    """
    seen = look_at_tasks(bucket, job, task_ids_with_status(bucket, job))
    progress = progress_from_statuses(task.status for task in seen if task.status is not None)
    if not progress.is_complete and not force:
        raise BadInputError(
            f"Cannot delete job {job.job_id!r}: {counted(progress.in_progress, 'task')} in progress and "
            f"{progress.requested} requested. Wait for them, cancel the job first, or give --force."
        )
    n_deleted = 0
    for _ in range(PASSES):
        n_in_pass = sum(_delete(bucket, names) for names in _in_order(bucket, job))
        n_deleted += n_in_pass
        if n_in_pass == 0:
            break
    n_left = sum(1 for _ in bucket.list(job.prefix))
    return DeleteReport(job.job_id, n_deleted=n_deleted, n_left=n_left, progress=progress)


def _in_order(bucket: Bucket, job: JobLayout) -> Iterator[list[str]]:
    """Yield the names of what there is, one step after the other; each is listed when the one before is gone."""
    yield _listed(bucket, job.manifest)
    yield [info.name for info in bucket.list(job.tasks_prefix, ending="/status.json")]
    yield _listed(bucket, job.tasks_prefix)
    yield [name for name in _listed(bucket, job.prefix) if name != job.observations]
    yield _listed(bucket, job.observations)


def _listed(bucket: Bucket, prefix: str) -> list[str]:
    return [info.name for info in bucket.list(prefix)]


def _delete(bucket: Bucket, names: list[str]) -> int:
    for_each(names, bucket.delete)
    return len(names)
