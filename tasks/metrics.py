"""What a monitoring system reads: the one home of Prometheus' client, and of every name that it is given.

`containers/grafana-dashboard.json` and `containers/alerts.yaml` ask for these names; `tests/test_metrics.py` says so.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server, write_to_textfile

from tasks.bucket.retry import on_retry
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, BucketUnavailableError, ThorQueueError

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Limits of the histogram of a stage: from a cell of the engine's own to upstream THOR on a whole survey."""
FILE_SECONDS = 15.0
"""Seconds between two writes of a metrics file: node_exporter's own interval."""

T = TypeVar("T")


class WorkerMetrics:
    """What one worker counts. Methods are for its main thread, but `bucket_operation` for any."""

    def __init__(self, worker: str = "") -> None:
        self.registry = CollectorRegistry()
        self._stage: tuple[str, float] | None = None
        self._lease_at: float | None = None
        self._child_pid: int | None = None
        self._answers: dict[str, bool] = {}
        up = Gauge("thor_worker_up", "1 while this worker runs", ["worker"], registry=self.registry)
        up.labels(worker).set(1)
        self._attempts = Counter(
            "thor_worker_attempts",
            "Attempts that ended here: succeeded, a kind of error, crashed, released, or lost to another worker",
            ["ending"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "thor_worker_stage_seconds", "Seconds of each stage", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._reached = Gauge(
            "thor_worker_reaches", "1 while the queue or the bucket answers", ["service"], registry=self.registry
        )
        self._silences = Counter(
            "thor_worker_silences", "How often queue or bucket stopped to answer", ["service"], registry=self.registry
        )
        self._operations = Counter(
            "thor_worker_bucket_operations",
            "Operations of the supervisor on the bucket: ok, refused (another wrote, or nothing there), tried again, "
            "unavailable",
            ["operation", "outcome"],
            registry=self.registry,
        )
        lease = Gauge("thor_worker_lease_age_seconds", "Since the lease was renewed; 0 if idle", registry=self.registry)
        lease.set_function(self._lease_age_seconds)
        memory = Gauge("thor_worker_child_memory_bytes", "Memory of the computing process", registry=self.registry)
        memory.set_function(self._child_memory_bytes)

    def child_started(self, pid: int) -> None:
        """Take down which process computes."""
        self._child_pid = pid

    def attempt_began(self) -> None:
        """Take down that a task was claimed: its lease is new."""
        self._lease_at = time.monotonic()

    def lease_renewed(self) -> None:
        """Take down that the lease was renewed."""
        self._lease_at = time.monotonic()

    def stage_began(self, stage: str) -> None:
        """Take down that a stage began, which ends the one before it."""
        self._end_stage()
        self._stage = (stage, time.monotonic())

    def attempt_ended(self, ending: str) -> None:
        """Count an attempt by its ending. A stage that was at work counts only if the attempt succeeded."""
        if ending == "succeeded":
            self._end_stage()
        self._stage = None
        self._lease_at = None
        self._attempts.labels(ending).inc()

    def service_answers(self, service: str, answers: bool) -> None:  # noqa: FBT001 (a callback)
        """Take down whether the queue or the bucket answers."""
        if self._answers.get(service, False) and not answers:
            self._silences.labels(service).inc()
        self._answers[service] = answers
        self._reached.labels(service).set(1 if answers else 0)

    def bucket_operation(self, operation: str, outcome: str) -> None:
        """Count an operation on the bucket."""
        self._operations.labels(operation, outcome).inc()

    def _end_stage(self) -> None:
        if self._stage is not None:
            stage, began_at = self._stage
            self._stages.labels(stage).observe(time.monotonic() - began_at)

    def _lease_age_seconds(self) -> float:
        return 0.0 if self._lease_at is None else time.monotonic() - self._lease_at

    def _child_memory_bytes(self) -> float:
        try:
            fields = Path(f"/proc/{self._child_pid}/status").read_text().splitlines()
        except OSError:
            return 0.0
        return next((float(line.split()[1]) * 1024 for line in fields if line.startswith("VmRSS:")), 0.0)


class JobMetrics:
    """How far the jobs of a bucket are, and how many messages lie where."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tasks = Gauge("thor_tasks", "Tasks of a job by state", ["job", "state"], registry=self.registry)
        self._messages = Gauge(
            "thor_queue_messages",
            "Messages: ready for a worker, unacked at one, delayed, dead; -1: the broker does not say",
            ["place"],
            registry=self.registry,
        )

    def tell(self, states: Mapping[str, Mapping[str, int]], messages: Mapping[str, int]) -> None:
        """Replace what was told before: {job: {state: tasks}} and {place: messages}."""
        self._tasks.clear()
        for job, counts in states.items():
            for state, number in counts.items():
                self._tasks.labels(job, state).set(number)
        for place, number in messages.items():
            self._messages.labels(place).set(number)


def serve_metrics(registry: CollectorRegistry, *, port: int, address: str = "0.0.0.0") -> None:  # noqa: S104 (scraped from elsewhere)
    """Answer Prometheus on that port, on a thread of its own.

    Raises
    ------
    BadInputError
        If the port is taken, or may not be used.
    """
    try:
        start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise BadInputError(
            f"Cannot serve metrics on port {port}: {error.strerror}. Name another port, or stop what uses it."
        ) from error


def write_metrics(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics into a file, whole, as node_exporter's textfile collector reads it.

    Raises
    ------
    BadInputError
        If the file can't be written.
    """
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise BadInputError(f"Cannot write metrics to {str(path)!r}: {error.strerror}. Name another file.") from error


def keep_metrics_file(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics file now, and again every `FILE_SECONDS` as long as this process lives."""
    write_metrics(registry, path)

    def keep() -> None:
        while True:
            time.sleep(FILE_SECONDS)
            try:
                write_metrics(registry, path)
            except BadInputError:
                continue  # a disk that is full for a while: the file shows its age

    threading.Thread(target=keep, name="metrics", daemon=True).start()


class _CountedBucket:
    """A bucket of which each operation is counted, with whatever methods the one behind it has."""

    def __init__(self, bucket: Bucket, count: Callable[[str, str], None]) -> None:
        self._bucket = bucket
        self._count = count

    def __getattr__(self, name: str) -> object:
        found = getattr(self._bucket, name)
        return self._counted(name, found) if callable(found) else found

    def _counted(self, name: str, operation: Callable[..., T]) -> Callable[..., T]:
        def run(*arguments: object, **options: object) -> T:
            outcome = "ok"
            watched = on_retry.set(lambda: self._count(name, "tried again"))
            try:
                return operation(*arguments, **options)
            except BucketUnavailableError:
                outcome = "unavailable"
                raise
            except ThorQueueError:
                outcome = "refused"
                raise
            finally:
                on_retry.reset(watched)
                self._count(name, outcome)

        return run


def counted_bucket(bucket: Bucket, metrics: WorkerMetrics) -> Bucket:
    """Return the bucket with each operation counted; those that yield (`list`) are counted as ok when they begin."""
    return cast("Bucket", _CountedBucket(bucket, metrics.bucket_operation))


def names_of(registry: CollectorRegistry) -> Iterable[str]:
    """Yield the names of the series, as a query has them: for what holds dashboards and alerts to the code."""
    for metric in registry.collect():
        yield metric.name + ("_total" if metric.type == "counter" else "")
        if metric.type == "histogram":
            yield from (f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
