"""What a queue is to the rest of the code: at-least-once delivery, acks, a delay, a dead queue. No implementation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

HeaderValue = str | int
Headers = Mapping[str, HeaderValue]

SEEN_GENERATION_HEADER = "seen_generation"
"""Generation of the status that the worker saw when it sent the message to the delay queue."""
REASON_HEADER = "reason"
"""Why a message is in the dead queue."""
DELIVERY_LIMIT = 1000
"""A message that came back more often goes to the dead queue. Only a process that always dies before its claim gets so
far (on RabbitMQ 4.3 nothing else counts: not what is given back): everything else is counted in the bucket, and a task
may well be given back many times, with its checkpoints."""
PARENT_RUN_HEADER = "prefect_parent_run_id"
"""The Prefect task run below which people see the tasks of the job: a worker's flow run is made there."""
INSTRUMENTATION_HEADER = "instrumentation"
"""How much of the task the client wants to be shown in Prefect: stages, task or off. A worker's own setting wins."""


@dataclass(frozen=True)
class OutgoingMessage:
    """A message to be sent: body and headers."""

    body: bytes
    headers: Headers = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """A message that was received and must be acked, delayed, or sent to the dead queue by the same consumer.

    `handle` belongs to the queue that made it: a delivery of a connection that is gone can't be acked any more, and
    needs no ack, since the message comes back by itself.
    """

    body: bytes
    headers: Headers
    handle: object


@dataclass(frozen=True)
class QueueDepth:
    """How many messages lie where."""

    ready: int
    unacked: int
    delayed: int
    dead: int


class Publisher(Protocol):
    """Sends tasks. Not for use from two threads."""

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send all messages to the work queue; return when each is safely stored.

        Raises `MessageNotPublishedError` or `BrokerUnavailableError` otherwise; any of them may then have arrived.
        """
        ...

    def depth(self) -> QueueDepth:
        """Return how many messages lie where (a server may not tell unacked ones: -1)."""
        ...

    def take_dead(self, limit: int) -> Sequence[Delivery]:
        """Receive up to `limit` messages of the dead queue."""
        ...

    def ack(self, delivery: Delivery) -> None:
        """Remove a message that `take_dead` returned."""
        ...

    def close(self) -> None:
        """Leave. Messages taken and not acked go back."""
        ...


class Consumer(Protocol):
    """Receives tasks, one at a time. One thread, and it must be pumped: `wait` also keeps the connection alive.

    No method raises because a connection is lost. The consumer reconnects by itself, with jittered backoff, whenever
    `wait` is called; meanwhile `is_connected` is false, and the acts on older deliveries return False.
    """

    @property
    def is_connected(self) -> bool:
        """Whether the queue can be reached at this moment, as far as known."""
        ...

    def start(self) -> None:
        """Ask for deliveries. Also before there is a connection, and again after each reconnection by itself."""
        ...

    def stop(self) -> None:
        """Ask for no more; a delivery that is already here and unseen goes back to the queue."""
        ...

    def wait(self, seconds: float) -> Delivery | None:
        """Serve the connection for at most `seconds`; return a delivery as soon as there is one.

        Until it has been acked, delayed or dead-lettered, or its connection is lost, no further delivery comes.
        """
        ...

    def is_current(self, delivery: Delivery) -> bool:
        """Whether the delivery can still be acked: its connection is the present one."""
        ...

    def ack(self, delivery: Delivery) -> bool:
        """Remove the message for good. False: the connection is gone and the message comes back."""
        ...

    def delay(self, delivery: Delivery, headers: Headers) -> bool:
        """Store a copy with these headers in the delay queue, then ack. The delay is timed by the queue itself.

        False: not done. The message comes back, or, when the queue takes no messages for now, `wait` finishes the
        move before it returns another delivery: in either case the caller is done with it.
        """
        ...

    def dead_letter(self, delivery: Delivery, reason: str) -> bool:
        """Store a copy in the dead queue with the reason, then ack. False means what it does for `delay`."""
        ...

    def requeue(self, delivery: Delivery) -> bool:
        """Give the message back to the work queue at once."""
        ...

    def close(self) -> None:
        """Leave at once. What was not acked goes back to the work queue."""
        ...
