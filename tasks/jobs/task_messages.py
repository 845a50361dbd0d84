"""Rings for tasks again: the messages that operators' verbs send, after the bucket says what is to be done."""

from collections.abc import Iterable

from tasks.broker.protocol import OutgoingMessage, Publisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.records.ids import TaskId
from tasks.records.message import TaskMessage


def publish_tasks(publisher: Publisher, bucket: Bucket, job: JobLayout, task_ids: Iterable[TaskId]) -> int:
    """Send one message for each of these tasks, and return how many; without tasks the queue is not even opened.

    Twice: safe. A message too many is acked by the worker that finds its task done, or owned by somebody alive.

    Raises
    ------
    BrokerUnavailableError
        Any of the messages may have arrived: send them all again.
    """
    messages = [
        OutgoingMessage(TaskMessage(job_id=job.job_id, bucket=bucket.url, task_id=task_id).to_bytes())
        for task_id in task_ids
    ]
    if messages:
        publisher.publish(messages)
    return len(messages)
