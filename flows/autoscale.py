"""`python -m flows.autoscale`: start workers in a work pool when the queue grows. Idle ones leave by themselves.

One look, one decision; a schedule repeats it. Nothing depends on it: a task that no worker takes waits in the queue,
and a worker too many finds nothing and leaves.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import httpx
from prefect import flow
from pydantic import Field, SecretStr

from flows.submit import settings_with
from flows.terminal import command_line
from tasks import instrument
from tasks.bootstrap import open_publisher_from_settings
from tasks.broker.protocol import QueueDepth
from tasks.errors import BadInputError, PrefectUnavailableError
from tasks.worker_runs import WorkerRuns, worker_deployment

DEPLOYMENT = "thor-worker/worker"
MAXIMUM = 16
TASKS_PER_WORKER = 4


@dataclass(frozen=True)
class Limits:
    """How many workers there may be."""

    minimum: int = 0
    maximum: int = MAXIMUM
    #: One more worker for so many waiting tasks.
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

    Messages that others hold (workers that somebody started by hand) are no reason to keep workers of ours. When the
    broker does not tell what is held, a worker that has been there for a while has a task as long as any waits.
    """
    is_told = depth.unacked >= 0
    busy = min(depth.unacked, runs.alive) if is_told else (runs.working if depth.ready else 0)
    wanted = busy + math.ceil(depth.ready / limits.tasks_per_worker)
    return max(limits.minimum, min(limits.maximum, wanted))


def workers_to_start(depth: QueueDepth, runs: WorkerRuns, limits: Limits) -> int:
    """Return how many workers to start; never a negative number: who has nothing to do leaves by itself. Pure."""
    return max(0, workers_wanted(depth, runs, limits) - runs.alive)


@flow(name="thor-autoscale", description="Start workers in a work pool when the queue grows.")
def autoscale(
    minimum: Annotated[int, Field(ge=0)] = 0,
    maximum: Annotated[int, Field(ge=0)] = MAXIMUM,
    tasks_per_worker: Annotated[int, Field(ge=1)] = TASKS_PER_WORKER,
    deployment: str = DEPLOYMENT,
    bucket: str | None = None,
    queue: SecretStr | None = None,
) -> Scaling:
    """Look at the queue and at the flow runs of workers, and start those that are missing. Twice: safe.

    Args:
        minimum: So many workers there are even when nothing waits.
        maximum: More than so many are never started. The work pool has a limit of its own.
        tasks_per_worker: One more worker for so many waiting tasks.
        deployment: Whose flow runs are workers, FLOW/NAME; what they serve their own work pool says.
        bucket: gs://NAME or file:///PATH whose embedded queue to look at; None: the one that was set up.
        queue: amqp://... or sqlite:///PATH; better left at None: what stands here is kept with the run, in the clear.
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


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "autoscale",
        "Looks at the queue once, and starts flow runs of the worker deployment for the tasks that wait. Workers leave "
        "by themselves when they find nothing to do. Safe to run at any time.",
        epilog="Needs PREFECT_API_URL, and a Prefect worker that serves the pool of the deployment.",
    )
    parser.add_argument("--minimum", metavar="N", type=int, default=0, help="workers when nothing waits (default: 0)")
    parser.add_argument(
        "--maximum", metavar="N", type=int, default=MAXIMUM, help=f"workers at most (default: {MAXIMUM})"
    )
    parser.add_argument(
        "--tasks-per-worker",
        metavar="N",
        type=int,
        default=TASKS_PER_WORKER,
        help=f"one more worker for so many waiting tasks (default: {TASKS_PER_WORKER})",
    )
    parser.add_argument("--deployment", metavar="FLOW/NAME", default=DEPLOYMENT, help=f"default: {DEPLOYMENT}")
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    return parser.parse_args(arguments)


def show(scaling: Scaling) -> None:
    """Tell a person what was seen and done."""
    held = "" if scaling.unacked < 0 else f", {scaling.unacked} held"
    command_line.print_line(
        f"Queue: {scaling.ready} waiting{held}. Workers: {scaling.working} at work, {scaling.starting} on their way, "
        f"{scaling.wanted} wanted; {scaling.started} started."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    url = command_line.require_prefect("start workers")
    try:
        # Not as a flow run: should Prefect fail half-way, calling it again would start workers twice.
        scaling = autoscale.fn(
            options.minimum,
            options.maximum,
            options.tasks_per_worker,
            deployment=options.deployment,
            bucket=options.bucket,
            queue=options.queue,
        )
    except httpx.HTTPError as error:
        raise PrefectUnavailableError(f"Cannot start all workers at {url}: {error}. Run it again.") from error
    command_line.print_json(scaling) if options.json else show(scaling)
    return command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
