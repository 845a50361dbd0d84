"""`thor-worker`: `python -m workers` as a flow run, for work pools. The flow run lives as long as its worker.

The worker is a process of its own. Prefect asks a flow run to leave by SIGTERM and kills it half a minute later; the
worker hears of the former, finishes its task or gives it back with its checkpoints, and dies with the flow run's
process in any case. The lease in the bucket is what tells that a task lost its owner, not Prefect.
"""

import logging
import os
import signal
import subprocess
from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.errors import ThorQueueError
from tasks.prefect_api import instrument
from tasks.worker_processes import worker_command, worker_environment

IDLE_SECONDS = 300.0
DRAIN_SECONDS = 20.0
"""Less than the 30 s between Prefect's SIGTERM and its SIGKILL, and Kubernetes' own."""

logger = logging.getLogger(__name__)


class WorkerFailedError(ThorQueueError):
    """The worker could not work, or was killed."""


@flow(name="thor-worker", description="Take tasks from the queue and compute them, until there are none.")
def work(
    idle_seconds: Annotated[float, Field(ge=0)] = IDLE_SECONDS,
    drain_seconds: Annotated[float, Field(gt=0)] = DRAIN_SECONDS,
) -> None:
    """Run one worker until it has had nothing to do for a while. Bucket and queue are those of the environment.

    Args:
        idle_seconds: The worker leaves after this many seconds without a task.
        drain_seconds: When the run is cancelled, a task at work may go on for this many seconds; then it is given back.
    """
    with instrument.forwarded_logs():
        run_worker(idle_seconds=idle_seconds, drain_seconds=drain_seconds)


def run_worker(*, idle_seconds: float, drain_seconds: float) -> None:
    """Start a worker and wait for its end. Raises `WorkerFailedError` when it could not work or was killed."""
    worker = start_worker(idle_seconds=idle_seconds, drain_seconds=drain_seconds)
    logger.info("Started worker %d.", worker.pid)
    code = outlive(worker)
    if code != 0:
        raise WorkerFailedError(
            f"Worker {worker.pid} ended with exit code {code}, expected 0. Its last lines, in the output of the "
            "Prefect worker, say why; a task that it had comes back by itself."
        )
    logger.info("Worker %d left: there was nothing more to do.", worker.pid)


def start_worker(*, idle_seconds: float, drain_seconds: float) -> "subprocess.Popen[bytes]":
    """Start `python -m workers`, which dies with this process. Its lines go where those of this process go."""
    command = worker_command("--idle-timeout", f"{idle_seconds:g}", f"--parent-pid={os.getpid()}")
    # A session of its own: Prefect signals the whole process group, and a worker that hears it twice leaves at once.
    return subprocess.Popen(
        command,
        env=worker_environment(None, THOR_DRAIN_SECONDS=f"{drain_seconds:g}"),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def outlive(worker: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of the worker, and return its exit code.

    Whatever interrupts the wait (Prefect raises on SIGTERM) is passed on to the worker as SIGTERM, each time, and
    raised when the worker has left: a flow run never ends before its worker.
    """
    interruption: BaseException | None = None
    while True:
        try:
            code = worker.wait()
        except BaseException as error:  # noqa: BLE001 (raised below, when the worker has left)
            interruption = interruption or error
            worker.send_signal(signal.SIGTERM)
        else:
            break
    if interruption is not None:
        raise interruption
    return code
