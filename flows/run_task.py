"""`thor-task`, the flow of a worker: a claimed task goes through THOR's five stages, each a subflow that computes it.

Prefect shows the work and never owns it. An attempt computes each stage once, whoever calls it: a run that can't be
made, or is lost after the work, costs nothing. No result passes through Prefect: outputs go to the bucket first.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from prefect import Flow, flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Completed, Failed

from flows.shown.cancel_watch import CancelWatch
from flows.shown.task_page import show_attempt, words_from_report, words_from_success
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.store import Bucket
from tasks.compute import cluster_at, map_blocks_on_threads
from tasks.engines.interface import MapBlocks, Stage
from tasks.engines.warm_up import warm_up as warm_up_engine
from tasks.errors import ThorQueueError
from tasks.jobs.claims import ClaimsCache
from tasks.jobs.run_attempt import LONGEST_ERROR, Attempt
from tasks.jobs.task_inputs import SurveyCache
from tasks.prefect_api import instrument, runs
from tasks.prefect_api.clients import guarded_runs, may_show
from tasks.records.assignment import Assignment, AttemptReleased, AttemptSucceeded, CancelAsked, FlowRunStarted, Tell
from tasks.records.instrumentation import level_of_worker
from tasks.settings import Settings, settings_from_environment

TASK_FLOW = "thor-task"
"""The flow of a worker, as Prefect lists it."""


@dataclass
class _AtWork:
    """The attempt that this process computes, and what shows it."""

    attempt: Attempt
    client: SyncPrefectClient
    shows_stages: bool
    #: The Prefect task run below which its stages hang; None: it is not made yet.
    stages_id: UUID | None = None


_at_work: contextvars.ContextVar[_AtWork] = contextvars.ContextVar("at_work")


@flow(name="range_and_shift", description="Keep the cell around the test orbit, project it on the co-rotating plane.")
def range_and_shift(task_id: str) -> State[Any]:  # noqa: ARG001 (people see it)
    """Compute stage 1 of the attempt at work."""
    return run_stage("range_and_shift")


@flow(name="cluster_and_link", description="Find sets of detections on smooth tracks in that plane.")
def cluster_and_link(task_id: str) -> State[Any]:  # noqa: ARG001 (people see it)
    """Compute stage 2 of the attempt at work."""
    return run_stage("cluster_and_link")


@flow(name="initial_orbit_determination", description="Give each cluster a first orbit.")
def initial_orbit_determination(task_id: str) -> State[Any]:  # noqa: ARG001 (people see it)
    """Compute stage 3 of the attempt at work."""
    return run_stage("initial_orbit_determination")


@flow(name="orbit_determination", description="Differentially correct the orbits with the full force model.")
def orbit_determination(task_id: str) -> State[Any]:  # noqa: ARG001 (people see it)
    """Compute stage 4 of the attempt at work."""
    return run_stage("orbit_determination")


@flow(name="merge_and_extend", description="Assign each detection to one orbit, add what was missed, merge.")
def merge_and_extend(task_id: str) -> State[Any]:  # noqa: ARG001 (people see it)
    """Compute stage 5 of the attempt at work."""
    return run_stage("merge_and_extend")


@flow(name=TASK_FLOW, description="One test orbit of a job.")
def thor_task(job_id: str, task_id: str, attempt: int) -> State[Any]:  # noqa: ARG001 (people see them)
    """Do the attempt at work to its end: inputs, five stages, outputs, then a table of what each stage did."""
    work = _at_work.get()
    work.attempt.run(functools.partial(run_stages, task_id) if work.shows_stages else None)
    show_attempt(work.attempt)
    if isinstance(work.attempt.ending, AttemptSucceeded):
        return Completed(message=words_from_success(work.attempt))
    return Failed(message=getattr(work.attempt.ending, "error", "it did not end"))


def run_stages(task_id: str) -> None:
    """Compute the five stages, each as a subflow."""
    as_subflow(range_and_shift, task_id)
    as_subflow(cluster_and_link, task_id)
    as_subflow(initial_orbit_determination, task_id)
    as_subflow(orbit_determination, task_id)
    as_subflow(merge_and_extend, task_id)


def as_subflow(stage_flow: Flow[[str], State[Any]], task_id: str) -> None:
    """Compute a stage in a run of its flow below that of the task; when Prefect makes none, without it.

    The run is made here and not by calling the flow, which would take eight requests instead of six and name it only
    afterwards; and a busy server is asked again by our client alone.
    """
    work = _at_work.get()
    parameters = {"task_id": task_id}
    with instrument.not_shown():
        run = runs.make_run(
            work.client,
            stage_flow,
            name=task_id,
            parameters=parameters,
            parent_id=_parent_of_stages(work),
            tags=runs.tags_of(work.attempt.assignment.job_id, work.attempt.assignment.task_id),
        )
        run_flow(stage_flow, flow_run=run, parameters=parameters, return_type="state")
    work.attempt.run_stage(stage_flow.name)  # type: ignore[arg-type]  # done already, or failed with the error it raises


def run_stage(stage: Stage) -> State[Any]:
    """Compute a stage of the attempt at work, in its flow; return how it went, as people see it."""
    attempt = _at_work.get().attempt
    try:
        attempt.run_stage(stage)
    except Exception as error:  # noqa: BLE001 (the attempt keeps it; Prefect would write it to a file)
        return Failed(message=f"{type(error).__name__}: {error}"[:LONGEST_ERROR])
    return Completed(message=words_from_report(attempt.reports[stage]))


def _parent_of_stages(work: _AtWork) -> UUID | None:
    task_run_id = instrument.flow_run_id()
    if work.stages_id is None and task_run_id is not None:
        work.stages_id = runs.make_parent(work.client, task_run_id, name="stages")
    return work.stages_id


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
    level = level_of_worker(settings.instrumentation, assignment.instrumentation)
    if level != "off" and may_show():
        with instrument.not_shown():
            run_in_prefect(attempt, tell=tell, shows_stages=level == "stages")
    if attempt.ending is None:
        attempt.run()


def run_in_prefect(attempt: Attempt, *, tell: Tell, shows_stages: bool) -> None:
    """Do the attempt as a flow run; raises what Prefect raises, and the attempt is then to be done to its end."""
    task = attempt.assignment
    parameters = {"job_id": task.job_id, "task_id": task.task_id, "attempt": task.attempt}
    with instrument.quiet_console(), guarded_runs() as client, instrument.forwarded_logs():
        if task.former_flow_run_id is not None:
            with instrument.not_shown():
                runs.crash_lost_run(client, UUID(task.former_flow_run_id), by=task.worker)
        run = runs.make_run(
            client,
            thor_task,
            name=f"{task.task_id} attempt {task.attempt}",
            parameters=parameters,
            parent_id=None if task.parent_run_id is None else UUID(task.parent_run_id),
            tags=runs.tags_of(task.job_id, task.task_id),
        )
        tell(FlowRunStarted(prefect_flow_run_id=str(run.id)))
        with _working(_AtWork(attempt, client, shows_stages)), CancelWatch(run.id, tell=tell):
            state = run_flow(thor_task, flow_run=run, parameters=parameters, return_type="state")
        if attempt.ending is None and isinstance(state, State) and (state.is_cancelled() or state.is_cancelling()):
            tell(CancelAsked())  # before it began


@contextlib.contextmanager
def _working(work: _AtWork) -> Iterator[None]:
    token = _at_work.set(work)
    try:
        yield
    finally:
        _at_work.reset(token)


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
