"""An operator clears the dead queue: each message's task gets to say what happened to it. Status before ack.

A task that is requested fails with the reason, so that people see it, and `retry` has it done again. A task that is in
progress belongs to a worker, alive or dead: its message goes back to the work queue, where the lease decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.broker.protocol import REASON_HEADER, Delivery, OutgoingMessage, Publisher
from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import TaskMessageError
from tasks.jobs.task_changes import change_task
from tasks.records.ids import JobId, TaskId
from tasks.records.message import TaskMessage, message_from_bytes
from tasks.records.status import Failed, Status

BATCH = 100
"""Messages that are taken at a time: their statuses are written together, then each is acked."""
EXCERPT_BYTES = 120
"""Bytes that are shown of a message that can't be read, for a person to recognise it."""
NO_REASON = "it was delivered too often without an answer: workers died or lost the queue whenever they had it"

Outcome = Literal["failed", "was_over", "sent_again", "kept", "discarded"]
"""failed: its task now is. was_over: its task had come to an end. sent_again: its task is in progress, the work queue
has the message again. kept, discarded: it names no task of this bucket, and lies there still, or was removed."""


@dataclass(frozen=True)
class DeadMessage:
    """One message of the dead queue, and what became of it."""

    outcome: Outcome
    #: Why it was in the dead queue.
    reason: str
    #: None when the message can't be read.
    job_id: JobId | None = None
    task_id: TaskId | None = None
    #: Why it names no task of this bucket; None when it does.
    fault: str | None = None
    #: The beginning of a body that can't be read.
    excerpt: str | None = None


def drain_dead(bucket: Bucket, publisher: Publisher, *, discard: bool = False) -> Iterator[DeadMessage]:
    """Settle every message of the dead queue and yield it.

    Order: the task's status (or the copy on the work queue), then the ack.
    Idempotent, and two operators at once share the messages. What was not acked lies in the dead queue again.

    Parameters
    ----------
    discard
        Remove the messages that name no task of this bucket, instead of keeping them.

    Raises
    ------
    BucketUnavailableError, BrokerUnavailableError
        The messages from here on are in the dead queue again: run again.
    """
    while deliveries := publisher.take_dead(BATCH):
        messages = for_each(deliveries, lambda delivery: _settle_task(bucket, delivery, discard=discard))
        for delivery, message in zip(deliveries, messages, strict=True):
            if message.outcome == "sent_again":
                publisher.publish([_without_reason(delivery)])
            if message.outcome != "kept":
                publisher.ack(delivery)
            yield message


def _settle_task(bucket: Bucket, delivery: Delivery, *, discard: bool) -> DeadMessage:
    """Write what the message means to its task, and return what is to become of the message."""
    reason = str(delivery.headers.get(REASON_HEADER, NO_REASON))
    unsettled: Outcome = "discarded" if discard else "kept"
    try:
        message = message_from_bytes(delivery.body)
    except TaskMessageError as error:
        excerpt = repr(delivery.body[:EXCERPT_BYTES])[2:-1]
        return DeadMessage(unsettled, reason, fault=str(error), excerpt=excerpt)
    fault = _foreign_bucket(message, bucket)
    if fault is None:
        layout = JobLayout(message.job_id).task(message.task_id)
        seen = change_task(bucket, layout, lambda status: _failed_if_requested(status, reason))
        if seen.status is not None:
            return DeadMessage(
                _outcome(seen.status, is_changed=seen.is_changed), reason, message.job_id, message.task_id
            )
        fault = seen.fault
    return DeadMessage(unsettled, reason, message.job_id, message.task_id, fault=fault)


def _foreign_bucket(message: TaskMessage, bucket: Bucket) -> str | None:
    """Return what is wrong with the bucket that the message names. `gs://name` may be called `name`."""
    if message.bucket in {bucket.url, bucket.url.removeprefix("gs://")}:
        return None
    return f"It names bucket {message.bucket!r}; this command looks after {bucket.url!r}. Run it with that --bucket."


def _failed_if_requested(status: Status, reason: str) -> Failed | None:
    if status.state != "requested":
        return None
    return Failed(error_kind="lost", error=f"Its message came to the dead queue: {reason}")


def _outcome(status: Status, *, is_changed: bool) -> Outcome:
    if is_changed:
        return "failed"
    return "was_over" if status.is_terminal else "sent_again"


def _without_reason(delivery: Delivery) -> OutgoingMessage:
    headers = {name: value for name, value in delivery.headers.items() if name != REASON_HEADER}
    return OutgoingMessage(delivery.body, headers)
