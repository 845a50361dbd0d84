"""Everything at once, at random from a seed: `python -m tests.whole_system.soak --tasks 2000`.

Workers are killed, frozen, asked to leave once and twice, their children are killed; messages come twice, malformed,
of other buckets; tasks fail and crash; on services the broker is killed, its connections are reset and the bucket
fails. In the end every promise must hold: every task in the state that its input calls for, complete outputs, nothing
computed more often than faults hit it, no terminal state changed, empty queues, no process left.

`--claims`: the tasks claim observations from each other; whole machines freeze (supervisor and child), and tasks fail
and are retried besides. `claims_promises` says what must hold of the claims.
"""

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.bucket.layout import JobLayout
from tests.services.fake_gcs import running_fake_gcs
from tests.services.faults import Faults, running_fault_proxy
from tests.services.proxy import fault_proxy
from tests.services.rabbitmq import private_rabbitmq
from tests.support.slow_engine.claiming_child import retried_name
from tests.whole_system.broken import PASSING_FAULTS
from tests.whole_system.claims_promises import ClaimsAtRest
from tests.whole_system.rig import JOB, Place, Rig, WorkerProcess

ENDINGS = {"": "succeeded", "task_error": "task_error", "crash": "crashed", "missing": "bad_input"}
CLAIMING_ENDINGS = {**ENDINGS, "until_retried": "succeeded"}
ORDINARY = 0.9
"""Share of tasks that succeed."""
MALFORMED = [b"", b"{", b"[]", b'{"task_id": 5}', b"\xff\xfe"]
TASK_LIMIT_SECONDS = 60.0
DELAY_SECONDS = 3.0
"""Long enough that a worker on a busy machine does not look dead while it waits for a processor."""
BROKER_KILL_SECONDS = 20.0
"""Between two kills of the broker, and before the first: what happens right after a queue's birth is tested alone."""


@dataclass
class Soak:
    """One rig under random faults."""

    rig: Rig
    seed: int
    tasks: int
    workers: int
    task_seconds: float = 0.3
    reset_connections: Callable[[], None] | None = None
    kill_broker: Callable[[], None] | None = None
    most_broker_kills: int = 1000
    has_claims: bool = False
    #: Each of these may cost one more execution.
    faults: Counter[str] = field(default_factory=Counter)
    #: None of these may cost any.
    free: Counter[str] = field(default_factory=Counter)
    expected: dict[str, str] = field(default_factory=dict)
    dead: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.pool: list[WorkerProcess] = []
        self.frozen: list[tuple[float, WorkerProcess]] = []
        self.next_broker_kill = time.monotonic() + BROKER_KILL_SECONDS
        self.injected = 0
        self.to_retry: set[str] = set()

    def run(self, *, fault_seconds: float) -> dict[str, object]:
        """Submit, inject a fault every `fault_seconds` until 7 of 10 tasks are done, then let all come to rest."""
        began = time.monotonic()
        self.submit()
        done = 0
        while done < self.tasks:
            self.keep_workers()
            self.rig.look()
            self.retry_failed()
            done = len(self.rig.ended)
            if done < 0.7 * self.tasks:
                self.inject(most=10 + done // 2)
            else:
                self.thaw(all_of_them=True)
            time.sleep(fault_seconds * self.random.uniform(0.5, 1.5))
        self.rig.assert_promises(self.expected, faults=sum(self.faults.values()), dead=self.dead)
        extra = sum(max(0, self.rig.executions(task_id) - 1) for task_id in self.expected)
        return {
            "seed": self.seed,
            "tasks": self.tasks,
            "seconds": round(time.monotonic() - began, 1),
            "endings": dict(Counter(self.expected.values())),
            "faults": dict(self.faults),
            "faults_that_cost_nothing": dict(self.free),
            "extra_executions": extra,
            **({"claims": self.claims_at_rest()} if self.has_claims else {}),
            "violations": 0,
        }

    def claims_at_rest(self) -> dict[str, int]:
        return ClaimsAtRest(self.rig.bucket, JobLayout(JOB), self.rig.tasks).check()

    def submit(self) -> None:
        endings = CLAIMING_ENDINGS if self.has_claims else ENDINGS
        for number in range(self.tasks):
            fault = "" if self.random.random() < ORDINARY else self.random.choice(sorted(endings))
            wish = {"seconds": self.task_seconds * self.random.uniform(0.2, 1.8), "fault": fault}
            task_id = f"task-{number:05d}"
            if self.has_claims:
                self.rig.submit_claiming(**{task_id: {**wish, "claim_seconds": self.random.uniform(0.0, 0.3)}})
            else:
                self.rig.submit(**{task_id: None if fault == "missing" else wish})
            if fault == "missing":
                self.rig.bucket.delete(JobLayout(JOB).task(task_id).orbits)
            self.to_retry |= {task_id} if fault == "until_retried" else set()
            self.expected[task_id] = endings[fault]
            self.faults["crash of its own"] += 2 * (fault == "crash")
        bodies = [self.random.choice(MALFORMED) for _ in range(self.tasks // 20)]
        bodies += [self.rig.message(self.some_task(), bucket="gs://foreign") for _ in range(self.tasks // 20)]
        self.dead = len(bodies)
        self.rig.publish(*bodies)
        self.rig.ring(*(self.some_task() for _ in range(self.tasks // 10)))

    def some_task(self) -> str:
        return self.random.choice(sorted(self.expected))

    def keep_workers(self) -> None:
        self.pool = [worker for worker in self.pool if not worker.ended()]
        while len(self.pool) < self.workers:
            options = ["--claiming"] if self.has_claims else []
            self.pool.append(self.rig.worker(*options, THOR_TASK_TIME_LIMIT_SECONDS=str(TASK_LIMIT_SECONDS)))

    def retry_failed(self) -> None:
        """Have the tasks done again that fail until somebody does."""
        for task_id in sorted(self.to_retry & self.rig.ended.keys()):
            self.thaw(all_of_them=True)
            self.rig.bucket.write(retried_name(task_id), b"")
            self.rig.retry(task_id)
            self.to_retry.remove(task_id)
            self.faults["failed and retried"] += 1

    def inject(self, *, most: int) -> None:
        """Let one more thing go wrong; not ever more of it while a busy machine gets nothing done."""
        self.thaw()
        if self.injected >= most:
            return
        able = [worker for worker in self.pool if worker.listens() and worker not in [far for _, far in self.frozen]]
        if not able:
            return
        self.injected += 1
        self.random.choice(self.possible_faults())(self.random.choice(able))

    def possible_faults(self) -> list[Callable[[WorkerProcess], None]]:
        """Return what may happen now: a task that was hit often enough must not be given up for faults of ours."""
        counters = [status.counters for task_id, status in self.rig.latest.items() if not status.is_terminal]
        own_crashes = {task_id for task_id, ending in self.expected.items() if ending == "crashed"}
        hit = (self.rig.latest[task_id] for task_id in self.rig.latest.keys() - own_crashes)
        faults = [self.drain, self.leave_at_once, self.ring_again]
        if not any(status.counters.crashed for status in hit if not status.is_terminal):
            faults.append(self.kill_child)
        if all(each.lost <= 1 for each in counters):
            faults += [self.kill_worker, self.freeze]
        if self.reset_connections:
            faults.append(self.reset)
        may_kill = self.kill_broker and self.free["kill -9 of the broker"] < self.most_broker_kills
        if may_kill and time.monotonic() >= self.next_broker_kill:
            faults = [self.end_broker]
        return faults

    def kill_worker(self, worker: WorkerProcess) -> None:
        worker.send(signal.SIGKILL)
        self.faults["kill -9 of a worker"] += 1

    def kill_child(self, worker: WorkerProcess) -> None:
        with contextlib.suppress(psutil.Error, ValueError):
            worker.child().kill()
            self.faults["kill -9 of a child"] += 1

    def drain(self, worker: WorkerProcess) -> None:
        worker.send(signal.SIGTERM)  # costs nothing
        self.pool.remove(worker)
        self.free["first SIGTERM"] += 1

    def leave_at_once(self, worker: WorkerProcess) -> None:
        worker.send(signal.SIGTERM)
        self.rig.await_that(lambda: worker.ended() or "Asked to leave" in worker.printed, "the first signal was heard")
        worker.send(signal.SIGTERM)
        self.faults["second SIGTERM"] += 1

    def freeze(self, worker: WorkerProcess) -> None:
        worker.send(signal.SIGSTOP)
        if self.has_claims:
            self.send_to_child(worker, signal.SIGSTOP)  # as if the whole machine slept
        self.frozen.append((time.monotonic() + self.random.uniform(0.5, 2 * DELAY_SECONDS), worker))
        self.faults["freeze"] += 1

    def thaw(self, *, all_of_them: bool = False) -> None:
        for until, worker in tuple(self.frozen):
            if all_of_them or time.monotonic() > until:
                # The child first: it may be in the midst of its upload when another has finished the task.
                self.send_to_child(worker, signal.SIGCONT)
                worker.send(signal.SIGCONT)
                self.frozen.remove((until, worker))

    def send_to_child(self, worker: WorkerProcess, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.Error, ValueError):
            worker.child().send_signal(number)

    def ring_again(self, _worker: WorkerProcess) -> None:
        self.thaw(all_of_them=True)  # a frozen worker may hold the queue file's lock, and only we can thaw it
        self.rig.ring(self.some_task())  # costs nothing
        self.free["message sent again"] += 1

    def reset(self, _worker: WorkerProcess) -> None:
        assert self.reset_connections is not None
        self.reset_connections()  # costs nothing
        self.free["reset of all connections"] += 1

    def end_broker(self, _worker: WorkerProcess) -> None:
        assert self.kill_broker is not None
        self.kill_broker()  # costs nothing
        self.free["kill -9 of the broker"] += 1
        self.next_broker_kill = time.monotonic() + BROKER_KILL_SECONDS


@dataclass(frozen=True)
class Services:
    """What can go wrong with the broker and the cloud bucket."""

    reset_connections: Callable[[], None]
    kill_broker: Callable[[], None]
    bucket_faults: Faults


@contextlib.contextmanager
def embedded(scratch: Path):
    yield Place((scratch / "bucket").as_uri(), f"sqlite:///{scratch / 'queue.sqlite3'}"), None


@contextlib.contextmanager
def services(_: Path):
    with (
        private_rabbitmq() as node,
        running_fake_gcs() as gcs,
        running_fault_proxy(gcs.url) as bucket_faults,
        fault_proxy(node.port) as proxy,
    ):
        url = node.url_of(node.add_virtual_host())
        place = Place(
            bucket_url=f"gs://{gcs.make_bucket()}",
            queue_url=url.replace(f":{node.port}/", f":{proxy.port}/"),
            environment={"STORAGE_EMULATOR_HOST": bucket_faults.url},
            direct_emulator=gcs.url,
            direct_queue_url=url,
        )

        def kill_broker() -> None:
            node.kill()
            node.restart()

        yield place, Services(proxy.reset, kill_broker, bucket_faults)


def soak(
    place: Place,
    scratch: Path,
    options: argparse.Namespace,
    services: Services | None,
) -> dict[str, object]:
    """Run one soak and return its figures. Raises AssertionError when a promise is broken."""
    rig = Rig(place, scratch, delay_seconds=DELAY_SECONDS)
    rig.deadline_seconds = 600.0
    if services is not None:
        services.bucket_faults.at_random(seed=options.seed, failing=0.03, kinds=PASSING_FAULTS)
    try:
        figures = Soak(
            rig,
            seed=options.seed,
            tasks=options.tasks,
            workers=options.workers,
            reset_connections=services.reset_connections if services else None,
            kill_broker=services.kill_broker if services else None,
            most_broker_kills=options.broker_kills,
            has_claims=options.claims,
        ).run(fault_seconds=options.fault_seconds)
        return {**figures, "bucket_faults": len(services.bucket_faults.injected) if services else 0}
    finally:
        rig.close()


KINDS = {"embedded": embedded, "services": services}


def run(arguments: list[str]) -> dict[str, dict[str, object]]:
    """Parse the command line, soak, and print and return the figures of each kind of place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault-seconds", type=float, default=1.0, help="mean time between faults")
    parser.add_argument("--broker-kills", type=int, default=1000, help="at most so many")
    parser.add_argument("--claims", action="store_true", help="the tasks claim observations")
    parser.add_argument("--on", choices=[*KINDS], help="default: on each, one after the other")
    options = parser.parse_args(arguments)
    figures = {}
    for kind in [options.on] if options.on else KINDS:
        with tempfile.TemporaryDirectory(prefix="thor-soak-") as directory:
            scratch = Path(directory)
            with KINDS[kind](scratch) as (place, faulty_services):
                figures[kind] = soak(place, scratch, options, faulty_services)
        print(json.dumps({kind: figures[kind]}, indent=1), flush=True)
    return figures


if __name__ == "__main__":
    run(sys.argv[1:])
