"""Workers as real processes on a real queue and bucket, and the promises that must hold when all is at rest."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.broker.protocol import OutgoingMessage, QueueDepth
from tasks.bucket.layout import JobLayout
from tasks.errors import BrokerUnavailableError
from tasks.inputs.job_inputs import JobInputs
from tasks.jobs.submit import Submission, submit_job
from tasks.jobs.task_changes import change_task
from tasks.records.ids import JobId, TaskId
from tasks.records.message import TaskMessage
from tasks.records.status import Retried, Status, status_from_bytes
from tasks.settings import Settings
from tests.support.slow_engine.child import OUTPUTS, answer, gate
from tests.support.slow_engine.claiming_child import wish_name
from tests.support.slow_engine.claiming_engine import claiming_inputs

PROJECT = Path(__file__).parents[2]
JOB = JobId("job")
RENEW_SECONDS = 0.3
DELAY_SECONDS = 1.0
DEADLINE_SECONDS = 60.0
"""Far beyond what anything here takes: it only turns a hang into a failure that says what was awaited."""
TAG = "TESTED_BY_RIG"

only_embedded = pytest.mark.parametrize("make_rig", ["embedded"], indirect=True)
"""For tests of what is the same whatever the queue and bucket: they need not be repeated on the services."""


@dataclass(frozen=True)
class Place:
    """Where the task protocol runs: URLs, and what else the processes must be told."""

    bucket_url: str
    queue_url: str
    #: For workers and their children.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The emulator without faults in between, and the queue likewise: for the rig itself. None: as the workers.
    direct_emulator: str | None = None
    direct_queue_url: str | None = None


class WorkerProcess:
    """A worker of the tests."""

    def __init__(self, popen: subprocess.Popen, log: Path, options: tuple[str, ...]) -> None:
        self.popen = popen
        self.log = log
        self.options = options

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def ended(self) -> bool:
        return self.popen.poll() is not None

    def listens(self) -> bool:
        """Whether it has taken over its signals, or ended."""
        return self.ended() or "Started child" in self.printed

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def child(self) -> psutil.Process:
        """Its computing process."""
        (child,) = psutil.Process(self.pid).children()
        return child


class Rig:
    def __init__(self, place: Place, scratch: Path, *, delay_seconds: float = DELAY_SECONDS) -> None:
        self.scratch = scratch
        self.settings = Settings(
            bucket=place.bucket_url,
            queue=place.direct_queue_url or place.queue_url,
            lease_renew_seconds=RENEW_SECONDS,
            takeover_delay_seconds=delay_seconds,
            # The rig only watches: on a machine that is busy beyond measure it waits.
            bucket_deadline_seconds=600.0,
            storage_emulator_host=place.direct_emulator or place.environment.get("STORAGE_EMULATOR_HOST"),
        )
        self.queue_url = place.queue_url
        self.tag = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            **place.environment,
            TAG: self.tag,
            "THOR_BUCKET": place.bucket_url,
            "THOR_QUEUE": place.queue_url,
            "THOR_LEASE_RENEW_SECONDS": str(RENEW_SECONDS),
            "THOR_TAKEOVER_DELAY_SECONDS": str(delay_seconds),
            "THOR_BUCKET_DEADLINE_SECONDS": "10",
        }
        self.bucket = open_bucket_from_settings(self.settings)
        self.publisher = open_publisher_from_settings(self.settings)
        self.workers: list[WorkerProcess] = []
        self.tasks: list[str] = []
        #: Those of them that claim observations.
        self.claiming: set[str] = set()
        self._known: set[str] = set()
        self.deadline_seconds = DEADLINE_SECONDS
        #: Terminal states, as they were first seen.
        self.ended: dict[str, Status] = {}
        #: Every status as it was last seen.
        self.latest: dict[str, Status] = {}
        self._seen: dict[str, int] = {}

    # -- what a client does

    def submit(self, **wishes: dict | None) -> None:
        """Submit one task per wish; a wish of None leaves the input out."""
        for task_id, wish in wishes.items():
            layout = JobLayout(JOB).task(TaskId(task_id))
            if wish is not None:
                self.bucket.write(layout.orbits, json.dumps(wish).encode())
            self.bucket.write(layout.status, Status(state="requested").to_bytes())
        self._add(wishes)
        self.ring(*wishes)

    def submit_claiming(self, **wishes: dict) -> None:
        """Submit one task per wish, `<word>_<number>` each, that claims observations from those after it."""
        inputs = claiming_inputs([name.replace("_", "-") for name in wishes])
        job = JobLayout(JOB)
        if not self.claiming:
            self.bucket.write(job.observations, inputs.observations_csv)
            self.bucket.write(job.config, inputs.config_csv)
        for task_id, orbit_csv, wish in zip(inputs.task_ids, inputs.orbit_csvs, wishes.values(), strict=True):
            self.bucket.write(wish_name(task_id), json.dumps(wish).encode())
            self.bucket.write(job.task(task_id).orbits, orbit_csv)
            self.bucket.write(job.task(task_id).status, Status(state="requested").to_bytes())
        self._add(inputs.task_ids)
        self.claiming |= set(inputs.task_ids)
        self.ring(*inputs.task_ids)

    def submit_job(self, inputs: JobInputs) -> None:
        """Submit a job for the real engine."""
        self._add(inputs.task_ids)
        submission = Submission(bucket=self.bucket, job_id=JOB, inputs=inputs)
        submit_job(submission, lambda: open_publisher_from_settings(self.settings))

    def ring(self, *task_ids: str) -> None:
        """Send the message of each task, once more if it was sent before, or if nobody knows whether it was sent."""
        end = time.monotonic() + self.deadline_seconds
        while True:
            try:
                self.publish(*(self.message(task_id) for task_id in task_ids))
            except BrokerUnavailableError:
                assert time.monotonic() < end, "the broker is not there"
            else:
                return

    def _add(self, task_ids: Iterable[str]) -> None:
        self.tasks += task_ids
        self._known |= set(task_ids)

    def retry(self, task_id: str) -> None:
        """Have a failed task done again: it may leave its terminal state, once."""
        former = self.ended.pop(task_id)
        assert former.state == "failed"
        # Not `retry_job`, which asks for a manifest: these tasks were submitted one by one.
        change_task(self.bucket, JobLayout(JOB).task(TaskId(task_id)), lambda _: Retried())
        self.ring(task_id)

    def message(self, task_id: str, *, bucket: str | None = None) -> bytes:
        return TaskMessage(job_id=JOB, bucket=bucket or self.bucket.url, task_id=TaskId(task_id)).to_bytes()

    def publish(self, *bodies: bytes) -> None:
        self.publisher.publish([OutgoingMessage(body) for body in bodies])

    def cancel(self) -> None:
        self.bucket.write(JobLayout(JOB).cancel, b"{}")

    def open_gate(self, name: str) -> None:
        """Let the computations go on that are held at this gate."""
        self.bucket.write(gate(name), b"")

    # -- workers

    def worker(self, *options: str, **environment: str) -> WorkerProcess:
        log = self.scratch / f"worker-{len(self.workers)}.log"
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.slow_engine.worker", *options],
                cwd=PROJECT,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(WorkerProcess(popen, log, options))
        return self.workers[-1]

    def processes_left(self) -> list[psutil.Process]:
        """Every process that comes from this rig and still lives."""
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(TAG) == self.tag and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process)
        return left

    # -- what is true

    def status(self, task_id: str) -> Status:
        return status_from_bytes(self.bucket.read(JobLayout(JOB).task(TaskId(task_id)).status).body)

    def states(self) -> dict[str, str]:
        return {task_id: self.status(task_id).state for task_id in self.tasks}

    def outputs_prefix(self, task_id: str) -> str:
        return JobLayout(JOB).task(TaskId(task_id)).outputs_prefix

    def executions(self, task_id: str) -> int:
        return sum(1 for _ in self.bucket.list(f"executions/{JOB}/{task_id}/"))

    def depth(self) -> QueueDepth:
        return self.publisher.depth()

    def has_empty_queues(self) -> bool:
        """Whether no message waits anywhere; a broker that is away, or whose queue is being made, is waited for."""
        try:
            depth = self.depth()
        except BrokerUnavailableError:
            return False
        return depth.ready == depth.delayed == 0 and depth.unacked in (0, -1)

    def await_that(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; meanwhile no terminal state may change."""
        end = time.monotonic() + self.deadline_seconds
        while not condition():
            assert time.monotonic() < end, f"waited {self.deadline_seconds:g} s in vain that {what}\n{self.tell()}"
            self.look()
            time.sleep(0.02)

    def await_state(self, task_id: str, state: str) -> None:
        self.await_that(lambda: self.status(task_id).state == state, f"task {task_id} is {state}")

    def await_computing(self, task_id: str, *, executions: int = 1) -> None:
        self.await_that(
            lambda: self.executions(task_id) >= executions and self.status(task_id).state == "in_progress",
            f"task {task_id} is computed for the {executions}. time",
        )

    def look(self) -> None:
        """Hold every terminal state against what it was when it was first seen."""
        layout = JobLayout(JOB)
        for info in self.bucket.list(layout.tasks_prefix):
            task_id = layout.task_id_from_status_name(info.name)
            # Objects whose generation did not move need no reading: there may be thousands.
            if task_id not in self._known or self._seen.get(task_id) == info.generation:
                continue
            self._seen[task_id] = info.generation
            status = self.latest[task_id] = self.status(task_id)
            former = self.ended.get(task_id)
            assert former is None or status == former, f"terminal state of {task_id} changed: {former} -> {status}"
            if status.is_terminal:
                self.ended[task_id] = status

    def tell(self) -> str:
        """Say all there is to know, for a failure."""
        statuses = "\n".join(f"{task_id}: {self.status(task_id)}" for task_id in self.tasks)
        logs = "\n".join(f"--- {worker.log.name} {worker.options}\n{worker.printed}" for worker in self.workers)
        return f"{statuses}\n{self.depth()}\n{logs}"

    # -- the end

    def await_rest(self) -> None:
        """Wait until every task is terminal and no message is left."""
        self.await_that(
            lambda: all(self.status(task_id).is_terminal for task_id in self.tasks), "every task has come to its end"
        )
        self.await_that(self.has_empty_queues, "the queues are empty")

    def assert_promises(
        self,
        expected: Mapping[str, str],
        *,
        faults: int = 0,
        dead: int = 0,
    ) -> None:
        """Bring all to rest and check each promise.

        `expected`: task -> "succeeded" or the error kind of its failure. `faults`: how many crashes, releases and
        freezes hit a task; each may cost one more execution.
        """
        self.await_rest()
        self.dismiss_workers()
        if self.depth().ready:
            # RabbitMQ counts no message that a killed connection still holds: it came back only now.
            self.worker()
            self.await_rest()
            self.dismiss_workers()
        self.look()
        found = {task_id: self.status(task_id).error_kind or self.status(task_id).state for task_id in self.tasks}
        assert found == dict(expected), self.tell()
        for task_id, ending in expected.items():
            self._assert_outputs(task_id, ending)
        self._assert_executions(faults)
        assert self.depth() == QueueDepth(ready=0, unacked=self.depth().unacked, delayed=0, dead=dead), self.tell()
        assert self.processes_left() == []

    def _assert_executions(self, faults: int) -> None:
        executions = {task_id: self.executions(task_id) for task_id in self.tasks}
        assert sum(max(0, times - 1) for times in executions.values()) <= faults, (
            f"extra executions: {executions}\n{self.tell()}"
        )
        for task_id, times in executions.items():
            assert times <= self.status(task_id).attempt, f"extra executions of {task_id}: {times}\n{self.tell()}"

    def _assert_outputs(self, task_id: str, ending: str) -> None:
        layout = JobLayout(JOB).task(TaskId(task_id))
        stored = {
            info.name.removeprefix(layout.outputs_prefix): info for info in self.bucket.list(layout.outputs_prefix)
        }
        named = self.status(task_id).outputs
        for output in named:
            assert (output.size, output.crc32c) == (stored[output.name].size, stored[output.name].crc32c)
        if ending == "succeeded":
            names = {output.name for output in named}
            complete = names == set(stored) and (task_id in self.claiming or names == set(OUTPUTS))
            assert complete, f"outputs of {task_id}: {named}, stored {set(stored)}\n{self.tell()}"
            if task_id not in self.claiming:  # what these give depends on others: see `ClaimsAtRest`
                assert all(self.bucket.read(layout.output(name)).body == answer(task_id) for name in OUTPUTS)
            assert list(self.bucket.list(layout.checkpoints_prefix)) == []
        else:
            assert "error_message.txt" in {output.name for output in named}, self.tell()

    def dismiss_workers(self) -> None:
        """Have the workers that live leave; all must leave in order."""
        for worker in self.workers:
            # Before that it has not taken over its signals.
            self.await_that(worker.listens, "the worker listens")
            if not worker.ended():
                worker.send(signal.SIGCONT)
                worker.send(signal.SIGTERM)
        for worker in self.workers:
            worker.popen.wait(DEADLINE_SECONDS)
            assert worker.popen.returncode in (0, -signal.SIGKILL), worker.printed
        self.await_that(lambda: not self.processes_left(), "no child is left")

    def close(self) -> None:
        """Leave nothing behind, however the test ended."""
        for worker in self.workers:
            worker.popen.kill()
            worker.popen.wait()
        for process in self.processes_left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.publisher.close()
