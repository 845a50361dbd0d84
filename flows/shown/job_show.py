"""What people see of a job while it goes on, and what they ask for there: a run that is cancelled cancels the job.

The command that follows the job looks after it every few seconds, with little patience: no job waits for a dead server.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed

from flows.terminal.reporter import reporter
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.jobs.monitor import JobWatch
from tasks.jobs.task_changes import task_ids_with_status
from tasks.operations.cancel import cancel_job
from tasks.prefect_api import instrument, runs
from tasks.prefect_api.clients import guarded_client, may_show
from tasks.records.ids import JobId, TaskId, job_id_from_text
from tasks.records.instrumentation import MOST_TASKS_WITH_STAGES, Level
from tasks.records.status import Status
from tasks.wording import counted

JOB_TAG = "job:"
"""Begins the tag by which the runs of a job are found."""
LOOK_SECONDS = 2.0
"""Between two looks: bar, cancelled job."""
GIVE_UP_SECONDS = 90.0
"""Workers end the tasks of a cancelled job within seconds when Prefect shows them, else at their next lease, which is
at most 60 s away."""
GIVE_UP_LOOK_SECONDS = 1.0
NAMED_UNSEEN = 5
"""Most tasks without a run that are named."""


def make_parent(level: Level) -> UUID | None:
    """Return the Prefect task run below which the runs of the tasks will hang; None: they are not shown below it."""
    job_run_id = instrument.flow_run_id()
    if job_run_id is None or level == "off" or not may_show():
        return None
    with instrument.not_shown(), guarded_client() as client:
        return runs.make_parent(client, job_run_id, name="tasks")
    return None


def leave_parent(parent_id: UUID | None) -> None:
    """Give that Prefect task run an end when the client does not wait for the job.

    It would stay Running where no worker comes. Each change of a run below it is its own as well: it shows Running
    while tasks are at work, and ends with the last.
    """
    if parent_id is not None and may_show():
        with instrument.not_shown(), guarded_client() as client:
            runs.end_parent(client, parent_id)


def words_from_level(level: Level, *, n_tasks: int) -> str:
    """Return in words what of the tasks is to be seen in Prefect. Pure."""
    tasks = counted(n_tasks, "task")
    match level:
        case "stages":
            return f"Prefect shows each of {tasks} with its five stages."
        case "task":
            return (
                f"Prefect shows each of {tasks} without its stages (THOR_INSTRUMENTATION=auto shows them for up to "
                f"{MOST_TASKS_WITH_STAGES} tasks)."
            )
        case "off":
            return f"Prefect shows none of {tasks} (THOR_INSTRUMENTATION=off)."


def name_run(job_id: JobId) -> None:
    """Give the run of the job the id as its name and as a tag: one that was started in a form may have neither."""
    run, tag = instrument.flow_run(), JOB_TAG + job_id
    if run is None or (run.name == job_id and tag in run.tags) or not may_show():
        return
    with instrument.not_shown(), guarded_client() as client:
        client.update_flow_run(run.id, name=job_id, tags=sorted({*run.tags, tag}))


def job_of_run(run: FlowRun | None) -> JobId | None:
    """Return the job that a run was given or has named itself after; None: it had not begun."""
    if run is None:
        return None
    tagged = [tag.removeprefix(JOB_TAG) for tag in run.tags if tag.startswith(JOB_TAG)]
    named = run.parameters.get("job_id") or (tagged[0] if tagged else None)
    return None if named is None else job_id_from_text(named)


class JobShow:
    """What is shown of a job while a command follows it. Outside of a run it does nothing."""

    def __init__(self, watch: JobWatch) -> None:
        self._watch = watch
        self._job_run_id = instrument.flow_run_id()
        self._bar_id: UUID | None = None
        self._percent = 0.0
        self._look_at = 0.0
        #: Whether its run was cancelled, and the job with it.
        self.has_cancelled = False

    def look(self) -> None:
        """Move the bar, and cancel the job if its run was cancelled; at most every two seconds."""
        is_due = time.monotonic() >= self._look_at or self._watch.progress.is_complete
        if self._job_run_id is None or not is_due or not may_show():
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        is_cancelled = False
        with instrument.not_shown(), guarded_client() as client:
            self._move_bar(client, self._job_run_id)
            is_cancelled = runs.is_cancelled(client, self._job_run_id)
        if is_cancelled and not self.has_cancelled:
            self.has_cancelled = True
            self._cancel()

    def _cancel(self) -> None:
        report = cancel_job(self._watch.bucket, self._watch.layout)
        reporter().warn(
            f"Its run was cancelled in Prefect: job {report.job_id} is cancelled. "
            f"{counted(len(report.in_progress), 'task')} at work: their workers give them up."
        )
        with instrument.not_shown(), guarded_client() as client:
            ask_workers(client, self._watch.layout.job_id)

    def _move_bar(self, client: SyncPrefectClient, job_run_id: UUID) -> None:
        progress, job_id = self._watch.progress, self._watch.layout.job_id
        percent = progress.percent if progress.total else 0.0  # before the first look nothing is known
        if self._bar_id is None:
            description = f"Tasks of job {job_id} that have come to an end"
            self._bar_id = runs.make_artifact(
                client, job_run_id, kind="progress", key=f"thor-job-{job_id}", data=0.0, description=description
            )
        if percent != self._percent:
            runs.set_progress(client, self._bar_id, percent)
            self._percent = percent


def ask_workers(client: SyncPrefectClient, job_id: JobId) -> None:
    """Have the workers that show tasks of a cancelled job give them up: they look every few seconds."""
    for run in runs.attempt_runs_of_job(client, job_id, [StateType.RUNNING, StateType.PENDING]):
        client.set_flow_run_state(run.id, Cancelling(message="Its job was cancelled."), force=True)


def end_runs(watch: JobWatch, parent_id: UUID | None) -> list[str]:
    """Give each run of a task that its worker never ended what became of the task; no worker is waited for.

    Returns in words what is not to be seen in Prefect.
    """
    if not (instrument.is_in_run() and may_show()):
        return []
    with instrument.not_shown(), guarded_client() as client:
        found = runs.attempt_runs_of_job(client, watch.layout.job_id, list(StateType))
        _end_lost(client, found, watch.statuses)
        if parent_id is None:
            return []
        runs.end_parent(client, parent_id)
        return words_from_unseen(set(watch.statuses) - {runs.task_of(run) for run in found})
    return []


def _end_lost(client: SyncPrefectClient, found: Iterable[FlowRun], statuses: Mapping[TaskId, Status]) -> None:
    for run in found:
        task_id = runs.task_of(run)
        status = None if task_id is None else statuses.get(task_id)
        is_lost = run.state is None or not run.state.is_final()
        if is_lost and status is not None and status.is_terminal:
            runs.end_run(client, run, end_of_lost(run.parameters.get("attempt"), status))


def words_from_unseen(task_ids: Collection[TaskId]) -> list[str]:
    """Tell which tasks have no run in Prefect. Pure."""
    if not task_ids:
        return []
    first = ", ".join(sorted(task_ids)[:NAMED_UNSEEN])
    more = ", ..." if len(task_ids) > NAMED_UNSEEN else ""
    tasks = f"{counted(len(task_ids), 'task')} without a run in Prefect ({first}{more})"
    why = "it did not answer their workers, or these are set to show none"
    return [f"{tasks}: {why}. The table of tasks has them all."]


def end_of_lost(attempt: object, status: Status) -> State[None]:
    """Return how an attempt ended whose worker did not show it, by the status of its task. Pure."""
    if isinstance(attempt, int) and attempt < status.attempt:
        return Crashed(message=f"Attempt {status.attempt} came after it.")
    unseen = "Its worker did not show its end."
    if status.state == "succeeded":
        return Completed(message=f"Succeeded. {unseen}")
    message = f"{status.error_kind}: {status.error} {unseen}"
    return Cancelled(message=message) if status.error_kind == "cancelled" else Failed(message=message)


def give_up(bucket: Bucket, job: JobLayout, job_run_id: UUID) -> None:
    """Have the tasks of a cancelled job given up, whose own process is gone, and give all its runs their ends."""
    watch = JobWatch(bucket, job, task_ids_with_status(bucket, job))
    with instrument.not_shown(), guarded_client() as client:
        ask_workers(client, job.job_id)
    until = time.monotonic() + GIVE_UP_SECONDS
    watch.look()
    while watch.progress.in_progress and time.monotonic() < until:
        time.sleep(GIVE_UP_LOOK_SECONDS)
        watch.look()
    with instrument.not_shown(), guarded_client() as client:
        _end_lost(client, runs.attempt_runs_of_job(client, job.job_id, runs.UNFINISHED), watch.statuses)
        runs.end_prefect_tasks(client, job_run_id)
