"""Flow runs of the worker deployment on the Prefect server: how many there are, and starting more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from tasks.errors import BadInputError

SETTLING_SECONDS = 120.0
"""A flow run that is younger may still be loading the engine, and has not taken a task."""

_STARTING = (StateType.SCHEDULED, StateType.PENDING)


@dataclass(frozen=True)
class WorkerRuns:
    """How many flow runs of workers there are."""

    #: Running, and long enough to have taken a task if there was one.
    working: int
    #: Scheduled, pending, or running for a moment only.
    starting: int

    @property
    def alive(self) -> int:
        """All that work or will."""
        return self.working + self.starting


class WorkerDeployment:
    """The deployment whose flow runs are workers."""

    def __init__(self, client: SyncPrefectClient, deployment_id: UUID) -> None:
        self._client = client
        self._id = deployment_id

    def runs(self) -> WorkerRuns:
        """Count its flow runs. The server's clock and ours need not agree: a minute more or less shifts a guess."""
        settled_since = datetime.now(UTC) - timedelta(seconds=SETTLING_SECONDS)
        running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
        starting = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_STARTING)))
        n_running = self._count(FlowRunFilter(state=running))
        n_settled = self._count(FlowRunFilter(state=running, start_time=FlowRunFilterStartTime(before_=settled_since)))
        n_starting = self._count(FlowRunFilter(state=starting))
        return WorkerRuns(working=n_settled, starting=n_starting + n_running - n_settled)

    def start(self, count: int) -> None:
        """Schedule `count` more, now."""
        for _ in range(count):
            self._client.create_flow_run_from_deployment(self._id)

    def _count(self, which: FlowRunFilter) -> int:
        own = DeploymentFilter(id=DeploymentFilterId(any_=[self._id]))
        return self._client.count_flow_runs(flow_run_filter=which, deployment_filter=own)


@contextmanager
def worker_deployment(name: str) -> Iterator[WorkerDeployment]:
    """Yield the deployment FLOW/NAME.

    Raises
    ------
    BadInputError
        If there is none of that name.
    """
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(name)
        except (ObjectNotFound, ValueError) as error:
            raise BadInputError(
                f"Cannot start workers: there is no deployment {name!r} on the Prefect server, expected FLOW/NAME. Run "
                "`prefect --no-prompt deploy --all`, or name another."
            ) from error
        yield WorkerDeployment(client, deployment.id)
