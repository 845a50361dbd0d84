"""What people see of a job while it goes on: a bar, and one run for each task, queued ones included.

A thread of its own speaks with Prefect, with little patience: whatever becomes of its server, no task and no message
waits. It also listens: a run that somebody cancels in the UI cancels the job, or the task.
"""

import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from flows.terminal.reporter import reporter
from tasks import instrument, linked_runs
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.jobs.monitor import JobWatch
from tasks.jobs.task_changes import task_ids_with_status
from tasks.operations.cancel import cancel_job, cancel_tasks
from tasks.records.ids import JobId, TaskId, job_id_from_text
from tasks.records.status import Status
from tasks.settings import Settings

JOB_TAG = "job:"
"""Begins the tag by which the runs of a job are found."""
FIRST_LOOK_SECONDS = 0.5
LOOK_SECONDS = 2.0
"""Between two looks of the thread: bar, new queued runs, cancelled runs."""
LEAVE_SECONDS = 6.0
"""At the end the thread has so long for its last look: one request that fails, and its repetition."""
NO_WAIT_SECONDS = 10.0
"""A command that only submits shows queued tasks for so long; the workers make the runs of all others."""
CATCH_UP_SECONDS = 60.0
"""At the end of a job its workers have so long to show what they did; the rest gets its state from the statuses."""
STILL_SECONDS = 5.0
"""When none of their runs has ended for so long, none is waited for,"""
SHOWING_SECONDS = 20.0
"""but those of which a part is seen are: a busy server takes ten seconds for an attempt."""
LET_GO_SECONDS = 90.0
"""Workers end the tasks of a cancelled job at their next lease, which is at most 60 s away."""


def make_parent(settings: Settings, job_id: JobId, *, n_tasks: int) -> UUID | None:
    """Return the Prefect task run below which the runs of the tasks will hang; None: they stand alone.

    One request, made only when the server answers at once; then with patience, since all tasks are to hang below it.
    """
    job_run_id = instrument.flow_run_id()
    if job_run_id is None or settings.instrumentation == "off":
        return None
    if n_tasks > settings.linked_runs:
        text = (
            f"{n_tasks} tasks, more than {settings.linked_runs} (THOR_LINKED_RUNS): their runs are not linked to this "
            f"one. Find them by the tag `job:{job_id}`, those of one task by `task:<task_id>`."
        )
        instrument.show_text(f"thor-job-{job_id}-runs", text, f"Where the runs of job {job_id} are")
        return None
    if not instrument.prefect_answers():
        return None
    with instrument.not_shown(), linked_runs.patient_client() as client:
        return linked_runs.make_parent(client, job_run_id, name="tasks")
    return None


def name_run(job_id: JobId) -> None:
    """Give the run of the job the id as its name and as a tag: one that was started in a form may have neither."""
    run, tag = instrument.flow_run(), JOB_TAG + job_id
    if run is None or (run.name == job_id and tag in run.tags):
        return
    with instrument.not_shown(), linked_runs.hasty_client() as client:
        client.update_flow_run(run.id, name=job_id, tags=sorted({*run.tags, tag}))


def job_of_run(run: FlowRun | None) -> JobId | None:
    """Return the job that a run was given or has named itself after; None: it had not begun."""
    if run is None:
        return None
    tagged = [tag.removeprefix(JOB_TAG) for tag in run.tags if tag.startswith(JOB_TAG)]
    named = run.parameters.get("job_id") or (tagged[0] if tagged else None)
    return None if named is None else job_id_from_text(named)


class JobShow:
    """The show of one job, for as long as the block lasts. All but `act` and the ends of the block is its thread's."""

    def __init__(self, watch: JobWatch, *, parent_id: UUID | None) -> None:
        self._watch = watch
        self._parent_id = parent_id
        self._job_run_id = instrument.flow_run_id()
        self._bar_id: UUID | None = None
        self._percent = 0.0
        self._queued: set[tuple[TaskId, int]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="job-show", daemon=True
        )
        self._cancelled_tasks: set[TaskId] = set()
        self._is_job_cancelled = False
        #: Whether a cancelled run has cancelled the job.
        self.has_cancelled = False

    def __enter__(self) -> Self:
        if instrument.is_in_run():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(LEAVE_SECONDS if kind is None else 0.0)

    def act(self) -> None:
        """Do to the job what people asked for in the UI."""
        if self._is_job_cancelled and not self.has_cancelled:
            self.has_cancelled = True
            report = cancel_job(self._watch.bucket, self._watch.layout)
            reporter().warn(
                f"Its run was cancelled in Prefect: job {report.job_id} is cancelled. {len(report.in_progress)} tasks "
                "are at work until their workers next renew their leases."
            )
        cancelled, self._cancelled_tasks = self._cancelled_tasks, set()
        for task_id in cancel_tasks(self._watch.bucket, self._watch.layout, sorted(cancelled)):
            reporter().warn(f"Task {task_id} is cancelled: its run was cancelled in Prefect.")

    def _run(self) -> None:
        with instrument.not_shown(), linked_runs.hasty_client() as client:
            is_over = self._over.wait(FIRST_LOOK_SECONDS)
            while True:
                with instrument.not_shown():
                    self._look(client)
                if is_over:
                    return
                is_over = self._over.wait(LOOK_SECONDS)

    def _look(self, client: SyncPrefectClient) -> None:
        if self._job_run_id is None:
            return
        self._move_bar(client, self._job_run_id)
        if self._parent_id is None:
            return
        self._is_job_cancelled |= linked_runs.is_cancelled(client, self._job_run_id)
        for run in linked_runs.runs_below(client, [self._parent_id], linked_runs.CANCELLED):
            task_id = task_of(run)
            if task_id is not None and self._waits_in(run, task_id):
                self._cancelled_tasks.add(task_id)
        self._show_queued(client, self._parent_id)

    def _waits_in(self, run: FlowRun, task_id: TaskId) -> bool:
        """Tell whether the run shows a task as waiting: one that was cancelled before a retry has had its effect."""
        status = self._watch.statuses.get(task_id)
        return status is not None and status.state == "requested" and linked_runs.retries_of(run) == status.retries

    def _move_bar(self, client: SyncPrefectClient, job_run_id: UUID) -> None:
        progress, job_id = self._watch.progress, self._watch.layout.job_id
        percent = progress.percent if progress.total else 0.0  # before the first look nothing is known
        if self._bar_id is None:
            description = f"Tasks of job {job_id} that have come to an end"
            self._bar_id = linked_runs.make_progress(
                client, job_run_id, key=f"thor-job-{job_id}", description=description
            )
        if percent != self._percent:
            linked_runs.set_progress(client, self._bar_id, percent)
            self._percent = percent

    def _show_queued(self, client: SyncPrefectClient, parent_id: UUID) -> None:
        until = time.monotonic() + LOOK_SECONDS
        show_queued(
            client,
            parent_id,
            self._watch,
            self._queued,
            may_go_on=lambda: not self._over.is_set() and time.monotonic() < until,
        )


def show_queued(
    client: SyncPrefectClient,
    parent_id: UUID,
    watch: JobWatch,
    queued: set[tuple[TaskId, int]],
    *,
    may_go_on: Callable[[], bool],
) -> None:
    """Make a run for each task that waits for a worker, the last ones first: workers begin at the other end."""
    for task_id, status in reversed(list(watch.statuses.items())):
        if (task_id, status.retries) in queued or status.state != "requested":
            continue
        if not may_go_on():
            return
        linked_runs.make_attempt_run(
            client,
            parent_id,
            job_id=watch.layout.job_id,
            task_id=task_id,
            attempt=status.attempt + 1,
            retries=status.retries,
            state_name="Queued",
        )
        queued.add((task_id, status.retries))


def show_submitted(watch: JobWatch, parent_id: UUID | None) -> None:
    """Show the queued tasks of a job that nobody here will follow."""
    if parent_id is None:
        return
    watch.look()
    until = time.monotonic() + NO_WAIT_SECONDS
    with instrument.not_shown(), linked_runs.hasty_client() as client:
        show_queued(client, parent_id, watch, set(), may_go_on=lambda: time.monotonic() < until)
        linked_runs.end_parent(client, parent_id)


def settle(watch: JobWatch, parent_id: UUID | None) -> None:
    """Give every run of the job's tasks an end: what its worker has not shown is told by the status of the task.

    Without a parent those that there are; with one each task has a run afterwards.
    """
    if parent_id is None:
        _settle_alone(watch)
        return
    with instrument.not_shown(), linked_runs.hasty_client() as client:
        below = functools.partial(linked_runs.runs_below, client, [parent_id], linked_runs.UNFINISHED)
        _settle_runs(client, _left_after_a_while(below), watch.statuses)
        _settle_runs(client, _runs_that_nobody_made(client, parent_id, watch), watch.statuses)
        linked_runs.end_parent(client, parent_id)


def _settle_alone(watch: JobWatch) -> None:
    if not (instrument.is_in_run() and instrument.prefect_answers()):
        return
    with instrument.not_shown(), linked_runs.hasty_client() as client:
        job_id = watch.layout.job_id
        of_job = functools.partial(linked_runs.attempt_runs_of_job, client, job_id, linked_runs.UNFINISHED)
        _settle_runs(client, _left_after_a_while(of_job), watch.statuses)


def settle_cancelled(bucket: Bucket, job: JobLayout, job_run_id: UUID) -> None:
    """Give every run below that of a cancelled job its end, as the workers let go of its tasks.

    For a job whose own process is gone: queued tasks at once, those at work at their worker's next lease.
    """
    watch = JobWatch(bucket, job, task_ids_with_status(bucket, job))
    until = time.monotonic() + LET_GO_SECONDS
    with linked_runs.patient_client() as client:
        while True:
            watch.look()
            with instrument.not_shown():
                _settle_runs(client, _below(client, job_run_id), watch.statuses)
            if not watch.progress.in_progress or time.monotonic() > until:
                break
            time.sleep(LOOK_SECONDS)
        with instrument.not_shown():
            linked_runs.cancel_prefect_tasks(client, job_run_id)


def _below(client: SyncPrefectClient, job_run_id: UUID) -> list[FlowRun]:
    return linked_runs.subflow_runs(client, job_run_id, linked_runs.UNFINISHED)


def _settle_runs(client: SyncPrefectClient, runs: Iterable[FlowRun], statuses: Mapping[TaskId, Status]) -> None:
    for run in runs:
        task_id = task_of(run)
        status = None if task_id is None else statuses.get(task_id)
        if status is not None and status.is_terminal:
            _settle_run(client, run, status)


def _runs_that_nobody_made(client: SyncPrefectClient, parent_id: UUID, watch: JobWatch) -> Iterator[FlowRun]:
    """Make the runs of attempts that neither client nor worker came to show: every task of the job is to be seen."""
    seen = {task_of(run) for run in linked_runs.runs_below(client, [parent_id], list(StateType))}
    for task_id, status in watch.statuses.items():
        if task_id not in seen and status.is_terminal:
            yield linked_runs.make_attempt_run(
                client,
                parent_id,
                job_id=watch.layout.job_id,
                task_id=task_id,
                attempt=max(status.attempt, 1),
                retries=status.retries,
                state_name="Pending",
            )


def _left_after_a_while(find: Callable[[], list[FlowRun]]) -> list[FlowRun]:
    """Return the runs that have no end, after waiting for workers that are about to give it."""
    moved_at = time.monotonic()
    until = moved_at + CATCH_UP_SECONDS
    found = find()
    while found and time.monotonic() < min(until, moved_at + patience_with(found)):
        time.sleep(0.5)
        before, found = found, find()
        if len(found) < len(before):
            moved_at = time.monotonic()
    return found


def patience_with(runs: Sequence[FlowRun]) -> float:
    """Return how long to wait for any of these runs to end, s: longer while somebody shows one. Pure."""
    is_shown = any(run.state is not None and run.state.type == StateType.RUNNING for run in runs)
    return SHOWING_SECONDS if is_shown else STILL_SECONDS


def _settle_run(client: SyncPrefectClient, run: FlowRun, status: Status) -> None:
    retries = linked_runs.retries_of(run)
    told = status.retries if retries is None else retries
    state = settled_state(run.parameters.get("attempt"), status, retries=told)
    for each in [*linked_runs.subflow_runs(client, run.id, linked_runs.UNFINISHED), run]:
        linked_runs.set_state(client, each.id, state)


def settled_state(attempt: object, status: Status, *, retries: int = 0) -> dict[str, object]:
    """Return how an attempt ended whose worker did not show it, by the status of its task. Pure.

    An attempt after the last one was queued and never began: it ends as the task did.
    """
    if retries < status.retries:
        return linked_runs.state_of(StateType.CANCELLED, "Its task failed before, and was retried.")
    if isinstance(attempt, int) and attempt < status.attempt:
        return linked_runs.state_of(StateType.CRASHED, f"Attempt {status.attempt} came after it.")
    unseen = "Its worker did not show all of it."
    if status.state == "succeeded":
        return linked_runs.state_of(StateType.COMPLETED, f"Succeeded. {unseen}")
    kind = StateType.CANCELLED if status.error_kind == "cancelled" else StateType.FAILED
    return linked_runs.state_of(kind, f"{status.error_kind}: {status.error} {unseen}")


def task_of(run: FlowRun) -> TaskId | None:
    """Return the task that a run shows, by its tags."""
    names = [tag.removeprefix("task:") for tag in run.tags if tag.startswith("task:")]
    return TaskId(names[0]) if names else None
