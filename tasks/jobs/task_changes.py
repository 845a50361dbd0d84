"""What an operator's verb does to many tasks of a job: read each status, decide, compare-and-swap.

If another process was faster, it reads and decides again. A task whose status can't be read is told, and holds up no
other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, GenerationMismatchError, ObjectNotFoundError, TaskMessageError
from tasks.jobs.finish import finish_task
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.status_file import read_status_file
from tasks.records.ids import TaskId
from tasks.records.status import Failed, Retried, Status, status_from_summary

Decide = Callable[[Status], Retried | Failed | None]
"""What an operator asks of a task in that state; None: nothing."""


@dataclass(frozen=True)
class SeenTask:
    """One task as a verb left it."""

    task_id: TaskId
    #: None when there is no status, or none that can be read: `fault` says why.
    status: Status | None
    #: Generation of that status; None without one.
    generation: int | None = None
    is_changed: bool = False
    fault: str | None = None


def change_task(bucket: Bucket, layout: TaskLayout, decide: Decide) -> SeenTask:
    """Do to one task what `decide` says of its state, whatever else is written at the same time.

    Idempotent, as long as `decide` asks for nothing in the state that it brings about.

    Raises
    ------
    BucketUnavailableError
        The outcome is unknown: run again.
    """
    while True:
        try:
            file = read_status_file(bucket, layout)
        except (ObjectNotFoundError, TaskMessageError) as error:
            return SeenTask(layout.task_id, status=None, fault=str(error))
        event = decide(file.status)
        if event is None:
            return SeenTask(layout.task_id, file.status, file.generation)
        try:
            if isinstance(event, Failed):
                finish_task(file, event)
            else:
                file.change(event)
        except GenerationMismatchError:
            continue
        return SeenTask(layout.task_id, file.status, file.generation, is_changed=True)


def change_tasks(bucket: Bucket, job: JobLayout, task_ids: Iterable[TaskId], decide: Decide) -> list[SeenTask]:
    """Do `change_task` to many, several at a time; return them in the order given. The first error ends it."""
    return for_each(task_ids, lambda task_id: change_task(bucket, job.task(task_id), decide))


def look_at_tasks(bucket: Bucket, job: JobLayout, task_ids: Iterable[TaskId]) -> list[SeenTask]:
    """Look at each task, and change nothing: one listing tells a thousand; only what it does not tell is read.

    Of a status that a listing told, the outputs are missing and an error is cut to its first words.
    """
    wanted = list(task_ids)
    seen: dict[TaskId, SeenTask] = {}
    for info in bucket.list(job.tasks_prefix, ending="/status.json"):
        task_id, status = job.task_id_from_status_name(info.name), status_from_summary(info.summary)
        if task_id is not None and status is not None:
            seen[task_id] = SeenTask(task_id, status, info.generation)
    unread = [task_id for task_id in wanted if task_id not in seen]
    seen |= {task.task_id: task for task in change_tasks(bucket, job, unread, lambda _: None)}
    return [seen[task_id] for task_id in wanted]


def task_ids_of_job(bucket: Bucket, job: JobLayout) -> list[TaskId]:
    """Return the tasks of a job in the manifest's order; of one that has no manifest (yet), those that have a status.

    Raises
    ------
    BadInputError
        If there is nothing of such a job, or its manifest can't be read.
    """
    manifest = read_manifest_if_there(bucket, job)
    return task_ids_with_status(bucket, job) if manifest is None else list(manifest.task_ids)


def task_ids_with_status(bucket: Bucket, job: JobLayout) -> list[TaskId]:
    """Return the tasks of a job that have a status, sorted, whatever its manifest says.

    Raises
    ------
    BadInputError
        If there is nothing of such a job.
    """
    if next(iter(bucket.list(job.prefix)), None) is None:
        raise BadInputError(
            f"Cannot find job {job.job_id!r} in {bucket.url}: nothing lies below {job.prefix}. "
            "Check the job's id and --bucket; `python -m flows.list` names the jobs there are."
        )
    found = (job.task_id_from_status_name(info.name) for info in bucket.list(job.tasks_prefix, ending="/status.json"))
    return [task_id for task_id in found if task_id is not None]
