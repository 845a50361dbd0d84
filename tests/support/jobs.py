"""Jobs in a bucket whose tasks are in states of the test's choice, and what lies in an embedded queue."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tasks.broker.protocol import Delivery, Publisher
from tasks.broker.sqlite import SqliteConsumer, SqlitePublisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import MessageNotPublishedError
from tasks.records.ids import JobId, TaskId
from tasks.records.manifest import Manifest
from tasks.records.message import message_from_bytes
from tasks.records.status import Claimed, Event, Failed, OutputObject, Status, Succeeded, next_status, status_from_bytes

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

FRESH: tuple[Event, ...] = ()
CLAIMED = (Claimed(worker="host:1", attempt_id="a1"),)
SUCCEEDED = (*CLAIMED, Succeeded(outputs=(OutputObject(name="thor.log", size=3, crc32c="AAAAAA=="),)))
CANCELLED = (Failed(error_kind="cancelled", error="The job was cancelled."),)


def failed(kind: str, error: str = "It went wrong.") -> tuple[Event, ...]:
    return (*CLAIMED, Failed(error_kind=kind, error=error))


def status_after(events: Sequence[Event]) -> Status:
    """The status of a submitted task after these events."""
    status = Status(state="requested", updated_at=NOW)
    for event in events:
        status = next_status(status, event, now=NOW, nonce=uuid.uuid4().hex)
    return status


def make_job(
    bucket: Bucket, tasks: Mapping[str, Sequence[Event]], *, job_id: str = "survey-07", engine: str = "builtin"
) -> JobLayout:
    """Write a submitted job whose tasks went through these events."""
    job = JobLayout(JobId(job_id))
    bucket.write(job.observations, b"obs_id\n")
    bucket.write(job.config, b"key,value\n")
    for task_id, events in tasks.items():
        task = job.task(TaskId(task_id))
        bucket.write(task.orbits, b"orbit_id\n")
        bucket.write(task.status, status_after(events).to_bytes())
        if any(isinstance(event, Succeeded) for event in events):
            bucket.write(task.output("thor.log"), b"log")
    manifest = Manifest(
        job_id=job.job_id,
        task_ids=tuple(TaskId(task_id) for task_id in tasks),
        orbit_ids=tuple(tasks),
        created_at=NOW,
        submitted_at=NOW,
        bucket=bucket.url,
        engine_name=engine,
        engine_version="1.0",
        inputs_sha256={},
    )
    bucket.write(job.manifest, manifest.to_bytes())
    return job


def status_of(bucket: Bucket, job: JobLayout, task_id: str) -> Status:
    return status_from_bytes(bucket.read(job.task(TaskId(task_id)).status).body)


def states_of(bucket: Bucket, job: JobLayout) -> dict[str, str]:
    """State by task, of every status there is."""
    names = [info.name for info in bucket.list(job.tasks_prefix, ending="/status.json")]
    return {name.split("/")[-2]: status_from_bytes(bucket.read(name).body).state for name in names}


def received(queue: Path) -> list[Delivery]:
    """Take every message of the work queue away and return them in order."""
    with closing(SqliteConsumer(queue, delay_seconds=60)) as consumer:
        consumer.start()
        deliveries = []
        while (delivery := consumer.wait(0)) is not None:
            deliveries.append(delivery)
            consumer.ack(delivery)
        return deliveries


def enqueued_for(queue: Path) -> list[str]:
    """Task ids of the messages in the work queue, which is empty afterwards."""
    return [message_from_bytes(delivery.body).task_id for delivery in received(queue)]


class UnreachableQueue(SqlitePublisher):
    """A queue that goes away before the first message is stored."""

    def publish(self, messages):
        raise MessageNotPublishedError(f"Cannot publish {len(messages)} messages: nobody is there.")


def closing_publisher(queue: Path) -> "closing[Publisher]":
    return closing(SqlitePublisher(queue))
