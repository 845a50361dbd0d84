"""The flow runs that people see of tasks, each attempt's below its job's, and what lies beside them.

All may raise what Prefect and httpx raise: the caller goes on unseen (`instrument.not_shown`).
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect import Flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Pending, Running

from tasks.records.ids import JobId, TaskId

PAGE = 200
"""Runs that are read with one request: the most that a server gives."""
UNFINISHED = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)
CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)


@task(name="runs")
def _runs() -> None:
    """Stand for the runs below one: Prefect links a run to the one above it by a task run of the latter."""


def make_parent(client: SyncPrefectClient, flow_run_id: UUID, *, name: str) -> UUID:
    """Return the Prefect task run of a flow run below which other runs hang."""
    return client.create_task_run(_runs, flow_run_id, dynamic_key=name, name=name, state=Running()).id


def end_parent(client: SyncPrefectClient, parent_id: UUID) -> None:
    """Give that Prefect task run its end."""
    client.set_task_run_state(parent_id, Completed(), force=True)


def make_run(
    client: SyncPrefectClient,
    flow: Flow[..., Any],
    *,
    name: str,
    parameters: Mapping[str, Any],
    parent_id: UUID | None,
    tags: Sequence[str] = (),
) -> FlowRun:
    """Return a new run of a flow, to be begun by this process; without a parent it stands alone."""
    return client.create_flow_run(
        flow, name=name, parameters=dict(parameters), tags=tags, parent_task_run_id=parent_id, state=Pending()
    )


def is_cancelled(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    """Tell whether that flow run was cancelled."""
    state = client.read_flow_run(flow_run_id).state
    return state is not None and state.type in CANCELLED


def subflow_runs(client: SyncPrefectClient, flow_run_id: UUID, states: Sequence[StateType]) -> list[FlowRun]:
    """Return the flow runs below that one that are in one of the states."""
    below = FlowRunFilterParentFlowRunId(any_=[flow_run_id])
    return _all_runs(client, FlowRunFilter(parent_flow_run_id=below, state=_in(states)))


def attempt_runs_of_job(client: SyncPrefectClient, job_id: JobId, states: Sequence[StateType]) -> list[FlowRun]:
    """Return the flow runs of a job's attempts that are in one of the states, below its own run or not."""
    tagged = _all_runs(client, FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job_id}"]), state=_in(states)))
    return [run for run in tagged if "attempt" in run.parameters]  # the job's own run and those of stages have none


def end_run(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    """Give a run that its process will not end any more, and what is unfinished below it, that end."""
    for each in [*subflow_runs(client, run.id, UNFINISHED), run]:
        client.set_flow_run_state(each.id, state.model_copy(), force=True)


def end_prefect_tasks(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Mark the Prefect tasks of a flow run as Cancelled that were at work when its process was ended."""
    of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[flow_run_id]))
    for each in client.read_task_runs(task_run_filter=of_run):
        if each.state is None or not each.state.is_final():
            client.set_task_run_state(each.id, Cancelled(), force=True)


def crash_lost_run(client: SyncPrefectClient, lost_id: UUID, *, by: str) -> None:
    """Mark the flow run of an attempt that was lost, and its stages, as Crashed; one that has ended stays as it is."""
    lost = client.read_flow_run(lost_id)
    if lost.state is None or not lost.state.is_final():
        end_run(client, lost, Crashed(message=f"Its worker was lost; {by} took the task over."))


def make_artifact(
    client: SyncPrefectClient, flow_run_id: UUID, *, kind: str, key: str, data: str | float, description: str
) -> UUID:
    """Put a markdown, table or progress beside a flow run, be it over or not. The same key gives a history."""
    request = ArtifactCreate(
        type=kind, key=artifact_key(key), description=description, data=data, flow_run_id=flow_run_id
    )
    return client.create_artifact(request).id


def set_progress(client: SyncPrefectClient, bar_id: UUID, percent: float) -> None:
    """Move a progress bar."""
    client.update_artifact(bar_id, ArtifactUpdate(data=percent))


def task_of(run: FlowRun) -> TaskId | None:
    """Return the task that a run shows, by its tags."""
    names = [tag.removeprefix("task:") for tag in run.tags if tag.startswith("task:")]
    return TaskId(names[0]) if names else None


def tags_of(job_id: JobId, task_id: TaskId) -> list[str]:
    """Return the tags by which people find the runs of a task."""
    return [f"job:{job_id}", f"task:{task_id}"]


def artifact_key(text: str) -> str:
    """Return a key as Prefect wants it: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _in(states: Sequence[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))


def _all_runs(client: SyncPrefectClient, which: FlowRunFilter) -> list[FlowRun]:
    read = functools.partial(client.read_flow_runs, flow_run_filter=which, sort=FlowRunSort.ID_DESC, limit=PAGE)
    found: list[FlowRun] = []
    while len(page := read(offset=len(found))) == PAGE:
        found += page
    return [*found, *page]
