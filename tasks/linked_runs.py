"""The flow runs that people see of tasks, each attempt's below its job's, made and read by single requests.

Whoever comes first makes an attempt's run: the client, which shows it as queued, or the worker. All may raise what
Prefect and httpx raise: the caller goes on unseen.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import FlowRun, StateType

from tasks import instrument
from tasks.records.ids import JobId, TaskId

TASK_FLOW = "thor-task"
"""The flow of a worker, as Prefect lists it."""
PAGE = 200
"""Runs that are read with one request: the most that a server gives."""

UNFINISHED = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)
CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)


@contextlib.contextmanager
def hasty_client() -> Iterator[SyncPrefectClient]:
    """Yield a client of one's own whose requests are made with little patience."""
    # With settings of its own: otherwise Prefect gives the client of the flow run at work, with its patience.
    with (
        instrument.little_patience(),
        get_client(sync_client=True, httpx_settings=_settings(instrument.REQUEST_SECONDS)) as client,
    ):
        yield client


@contextlib.contextmanager
def patient_client() -> Iterator[SyncPrefectClient]:
    """Yield a client of one's own for what nobody waits for, or what is worth a wait."""
    with (
        instrument.show_patience(),
        get_client(sync_client=True, httpx_settings=_settings(instrument.SHOW_REQUEST_SECONDS)) as client,
    ):
        yield client


def _settings(timeout_seconds: float) -> dict[str, Any]:
    return {"timeout": timeout_seconds, **instrument.transport_settings()}


def make_parent(client: SyncPrefectClient, flow_run_id: UUID, *, name: str) -> UUID:
    """Return the Prefect task run of a flow run below which other runs hang: Prefect links runs by such a one."""
    run = {
        "flow_run_id": str(flow_run_id),
        "task_key": name,
        "dynamic_key": name,
        "name": name,
        "state": {"type": StateType.RUNNING.value},
    }
    return UUID(client.request("POST", "/task_runs/", json=run).json()["id"])


def end_parent(client: SyncPrefectClient, parent_id: UUID, *, state: StateType = StateType.COMPLETED) -> None:
    """Give that Prefect task run its end."""
    change = {"state": {"type": state.value}, "force": True}
    client.request("POST", "/task_runs/{id}/set_state", path_params={"id": parent_id}, json=change)


def make_attempt_run(  # noqa: PLR0913 (what names an attempt)
    client: SyncPrefectClient,
    parent_id: UUID,
    *,
    job_id: JobId,
    task_id: TaskId,
    attempt: int,
    state_name: str,
    retries: int = 0,
) -> FlowRun:
    """Return the flow run of that attempt; it is made, Pending, if nobody has made it yet.

    Each attempt has one of its own, so that never two are at work in one run. A task that failed before anybody claimed
    it (cancelled, given up) has its attempt yet to come when it is retried: that one has another run than before.
    """
    run = {
        "name": f"{task_id} attempt {attempt}",
        "flow_id": str(_flow_id(client, TASK_FLOW)),
        "parent_task_run_id": str(parent_id),
        "idempotency_key": f"{parent_id} {task_id} {attempt}" + (f" {retries}" if retries else ""),
        "parameters": {"job_id": job_id, "task_id": task_id, "attempt": attempt},
        "tags": tags_of(job_id, task_id),
        "state": {"type": StateType.PENDING.value, "name": state_name},
    }
    return FlowRun.model_validate(client.request("POST", "/flow_runs/", json=run).json())


def retries_of(run: FlowRun) -> int | None:
    """Return how often the task had been retried when its run was made; None: it stands alone, and does not tell."""
    if run.idempotency_key is None:
        return None
    retries = run.idempotency_key.split(" ")[3:]
    return int(retries[0]) if retries else 0


def state_of(kind: StateType, message: str | None = None, *, name: str | None = None) -> dict[str, Any]:
    """Return a state as requests carry it."""
    return {"type": kind.value, "message": message, "name": name}


def set_state(client: SyncPrefectClient, flow_run_id: UUID, state: dict[str, Any]) -> None:
    """Give a flow run that state, whatever it was in."""
    change = {"state": state, "force": True}
    client.request("POST", "/flow_runs/{id}/set_state", path_params={"id": flow_run_id}, json=change)


def is_cancelled(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    """Tell whether somebody cancelled that flow run."""
    state = client.read_flow_run(flow_run_id).state
    return state is not None and state.type in CANCELLED


def runs_below(client: SyncPrefectClient, parents: Sequence[UUID], states: Sequence[StateType]) -> list[FlowRun]:
    """Return the flow runs below these Prefect task runs that are in one of the states."""
    return _filtered(client, {"parent_task_run_id": {"any_": [str(parent) for parent in parents]}}, states)


def attempt_runs_of_job(client: SyncPrefectClient, job_id: JobId, states: Sequence[StateType]) -> list[FlowRun]:
    """Return the flow runs of a job's attempts that are in one of the states, below its own run or not."""
    tagged = _filtered(client, {"tags": {"all_": [f"job:{job_id}"]}}, states)
    return [run for run in tagged if "attempt" in run.parameters]  # the job's own run and those of stages have none


def subflow_runs(client: SyncPrefectClient, flow_run_id: UUID, states: Sequence[StateType]) -> list[FlowRun]:
    """Return the flow runs below that one that are in one of the states."""
    return _filtered(client, {"parent_flow_run_id": {"any_": [str(flow_run_id)]}}, states)


def cancel_prefect_tasks(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Mark the Prefect tasks of a flow run as Cancelled that were at work when its process was ended."""
    query = {
        "task_runs": {
            "flow_run_id": {"any_": [str(flow_run_id)]},
            "state": {"type": {"any_": [state.value for state in UNFINISHED]}},
        },
        "limit": PAGE,
    }
    for run in client.request("POST", "/task_runs/filter", json=query).json():
        end_parent(client, UUID(run["id"]), state=StateType.CANCELLED)


def crash_lost_run(client: SyncPrefectClient, lost_id: UUID, *, by: str) -> None:
    """Mark the flow run of an attempt that was lost, and its stages, as Crashed; one that has ended stays as it is."""
    lost = client.read_flow_run(lost_id)
    if lost.state is not None and lost.state.is_final():
        return
    state = state_of(StateType.CRASHED, f"Its worker was lost; {by} took the task over.")
    for run in [*subflow_runs(client, lost_id, UNFINISHED), lost]:
        set_state(client, run.id, state)


def make_progress(client: SyncPrefectClient, flow_run_id: UUID, *, key: str, description: str) -> UUID:
    """Return a new progress bar beside a flow run, at 0 %."""
    request = ArtifactCreate(
        type="progress",
        key=instrument.artifact_key(key),
        description=description,
        data=0.0,
        flow_run_id=flow_run_id,
    )
    return client.create_artifact(request).id


def set_progress(client: SyncPrefectClient, bar_id: UUID, percent: float) -> None:
    """Move a progress bar."""
    client.update_artifact(bar_id, ArtifactUpdate(data=percent))


def make_page(client: SyncPrefectClient, flow_run_id: UUID, *, key: str, markdown: str, description: str) -> None:
    """Put a page beside a flow run, be it over or not."""
    request = ArtifactCreate(
        type="markdown",
        key=instrument.artifact_key(key),
        description=description,
        data=markdown,
        flow_run_id=flow_run_id,
    )
    client.create_artifact(request)


def tags_of(job_id: JobId, task_id: TaskId) -> list[str]:
    """Return the tags by which people find the runs of a task."""
    return [f"job:{job_id}", f"task:{task_id}"]


def _filtered(client: SyncPrefectClient, which: dict[str, Any], states: Sequence[StateType]) -> list[FlowRun]:
    found: list[FlowRun] = []
    while True:
        query = {
            "flow_runs": {**which, "state": {"type": {"any_": [state.value for state in states]}}},
            "limit": PAGE,
            "offset": len(found),
            "sort": "ID_DESC",
        }
        page = client.request("POST", "/flow_runs/filter", json=query).json()
        found += [FlowRun.model_validate(run) for run in page]
        if len(page) < PAGE:
            return found


def _flow_id(client: SyncPrefectClient, name: str) -> UUID:
    key = (str(client.api_url), name)
    if key not in _flow_ids:
        _flow_ids[key] = client.create_flow_from_name(name)
    return _flow_ids[key]


_flow_ids: dict[tuple[str, str], UUID] = {}
