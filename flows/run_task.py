"""`thor-task`, the flow of a worker: a claimed task goes through five stages, each a subflow that people can see.

Prefect shows the work and never owns it: the flows here follow an attempt that goes on whatever becomes of them.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow

from flows.attempt_show import AttemptShow
from tasks import instrument
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.store import Bucket
from tasks.compute import map_blocks_on_cluster, map_blocks_on_threads
from tasks.engines.interface import MapBlocks, Stage
from tasks.engines.warm_up import warm_up as warm_up_engine
from tasks.errors import ThorQueueError
from tasks.jobs.run_attempt import LONGEST_ERROR, Attempt
from tasks.jobs.task_inputs import SurveyCache
from tasks.records.assignment import Assignment, AttemptReleased, AttemptSucceeded, Tell
from tasks.settings import Settings, settings_from_environment

_on_show: contextvars.ContextVar[AttemptShow] = contextvars.ContextVar("attempt_on_show")


class TaskDidNotSucceedError(Exception):
    """Colours the flow run: how the attempt ended has been told to the supervisor already."""


@flow(name="range_and_shift", description="Keep the cell around the test orbit, project it on the co-rotating plane.")
def range_and_shift() -> None:
    """Show stage 1 of the attempt at work."""
    _on_show.get().await_end("range_and_shift")


@flow(name="cluster_and_link", description="Find sets of detections on smooth tracks in that plane.")
def cluster_and_link() -> None:
    """Show stage 2 of the attempt at work."""
    _on_show.get().await_end("cluster_and_link")


@flow(name="initial_orbit_determination", description="Give each cluster a first orbit.")
def initial_orbit_determination() -> None:
    """Show stage 3 of the attempt at work."""
    _on_show.get().await_end("initial_orbit_determination")


@flow(name="orbit_determination", description="Differentially correct the orbits with the full force model.")
def orbit_determination() -> None:
    """Show stage 4 of the attempt at work."""
    _on_show.get().await_end("orbit_determination")


@flow(name="merge_and_extend", description="Assign each detection to one orbit, add what was missed, merge.")
def merge_and_extend() -> None:
    """Show stage 5 of the attempt at work."""
    _on_show.get().await_end("merge_and_extend")


STAGE_FLOWS: dict[Stage, Callable[[], None]] = {
    "range_and_shift": range_and_shift,
    "cluster_and_link": cluster_and_link,
    "initial_orbit_determination": initial_orbit_determination,
    "orbit_determination": orbit_determination,
    "merge_and_extend": merge_and_extend,
}


@flow(name="thor-task", flow_run_name="{task_id} attempt {attempt}", description="One test orbit of a job.")
def thor_task(job_id: str, task_id: str, attempt: int, worker: str) -> None:  # noqa: ARG001 (people see them)
    """Show an attempt: a subflow for each stage, then a table of what each did."""
    show = _on_show.get()
    show.begin()
    if show.shows_stages:
        for stage, stage_flow in STAGE_FLOWS.items():
            if not show.await_beginning(stage):
                break
            stage_flow()
    show.await_ending()
    show_stages(show.attempt)
    if not isinstance(show.attempt.ending, AttemptSucceeded):
        raise TaskDidNotSucceedError(getattr(show.attempt.ending, "error", "it did not end"))


def show_stages(attempt: Attempt) -> None:
    """Put the table of counts and seconds beside the flow run."""
    rows = [
        {
            "stage": report.stage,
            "seconds": round(report.seconds, 3),
            "resumed": report.resumed,
            "counts": ", ".join(f"{name} {count}" for name, count in report.counts.items()),
        }
        for report in attempt.reports.values()
    ]
    title = f"Task {attempt.task.task_id} of job {attempt.task.job.job_id}"
    instrument.show_table("thor-task-stages", rows, f"{title}: counts and seconds of each stage")


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
        map_blocks=_map_blocks(settings),
    )
    if settings.instrumentation == "off":
        attempt.run()
        return
    show = AttemptShow(attempt, shows_stages=settings.instrumentation == "stages")
    token = _on_show.set(show)
    try:
        show.run(functools.partial(_play, assignment), tell=tell)
    finally:
        _on_show.reset(token)


def _play(assignment: Assignment) -> None:
    """Be the show: the flow run of this attempt, and an end to the one of the attempt before it."""
    with instrument.without_heartbeats(), tags(f"job:{assignment.job_id}", f"task:{assignment.task_id}"):
        if assignment.former_flow_run_id is not None:
            instrument.mark_crashed(assignment.former_flow_run_id, by=assignment.worker)
        parameters = assignment.model_dump(include={"job_id", "task_id", "attempt", "worker"})
        with contextlib.suppress(TaskDidNotSucceedError):
            run_flow(thor_task, flow_run=_waiting_flow_run(assignment), parameters=parameters)


def _waiting_flow_run(assignment: Assignment) -> FlowRun | None:
    """Return the flow run that was made for this task when it was submitted, if there is one."""
    if assignment.prefect_flow_run_id is None:
        return None
    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(UUID(assignment.prefect_flow_run_id))
        except ObjectNotFound:
            return None


@lru_cache(maxsize=4)
def _bucket(url: str) -> Bucket:
    return open_bucket_from_settings(settings_from_environment(), url)


@lru_cache(maxsize=1)
def _surveys(max_bytes: int) -> SurveyCache:
    return SurveyCache(max_bytes)


def _map_blocks(settings: Settings) -> MapBlocks:
    address = settings.dask_scheduler_address
    return map_blocks_on_cluster(address) if address else map_blocks_on_threads()
