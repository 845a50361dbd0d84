"""The messages of tasks: they are sent after the bucket says what is to be done."""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.broker.protocol import INSTRUMENTATION_HEADER, PARENT_RUN_HEADER, Headers, OutgoingMessage, Publisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tasks.records.message import TaskMessage


@dataclass(frozen=True)
class ShownAs:
    """What messages tell workers about showing their tasks in Prefect."""

    #: The Prefect task run below which people see the tasks of the job; None: they are not shown.
    parent_run_id: str | None = None
    #: How much of a task is to be shown: stages, task or off; None: it is not said.
    instrumentation: str | None = None

    @property
    def headers(self) -> Headers:
        """As headers of a message."""
        told = {PARENT_RUN_HEADER: self.parent_run_id, INSTRUMENTATION_HEADER: self.instrumentation}
        return {name: value for name, value in told.items() if value is not None}


def shown_as(manifest: Manifest) -> ShownAs:
    """Return how the tasks of a submitted job are shown."""
    return ShownAs(manifest.prefect_parent_run_id, manifest.instrumentation)


def message_of_task(bucket: Bucket, job: JobLayout, task_id: TaskId, *, shown: ShownAs) -> OutgoingMessage:
    """Return the message of a task; its headers tell how the worker is to show it."""
    message = TaskMessage(job_id=job.job_id, bucket=bucket.url, task_id=task_id)
    return OutgoingMessage(message.to_bytes(), shown.headers)


def publish_tasks(
    publisher: Publisher, bucket: Bucket, job: JobLayout, task_ids: Iterable[TaskId], *, shown: ShownAs
) -> int:
    """Send one message for each of these tasks, and return how many; without tasks the queue is not even opened.

    Idempotent. A message too many is acked by the worker that finds its task done, or owned by a living worker.

    Raises
    ------
    BrokerUnavailableError
        Any of the messages may have arrived: send them all again.
    """
    messages = [message_of_task(bucket, job, task_id, shown=shown) for task_id in task_ids]
    if messages:
        publisher.publish(messages)
    return len(messages)
