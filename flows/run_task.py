"""`thor-task`, the flow of a worker: a claimed task goes through five stages, each a run that people can see.

Prefect shows the work and never owns it: the flow here follows an attempt that goes on whatever becomes of it.
"""

import contextvars
import functools
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from prefect import Flow, flow, tags
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import SyncClientContext
from prefect.exceptions import CancelledRun
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Completed, Failed

from flows.shown.attempt_show import AttemptShow, RunCancelledError, at_leisure
from tasks import instrument, linked_runs
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.store import Bucket
from tasks.compute import cluster_at, map_blocks_on_threads
from tasks.engines.interface import STAGES, MapBlocks, Stage
from tasks.engines.warm_up import warm_up as warm_up_engine
from tasks.errors import ThorQueueError
from tasks.jobs.claims import ClaimsCache
from tasks.jobs.run_attempt import LONGEST_ERROR, Attempt, StageReport
from tasks.jobs.task_inputs import SurveyCache
from tasks.records.assignment import Assignment, AttemptReleased, AttemptSucceeded, Tell
from tasks.records.ids import TaskId
from tasks.results.task_sight import TaskSight
from tasks.settings import Settings, settings_from_environment
from tasks.wording import counted

logger = logging.getLogger(__name__)

BETWEEN_STAGES = (
    "observations",
    "projected_observations",
    "clusters",
    "iod_orbits",
    "od_orbits",
    "recovered_orbits",
)
"""What each stage takes, and after it what the next one does."""

_on_show: contextvars.ContextVar[AttemptShow] = contextvars.ContextVar("attempt_on_show")


class TaskDidNotSucceedError(Exception):
    """Colours the flow run: how the attempt ended has been told to the supervisor already."""


@flow(
    name="range_and_shift",
    flow_run_name="{task_id}",
    description="Keep the cell around the test orbit, project it on the co-rotating plane.",
)
def range_and_shift(task_id: str) -> State[Any]:  # noqa: ARG001 (in the run's name)
    """Show stage 1 of the attempt at work."""
    return shown_stage("range_and_shift")


@flow(
    name="cluster_and_link",
    flow_run_name="{task_id}",
    description="Find sets of detections on smooth tracks in that plane.",
)
def cluster_and_link(task_id: str) -> State[Any]:  # noqa: ARG001 (in the run's name)
    """Show stage 2 of the attempt at work."""
    return shown_stage("cluster_and_link")


@flow(name="initial_orbit_determination", flow_run_name="{task_id}", description="Give each cluster a first orbit.")
def initial_orbit_determination(task_id: str) -> State[Any]:  # noqa: ARG001 (in the run's name)
    """Show stage 3 of the attempt at work."""
    return shown_stage("initial_orbit_determination")


@flow(
    name="orbit_determination",
    flow_run_name="{task_id}",
    description="Differentially correct the orbits with the full force model.",
)
def orbit_determination(task_id: str) -> State[Any]:  # noqa: ARG001 (in the run's name)
    """Show stage 4 of the attempt at work."""
    return shown_stage("orbit_determination")


@flow(
    name="merge_and_extend",
    flow_run_name="{task_id}",
    description="Assign each detection to one orbit, add what was missed, merge.",
)
def merge_and_extend(task_id: str) -> State[Any]:  # noqa: ARG001 (in the run's name)
    """Show stage 5 of the attempt at work."""
    return shown_stage("merge_and_extend")


STAGE_FLOWS: Mapping[Stage, Flow[[str], State[Any]]] = {
    "range_and_shift": range_and_shift,
    "cluster_and_link": cluster_and_link,
    "initial_orbit_determination": initial_orbit_determination,
    "orbit_determination": orbit_determination,
    "merge_and_extend": merge_and_extend,
}


def shown_stage(stage: Stage) -> State[Any]:
    """Wait, in a stage's flow, until the stage has ended, and return how: with what it took and gave, or its error."""
    show = _on_show.get()
    flow_run_id = instrument.flow_run_id()
    assert flow_run_id is not None  # noqa: S101 (this is a flow run)
    try:
        show.await_end(stage, flow_run_id)
    except RunCancelledError:
        return Cancelled(message="Cancelled with its task.")
    report = show.reports.get(stage)
    if report is None:
        return Failed(message=f"{type(show.error).__name__}: {show.error}"[:LONGEST_ERROR])
    return Completed(message=f"{report.seconds:.3f} s: {words_from_counts(report)}")


@flow(name=linked_runs.TASK_FLOW, flow_run_name="{task_id} attempt {attempt}", description="One test orbit of a job.")
def thor_task(job_id: str, task_id: str, attempt: int) -> State[Any]:  # noqa: ARG001 (people see them)
    """Show an attempt: a run for each stage, then a table of what each did."""
    show = _on_show.get()
    context = SyncClientContext.get()
    flow_run_id = instrument.flow_run_id()
    assert context is not None and flow_run_id is not None  # noqa: S101, PT018 (this is a flow run)
    client = context.client
    show.begin(flow_run_id, is_cancelled=lambda: linked_runs.is_cancelled(client, flow_run_id))
    try:
        if show.shows_stages:
            follow_stages(show)
        show.await_ending()
    except RunCancelledError:
        return Cancelled(message="Cancelled in Prefect; its worker ends the task.")
    show_stages(show)
    if show.sight is not None:
        at_leisure(functools.partial(show_picture, show.sight, flow_run_id, task_id=show.assignment.task_id))
    if not isinstance(show.ending, AttemptSucceeded):
        raise TaskDidNotSucceedError(getattr(show.ending, "error", "it did not end"))
    return Completed(message=words_from_ending(show))


def follow_stages(show: AttemptShow) -> None:
    """Show each stage as a subflow, from its beginning to its end.

    A stage whose run a busy server refuses stays unseen; that must not make the run of a task red that succeeds.

    Raises
    ------
    RunCancelledError
        Somebody cancelled the task's run.
    """
    for stage in STAGES:
        if not show.await_beginning(stage):
            break
        try:
            state = STAGE_FLOWS[stage](show.assignment.task_id, return_state=True)
        except Exception as error:
            if not instrument.prefect_answers(instrument.SHOW_REQUEST_SECONDS):
                raise
            logger.warning("Prefect does not show stage %s: %s: %s", stage, type(error).__name__, error)
            continue
        if state.is_cancelled():
            raise RunCancelledError


def words_from_counts(report: StageReport) -> str:
    """Return the counts of a stage in words."""
    return ", ".join(f"{name} {count}" for name, count in report.counts.items()) or "no counts"


def show_stages(show: AttemptShow) -> None:
    """Put the table of counts in and out, seconds and memory beside the flow run."""
    rows = [row_of_stage(report) for report in show.reports.values()]
    task = show.assignment
    title = f"Task {task.task_id} of job {task.job_id}, attempt {task.attempt} by worker {task.worker}"
    instrument.show_table("thor-task-stages", rows, f"{title}: what each stage took and gave")


def row_of_stage(report: StageReport) -> dict[str, object]:
    """Return a row of that table. Pure.

    The page cuts off what is too wide, so what went in and came out stand first, and the other counts last.
    """
    (taken, given) = BETWEEN_STAGES[STAGES.index(report.stage) :][:2]
    others = ", ".join(f"{name} {count}" for name, count in report.counts.items() if name not in {taken, given})
    return {
        "stage": report.stage,
        "in": _counted(report, taken),
        "out": _counted(report, given),
        "seconds": round(report.seconds, 3),
        "memory [MB]": round(report.memory_bytes / 1e6),
        "resumed": "yes" if report.resumed else "",
        "other counts": others,
    }


def _counted(report: StageReport, name: str) -> str:
    if name not in report.counts:
        return ""
    return counted(report.counts[name], name.replace("_", " ").removesuffix("s"))


def words_from_ending(show: AttemptShow) -> str:
    """Return in words what came of an attempt that succeeded."""
    seconds = sum(report.seconds for report in show.reports.values() if not report.resumed)
    last = show.reports.get(STAGES[-1])
    found = "" if last is None else f"{_counted(last, BETWEEN_STAGES[-1])}, "
    return f"{found}{seconds:.1f} s in stages"


def show_picture(sight: TaskSight, flow_run_id: UUID, *, task_id: TaskId) -> None:
    """Put a picture of the task beside its flow run, which may be over."""
    from tasks.results.task_plots import picture_of_task  # noqa: PLC0415 (matplotlib: 40 MB that only a picture needs)

    title = f"Task {task_id}"
    caption = "The cell in the co-rotating frame, velocities of its clusters, residuals of the recovered orbits."
    markdown = instrument.page_of_pictures(title, [(caption, picture_of_task(sight))])
    with linked_runs.hasty_client() as client:
        linked_runs.make_page(client, flow_run_id, key="thor-task-pictures", markdown=markdown, description=title)


def warm_up() -> None:
    """Compile or load the kernels, so that the first task does not wait for them."""
    warm_up_engine()


def run_assignment(assignment: Assignment, *, tell: Tell, await_lease: Callable[[], None]) -> None:
    """Compute one attempt: what a worker's child does. Tells exactly one ending.

    Raises
    ------
    MemoryError
        What the process still holds can't be trusted: nothing has been told, the supervisor counts a crash.
    """
    settings = settings_from_environment()
    try:
        bucket = _bucket(assignment.bucket_url)
    except ThorQueueError as error:
        # The supervisor has opened it: a Prefect block or credentials are out of reach now, which is not the task's.
        tell(AttemptReleased(error=f"The computing process can't open the bucket: {error}"[:LONGEST_ERROR]))
        return
    attempt = Attempt(
        assignment,
        bucket=bucket,
        tell=tell,
        await_lease=await_lease,
        surveys=_surveys(settings.survey_cache_bytes),
        claims=_claims(),
        map_blocks=_map_blocks(settings),
    )
    if settings.instrumentation == "off":
        attempt.run()
        return
    show = AttemptShow(assignment, shows_stages=settings.instrumentation == "stages", tell=tell)
    show.run(attempt, lambda: _play(show))


def _play(show: AttemptShow) -> None:
    """Be the show: the flow run of this attempt, and an end to that of one that was lost before."""
    task = show.assignment
    _on_show.set(show)
    with (
        instrument.show_patience(),
        tags(*linked_runs.tags_of(task.job_id, task.task_id)),
        instrument.show_client_context() as context,
    ):
        if task.former_flow_run_id is not None:
            with instrument.not_shown():
                linked_runs.crash_lost_run(context.client, UUID(task.former_flow_run_id), by=task.worker)
        flow_run = _linked_run(context.client, task)
        state = None if flow_run is None else flow_run.state
        if flow_run is not None and state is not None and state.type in linked_runs.CANCELLED:
            linked_runs.set_state(context.client, flow_run.id, linked_runs.state_of(StateType.CANCELLED))
            show.tell_cancelled()
            return
        if state is not None and state.is_final():
            return  # somebody gave it its end, since nobody seemed to show it any more
        parameters = task.model_dump(include={"job_id", "task_id", "attempt"})
        try:
            run_flow(thor_task, flow_run=flow_run, parameters=parameters)
        except TaskDidNotSucceedError:
            pass
        except CancelledRun:
            show.tell_cancelled()


def _linked_run(client: SyncPrefectClient, task: Assignment) -> FlowRun | None:
    """Return this attempt's flow run below that of the job, perhaps made when the job was submitted; None: no such."""
    if task.parent_run_id is None:
        return None
    with instrument.not_shown():
        return linked_runs.make_attempt_run(
            client,
            UUID(task.parent_run_id),
            job_id=task.job_id,
            task_id=task.task_id,
            attempt=task.attempt,
            retries=task.retries,
            state_name="Pending",
        )
    return None


@lru_cache(maxsize=4)
def _bucket(url: str) -> Bucket:
    return open_bucket_from_settings(settings_from_environment(), url)


@lru_cache(maxsize=1)
def _claims() -> ClaimsCache:
    return ClaimsCache()


@lru_cache(maxsize=1)
def _surveys(max_bytes: int) -> SurveyCache:
    return SurveyCache(max_bytes)


def _map_blocks(settings: Settings) -> MapBlocks:
    address = settings.dask_scheduler_address
    return (
        cluster_at(address, settings.dask_threads).map_blocks
        if address
        else map_blocks_on_threads(settings.dask_threads)
    )
