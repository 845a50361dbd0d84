"""A client looks at a job: lists the statuses, and reads only those that the listing does not tell."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import ValidationError

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket, ObjectInfo
from tasks.errors import BadInputError, ObjectNotFoundError
from tasks.records.ids import TaskId
from tasks.records.progress import JobProgress, progress_from_statuses
from tasks.records.status import Status, status_from_bytes, status_from_summary
from tasks.wording import counted

PAUSE_PER_LOOK = 4.0
"""Who follows a job spends at most a fifth of the time on looking: workers of this machine have better uses for it."""
LONGEST_PAUSE_SECONDS = 10.0
"""A look that took this long waited for a bucket that was away; people should hear soon that it is back."""


class JobWatch:
    """What one client has seen of a job so far. Clocks of other machines are never asked."""

    def __init__(self, bucket: Bucket, layout: JobLayout, task_ids: Sequence[TaskId]) -> None:
        self.bucket = bucket
        self.layout = layout
        self.task_ids = task_ids
        #: As the last look saw them; what a listing told has no outputs, and of an error its first words.
        self.statuses: dict[TaskId, Status] = {}
        self._generations: dict[TaskId, int] = {}
        #: Tasks whose status was read whole.
        self._whole: set[TaskId] = set()

    def look(self) -> list[TaskId]:
        """Bring `statuses` up to date, and return the tasks whose status has changed since the last look.

        Raises
        ------
        BadInputError
            If a task of the manifest has no status, or one that can't be read.
        """
        listed = self._listed()
        changed = [task_id for task_id, info in listed.items() if info.generation != self._generations.get(task_id)]
        told = {task_id: status_from_summary(listed[task_id].summary) for task_id in changed}
        for task_id, status in told.items():
            if status is not None:
                self.statuses[task_id], self._generations[task_id] = status, listed[task_id].generation
                self._whole.discard(task_id)
        self._read_whole([task_id for task_id, status in told.items() if status is None])
        if len(changed) == len(self.task_ids):
            self.statuses = {task_id: self.statuses[task_id] for task_id in self.task_ids}
        return changed

    def whole_statuses(self) -> dict[TaskId, Status]:
        """Return the statuses with their outputs, in the order of the tasks: those that listings told are read now."""
        self._read_whole([task_id for task_id in self.task_ids if task_id not in self._whole])
        return {task_id: self.statuses[task_id] for task_id in self.task_ids}

    def until_complete(self, *, on_look: Callable[[list[TaskId]], None], pause_seconds: float) -> None:
        """Look again and again until every task has come to an end; `on_look` hears which tasks have changed.

        Between two looks lies the pause, or four times as long as a look took: of a large job it takes seconds.
        """
        while True:
            began_at = time.monotonic()
            changed = self.look()
            took_seconds = time.monotonic() - began_at
            on_look(changed)
            if self.progress.is_complete:
                return
            time.sleep(max(pause_seconds, min(PAUSE_PER_LOOK * took_seconds, LONGEST_PAUSE_SECONDS)))

    @property
    def progress(self) -> JobProgress:
        """Counts of the last look."""
        return progress_from_statuses(self.statuses.values())

    def _listed(self) -> Mapping[TaskId, ObjectInfo]:
        found: dict[TaskId, ObjectInfo] = {}
        for info in self.bucket.list(self.layout.tasks_prefix, ending="/status.json"):
            task_id = self.layout.task_id_from_status_name(info.name)
            if task_id is not None:
                found[task_id] = info
        missing = [task_id for task_id in self.task_ids if task_id not in found]
        if missing:
            others = counted(len(missing) - 1, "other")
            more = f" ({others} as well)" if len(missing) > 1 else ""
            raise self._unreadable(missing[0], f"is missing{more}")
        return {task_id: found[task_id] for task_id in self.task_ids}

    def _read_whole(self, task_ids: Sequence[TaskId]) -> None:
        for task_id, (status, generation) in zip(task_ids, for_each(task_ids, self._read), strict=True):
            self.statuses[task_id], self._generations[task_id] = status, generation
            self._whole.add(task_id)

    def _read(self, task_id: TaskId) -> tuple[Status, int]:
        name = self.layout.task(task_id).status
        try:
            stored = self.bucket.read(name)
            return status_from_bytes(stored.body), stored.generation
        except ObjectNotFoundError as error:
            raise self._unreadable(task_id, "was deleted") from error
        except ValidationError as error:
            raise self._unreadable(task_id, "is not a status; delete it") from error

    def _unreadable(self, task_id: TaskId, found: str) -> BadInputError:
        return BadInputError(
            f"Cannot follow job {self.layout.job_id!r}: {self.layout.task(task_id).status} {found}. "
            f"Run the same submit again with --job-id {self.layout.job_id}."
        )


def read_statuses(bucket: Bucket, layout: JobLayout, task_ids: Iterable[TaskId]) -> Mapping[TaskId, Status]:
    """Return the status of every one of these tasks, as a listing tells it (`JobWatch.statuses`)."""
    watch = JobWatch(bucket, layout, list(task_ids))
    watch.look()
    return watch.statuses
