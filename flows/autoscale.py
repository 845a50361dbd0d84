"""`python -m flows.autoscale`: start workers in a work pool when the queue grows. Idle ones leave by themselves.

One look, one decision; a schedule repeats it. Nothing depends on it: a task that no worker takes waits in the queue,
and a worker too many finds nothing and leaves.
"""

import math
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from pydantic import Field

from flows.terminal import command_line
from flows.terminal.places import settings_with
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.broker.protocol import QueueDepth
from tasks.errors import BadInputError, PrefectUnavailableError
from tasks.prefect_api import instrument
from tasks.prefect_api.worker_runs import WorkerRuns, worker_deployment

DEPLOYMENT = "thor-worker/worker"
MAXIMUM = 16
TASKS_PER_WORKER = 4


@dataclass(frozen=True)
class Limits:
    """How many workers there may be."""

    minimum: int = 0
    maximum: int = MAXIMUM
    #: Waiting tasks for which one more worker is started.
    tasks_per_worker: int = TASKS_PER_WORKER


@dataclass(frozen=True)
class Scaling:
    """What was seen, and what was done."""

    #: Messages that wait for a worker.
    ready: int
    #: Messages that workers hold; -1: the broker does not tell.
    unacked: int
    #: Flow runs of workers: at work, and on their way to it.
    working: int
    starting: int
    #: Workers that there should be.
    wanted: int
    started: int


def workers_wanted(depth: QueueDepth, runs: WorkerRuns, limits: Limits) -> int:
    """Return how many workers there should be: those with a task, and some for the tasks that wait. Pure.

    Messages that others hold (workers that were started by hand) are no reason to keep workers of ours. When the
    broker does not tell what is held, a worker that has been there for a while has a task as long as any waits.
    """
    is_told = depth.unacked >= 0
    busy = min(depth.unacked, runs.alive) if is_told else (runs.working if depth.ready else 0)
    wanted = busy + math.ceil(depth.ready / limits.tasks_per_worker)
    return max(limits.minimum, min(limits.maximum, wanted))


def workers_to_start(depth: QueueDepth, runs: WorkerRuns, limits: Limits) -> int:
    """Return how many workers to start; never a negative number: who has nothing to do leaves by itself. Pure."""
    return max(0, workers_wanted(depth, runs, limits) - runs.alive)


@thor_flow(name="thor-autoscale")
def autoscale(
    minimum: Annotated[int, Field(ge=0)] = 0,
    maximum: Annotated[int, Field(ge=0)] = MAXIMUM,
    tasks_per_worker: Annotated[int, Field(ge=1)] = TASKS_PER_WORKER,
    deployment: str = DEPLOYMENT,
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> Scaling:
    """Start workers for the waiting tasks, as flow runs of the worker deployment.

    It looks once at the queue and at the flow runs of workers. Workers leave by themselves when they find nothing to
    do.
    Needs PREFECT_API_URL, and a Prefect worker that serves the pool of the deployment. Safe to run at any time.

    Args:
        minimum: Workers to keep even when nothing waits.
        maximum: Most workers to have. The work pool has a limit of its own.
        tasks_per_worker: Waiting tasks for which one more worker is started.
        deployment: FLOW/NAME of the deployment whose flow runs are workers; its work pool says which queue they serve.
        bucket: gs://NAME or file:///PATH whose embedded queue to look at. Default: THOR_BUCKET.
    """
    limits = Limits(minimum, maximum, tasks_per_worker)
    if not 0 <= minimum <= maximum or tasks_per_worker < 1:
        raise BadInputError(
            f"Cannot keep between {minimum} and {maximum} workers, one for {tasks_per_worker} tasks: expected a "
            "minimum of 0 or more that is not above the maximum, and 1 or more tasks."
        )
    settings = settings_with(bucket=bucket, queue=queue)
    with closing(open_publisher_from_settings(settings)) as publisher:
        depth = publisher.depth()
    with worker_deployment(deployment) as workers:
        runs = workers.runs()
        scaling = Scaling(
            ready=depth.ready,
            unacked=depth.unacked,
            working=runs.working,
            starting=runs.starting,
            wanted=workers_wanted(depth, runs, limits),
            started=workers_to_start(depth, runs, limits),
        )
        workers.start(scaling.started)
    instrument.show_table("thor-autoscale", [vars(scaling)], "Workers, and the tasks that wait for them")
    return scaling


def show(scaling: Scaling) -> None:
    """Tell a person what was seen and done."""
    held = "" if scaling.unacked < 0 else f", {scaling.unacked} held"
    command_line.print_line(
        f"Queue: {scaling.ready} waiting{held}. Workers: {scaling.working} at work, {scaling.starting} on their way, "
        f"{scaling.wanted} wanted; {scaling.started} started."
    )


def start(**options: Any) -> Scaling:
    """Look and start, not as a flow run: should Prefect fail half-way, calling it again would start workers twice."""
    url = command_line.require_prefect("start workers")
    try:
        return autoscale.fn(**options)
    except httpx.HTTPError as error:
        raise PrefectUnavailableError(f"Cannot start all workers at {url}: {error}. Run it again.") from error


main = Verb("autoscale", autoscale, show=show, run=start)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
