"""The messages that ring for tasks: they are sent after the bucket says what is to be done."""

from collections.abc import Iterable

from tasks.broker.protocol import PARENT_RUN_HEADER, OutgoingMessage, Publisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.records.ids import TaskId
from tasks.records.message import TaskMessage


def message_of_task(bucket: Bucket, job: JobLayout, task_id: TaskId, *, parent_run_id: str | None) -> OutgoingMessage:
    """Return the message that rings for a task; its header names the Prefect run below which the worker shows it."""
    headers = {} if parent_run_id is None else {PARENT_RUN_HEADER: parent_run_id}
    message = TaskMessage(job_id=job.job_id, bucket=bucket.url, task_id=task_id)
    return OutgoingMessage(message.to_bytes(), headers)


def publish_tasks(
    publisher: Publisher, bucket: Bucket, job: JobLayout, task_ids: Iterable[TaskId], *, parent_run_id: str | None
) -> int:
    """Send one message for each of these tasks, and return how many; without tasks the queue is not even opened.

    Twice: safe. A message too many is acked by the worker that finds its task done, or owned by somebody alive.

    Raises
    ------
    BrokerUnavailableError
        Any of the messages may have arrived: send them all again.
    """
    messages = [message_of_task(bucket, job, task_id, parent_run_id=parent_run_id) for task_id in task_ids]
    if messages:
        publisher.publish(messages)
    return len(messages)
