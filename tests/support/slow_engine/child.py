"""The child of the tests: like `workers.child`, with a computation that does as the task's input tells it."""

import contextlib
import json
import mmap
import os
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import BucketUnavailableError, ObjectNotFoundError
from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    StageBegan,
    Tell,
)
from tasks.records.status import OutputObject
from tasks.settings import settings_from_environment
from tests.support.slow_engine.moved_clock import follow_file_if_asked
from workers.child_loop import AwaitLease, RunAssignment, main

STAGES = (
    "range_and_shift",
    "cluster_and_link",
    "initial_orbit_determination",
    "orbit_determination",
    "merge_and_extend",
)
OUTPUTS = ("thor.log", "clusterandlink.csv", "recovered_orbits.csv")


def gate(name: str) -> str:
    """Object that a held computation waits for."""
    return f"gates/{name}"


def execution(assignment: Assignment) -> str:
    """Object that tells of one execution: a new one each time, also within one attempt."""
    return f"executions/{assignment.job_id}/{assignment.task_id}/{assignment.attempt}-{uuid.uuid4().hex}"


def answer(task_id: str) -> bytes:
    """What every output of a task must hold."""
    return f"answer of {task_id}\n".encode()


def await_gate(bucket: Bucket, name: str) -> None:
    while not is_open(bucket, name):
        time.sleep(0.02)


def is_open(bucket: Bucket, name: str) -> bool:
    try:
        return bucket.generation(gate(name)) != MUST_NOT_EXIST
    except BucketUnavailableError:
        return False


def run_assignment(assignment: Assignment, *, tell: Tell, await_lease: AwaitLease) -> None:
    try:
        run(assignment, tell=tell, await_lease=await_lease)
    except BucketUnavailableError as error:
        tell(AttemptReleased(error=str(error)))


def run(assignment: Assignment, *, tell: Tell, await_lease: AwaitLease) -> None:
    bucket = open_bucket_from_settings(settings_from_environment(), assignment.bucket_url)
    layout = JobLayout(assignment.job_id).task(assignment.task_id)
    try:
        wish = json.loads(bucket.read(layout.orbits).body)
    except ObjectNotFoundError as error:
        bucket.write(execution(assignment), b"")
        fail(bucket, layout, tell, await_lease, kind="bad_input", error=str(error))
        return
    # Only now: a test that sees this object may take the bucket away, and until the gate nothing more is needed of it.
    bucket.write(execution(assignment), b"")
    compute(assignment, bucket, layout, wish, tell)
    if wish.get("fault") == "task_error":
        fail(bucket, layout, tell, await_lease, kind="task_error", error="ValueError: the orbit is bad")
        return
    if wish.get("fault") == "released_once" and assignment.attempt == 1:
        tell(AttemptReleased(error="the bucket did not answer"))
        return
    await_lease()
    tell(AttemptSucceeded(outputs=tuple(upload(bucket, layout, wish))))


def compute(assignment: Assignment, bucket: Bucket, layout: TaskLayout, wish: dict[str, Any], tell: Tell) -> None:
    for stage in STAGES:
        tell(StageBegan(stage=stage, engine="slow 1"))
        time.sleep(wish.get("seconds", 0.0) / len(STAGES))
        with contextlib.suppress(BucketUnavailableError):
            bucket.write(layout.checkpoint(stage, "table.csv"), b"")
    print(f"computing {assignment.task_id}", flush=True)
    if "gate" in wish:
        await_gate(bucket, wish["gate"])
    FAULTS.get(wish.get("fault", ""), lambda: None)()


def upload(bucket: Bucket, layout: TaskLayout, wish: dict[str, Any]) -> list[OutputObject]:
    outputs = []
    for name in OUTPUTS:
        bucket.write(layout.output(name), answer(layout.task_id))
        (info,) = bucket.list(layout.output(name))
        outputs.append(OutputObject(name=name, size=info.size, crc32c=info.crc32c))
        time.sleep(wish.get("upload_seconds", 0.0) / len(OUTPUTS))
        if "upload_gate" in wish:
            await_gate(bucket, wish["upload_gate"])
    return outputs


def fail(bucket: Bucket, layout: TaskLayout, tell: Tell, await_lease: AwaitLease, *, kind, error: str) -> None:
    await_lease()
    bucket.write(layout.output("error_message.txt"), error.encode())
    (info,) = bucket.list(layout.output("error_message.txt"))
    output = OutputObject(name="error_message.txt", size=info.size, crc32c=info.crc32c)
    tell(AttemptFailed(error_kind=kind, error=error, outputs=(output,)))


def crash() -> None:
    print("about to crash", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        time.sleep(60.0)


def eat_memory() -> None:
    bytearray(2**40)


def kill_supervisor() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60.0)


def raise_fault() -> None:
    raise RuntimeError("a fault of the program")


FAULTS: dict[str, Callable[[], None]] = {
    "crash": crash,
    "exit": lambda: os._exit(3),
    "hang": hang,
    "memory": eat_memory,
    "mmap": lambda: mmap.mmap(-1, 2**40).close(),
    "poison": kill_supervisor,
    "program": raise_fault,
}


def prepare() -> RunAssignment:
    follow_file_if_asked()
    return run_assignment


if __name__ == "__main__":
    main(prepare, memory_bytes=settings_from_environment().child_memory_bytes)
