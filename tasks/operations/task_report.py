"""What each task of a job is at, and which tasks stall: told by this observer's own clock alone.

The times in a status are of other machines and inform people only. Whether a worker is alive is told by the generation
of the status, which every renewal of the lease moves: an observer that sees it stand still for two renewals names the
task stalled, whatever any clock shows.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.jobs.claim import is_cancelled
from tasks.jobs.task_changes import SeenTask, look_at_tasks, task_ids_of_job
from tasks.records.ids import TaskId
from tasks.records.progress import JobProgress, progress_from_statuses
from tasks.records.status import ErrorKind, State, Status

STALLED_RENEWALS = 2.0
"""A lease is renewed once in `renew_seconds` of its status: one that stands still for twice that has no worker."""
WATCHED_RENEWALS = 2.5
"""How long to watch, so that a renewal that comes a little late is not missed."""
PAUSE_SECONDS = 1.0
"""Between two looks while watching: one listing each."""


@dataclass(frozen=True)
class TaskReport:
    """One task as an observer sees it."""

    task_id: TaskId
    #: None when its status is missing or can't be read: `fault` says why.
    state: State | None
    stage: str | None = None
    worker: str | None = None
    attempt: int = 0
    #: How long this observer has seen the status of a task in progress stand still; None: not watched.
    unmoved_seconds: float | None = None
    is_stalled: bool = False
    #: The engine that a requested task waits for, since a worker that looked at it lacks it.
    waits_for_engine: str | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class JobReport:
    """A job as an observer sees it."""

    job_id: str
    is_cancelled: bool
    progress: JobProgress
    watched_seconds: float
    tasks: list[TaskReport]
    #: The states that a table for people is asked to show; none: every one.
    shown_states: tuple[State, ...] = ()

    @property
    def stalled(self) -> list[TaskReport]:
        """Tasks in progress that no worker seems to work on."""
        return [task for task in self.tasks if task.is_stalled]

    @property
    def engines_waited_for(self) -> dict[str, int]:
        """How many tasks wait for a worker with which engine."""
        return dict(Counter(task.waits_for_engine for task in self.tasks if task.waits_for_engine))


@dataclass(frozen=True)
class Observer:
    """Watches for a while, with a clock of its own."""

    #: Most seconds; less when every task in progress has moved. 0: only one look; None: long enough to tell.
    watch_seconds: float | None
    #: How often workers renew a lease, where the status does not tell.
    renew_seconds: float
    #: Hears for how long at most, when a watch begins.
    hear: Callable[[float], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def renewal_of(self, status: Status) -> float:
        """Return how often the lease of that task is renewed, seconds: queues of different kinds have their own."""
        return status.renew_seconds or self.renew_seconds

    def seconds_for(self, seen: Sequence[SeenTask]) -> float:
        """Return how long to watch these tasks: not at all when none is in progress."""
        renewals = [self.renewal_of(task.status) for task in seen if task.status and task.status.state == "in_progress"]
        if not renewals:
            return 0.0
        return WATCHED_RENEWALS * max(renewals) if self.watch_seconds is None else self.watch_seconds


@dataclass
class _Watched:
    """A task in progress: the generation that was seen last, and when it was first seen, by the observer's clock."""

    generation: int | None
    since: float

    def see(self, generation: int | None, now: float) -> bool:
        """Take note of a look; tell whether the status has moved."""
        has_moved = generation != self.generation
        if has_moved:
            self.generation, self.since = generation, now
        return has_moved


def report_job(bucket: Bucket, job: JobLayout, observer: Observer) -> JobReport:
    """Look at every task of a job, and watch those in progress for as long as the observer wants.

    Raises
    ------
    BadInputError
        If there is nothing of such a job.
    """
    task_ids = task_ids_of_job(bucket, job)
    began_at = observer.clock()
    seen = look_at_tasks(bucket, job, task_ids)
    watched: dict[TaskId, _Watched] = {}
    seconds = observer.seconds_for(seen)
    if seconds > 0:
        observer.hear(seconds)
        watched = _watch(bucket, job, seen, observer, seconds)
        seen = look_at_tasks(bucket, job, task_ids)
    now = observer.clock()
    return JobReport(
        job_id=job.job_id,
        is_cancelled=is_cancelled(bucket, job),
        progress=progress_from_statuses(task.status for task in seen if task.status is not None),
        watched_seconds=now - began_at if watched else 0.0,
        tasks=[_report(task, watched.get(task.task_id), now, observer) for task in seen],
    )


def _is_in_progress(task: SeenTask) -> bool:
    return task.status is not None and task.status.state == "in_progress"


def _watch(
    bucket: Bucket, job: JobLayout, seen: Sequence[SeenTask], observer: Observer, seconds: float
) -> dict[TaskId, _Watched]:
    """Watch the tasks in progress, until each has moved or the time is over."""
    began_at = observer.clock()
    watched = {task.task_id: _Watched(task.generation, began_at) for task in seen if _is_in_progress(task)}
    unmoved = set(watched)
    while unmoved and (left := seconds - (observer.clock() - began_at)) > 0:
        observer.sleep(min(PAUSE_SECONDS, left))
        listed = _generations(bucket, job)
        for task_id, task in watched.items():
            if task.see(listed.get(task_id), observer.clock()):
                unmoved.discard(task_id)
    return watched


def _generations(bucket: Bucket, job: JobLayout) -> dict[TaskId, int]:
    listed = bucket.list(job.tasks_prefix, ending="/status.json")
    found = ((job.task_id_from_status_name(info.name), info.generation) for info in listed)
    return {task_id: generation for task_id, generation in found if task_id is not None}


def _report(task: SeenTask, watched: _Watched | None, now: float, observer: Observer) -> TaskReport:
    status = task.status
    if status is None:
        return TaskReport(task.task_id, state=None, fault=task.fault)
    unmoved_seconds: float | None = None
    if watched is not None and status.state == "in_progress":
        watched.see(task.generation, now)
        unmoved_seconds = now - watched.since
    return TaskReport(
        task_id=task.task_id,
        state=status.state,
        stage=status.stage,
        worker=status.worker or None,
        attempt=status.attempt,
        unmoved_seconds=unmoved_seconds,
        is_stalled=unmoved_seconds is not None and unmoved_seconds >= STALLED_RENEWALS * observer.renewal_of(status),
        waits_for_engine=status.waits_for_engine,
        error_kind=status.error_kind,
        error=status.error,
    )
