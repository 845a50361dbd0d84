"""Receives tasks from RabbitMQ, one at a time, and keeps its connection alive and renewed whenever it is pumped."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tasks.broker.confirms import Confirms
from tasks.broker.protocol import REASON_HEADER, Delivery, Headers, OutgoingMessage
from tasks.broker.session import BrokerAddress, Loop, Session, SessionLostError, SteadySession
from tasks.broker.topology import DEAD_QUEUE, DELAY_QUEUE, WORK_QUEUE, declarations, headers_from_properties

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 30
"""A worker that is frozen or cut off is given up after two to three of these; one that was killed, at once."""
MOVE_SECONDS: Final = 10.0
"""How long `delay` and `dead_letter` wait for a confirm. What takes longer is finished by later calls of `wait`."""


class _Handle(NamedTuple):
    session: Session
    tag: int


@dataclass
class _Move:
    """A delivery whose copy must be stored in another queue before it may be acked."""

    delivery: Delivery
    queue: str
    copy: OutgoingMessage
    delay_ms: int | None
    #: The session on which the copy was sent; None: on none yet. A copy sent on a lost session is sent again.
    sent_on: Session | None = None


class RabbitConsumer:
    """The `Consumer` on RabbitMQ.

    Two connections: a broker with a memory or disk alarm stops reading from every connection that has ever published,
    acks and heartbeats included, so copies for the delay and dead queues go over a second one, opened when needed.
    """

    def __init__(self, address: BrokerAddress, *, delay_seconds: float, priority: int = 0) -> None:
        self._delay_ms = round(1000 * delay_seconds)
        self._arguments = {"x-priority": priority} if priority else {}
        self._parameters = address.parameters(role="worker", heartbeat_seconds=HEARTBEAT_SECONDS)
        self._loop = Loop()  # after what may raise: it holds sockets
        self._inbound = SteadySession(
            self._open_inbound, address.shown, "tasks that are not acked come back to the queue; trying again"
        )
        self._outbound = SteadySession(
            self._open_outbound, address.shown, "a task can't be moved to another queue yet; trying again"
        )
        self._confirms = Confirms(self._loop.stir)
        self._is_wanted = False
        self._consuming: tuple[Session, str] | None = None
        self._inbox: deque[Delivery] = deque()
        self._move: _Move | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the queue can be reached at this moment, as far as known."""
        return self._inbound.ready_session is not None

    def start(self) -> None:
        """Ask for deliveries, now or as soon as there is a connection."""
        self._is_wanted = True

    def stop(self) -> None:
        """Ask for no more; a delivery that is already here and unseen goes back to the queue."""
        self._is_wanted = False
        session = self._inbound.ready_session
        if self._consuming is not None and self._consuming[0] is session:
            # pika itself gives back what still arrives before the broker knows.
            session.channel.basic_cancel(self._consuming[1])
        self._consuming = None
        while self._inbox:
            self.requeue(self._inbox.popleft())
        self._loop.run(0)

    def wait(self, seconds: float) -> Delivery | None:
        """Serve the connection for at most `seconds`; return a delivery as soon as there is one."""
        self._serve(seconds, lambda: bool(self._inbox) and self._move is None)
        if self._inbox and self._move is None:
            return self._inbox.popleft()
        return None

    def is_current(self, delivery: Delivery) -> bool:
        """Whether the delivery can still be acked: its connection is the present one."""
        return _handle(delivery).session is self._inbound.ready_session

    def ack(self, delivery: Delivery) -> bool:
        """Remove the message for good. False: the connection is gone and the message comes back."""
        return self._answer(delivery, lambda channel, tag: channel.basic_ack(tag))

    def requeue(self, delivery: Delivery) -> bool:
        """Give the message back to the work queue at once."""
        return self._answer(delivery, lambda channel, tag: channel.basic_nack(tag, requeue=True))

    def delay(self, delivery: Delivery, headers: Headers) -> bool:
        """Store a copy with these headers in the delay queue, then ack.

        False: not done within `MOVE_SECONDS`. Then either the connection is gone and the message comes back, or the
        broker takes no messages for now and `wait` finishes the move before it returns another delivery.
        """
        copy = OutgoingMessage(delivery.body, headers)
        return self._start_move(_Move(delivery, DELAY_QUEUE, copy, self._delay_ms))

    def dead_letter(self, delivery: Delivery, reason: str) -> bool:
        """Store a copy in the dead queue with the reason, then ack. False means what it does for `delay`."""
        copy = OutgoingMessage(delivery.body, {**delivery.headers, REASON_HEADER: reason})
        return self._start_move(_Move(delivery, DEAD_QUEUE, copy, None))

    def close(self) -> None:
        """Leave at once. What was not acked goes back to the work queue."""
        self._is_wanted = False
        self._inbound.close()
        self._outbound.close()
        self._loop.close()

    def _serve(self, seconds: float, condition: Callable[[], bool]) -> None:
        """Turn the loop and take each next step, until `condition` holds or the time is over."""
        end = time.monotonic() + seconds
        self._step()
        left = seconds
        while not condition() and left >= 0:  # with 0 seconds still one turn: it keeps the connection alive
            self._loop.run(min(left, self._seconds_to_next_attempt()))
            self._step()
            left = end - time.monotonic()

    def _seconds_to_next_attempt(self) -> float:
        pauses = [self._inbound.seconds_to_next_attempt]
        if self._move is not None:
            pauses.append(self._outbound.seconds_to_next_attempt)
        return min(pauses)

    def _step(self) -> None:
        session = self._inbound.step()
        while self._inbox and not self.is_current(self._inbox[0]):
            self._inbox.popleft()
        if session is not None and self._is_wanted and (self._consuming is None or self._consuming[0] is not session):
            self._consume(session)
        if self._move is not None:
            self._continue_move(self._move)

    def _consume(self, session: Session) -> None:
        def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:
            self._inbox.append(
                Delivery(body, headers_from_properties(properties), _Handle(session, method.delivery_tag))
            )
            self._loop.stir()

        def ask(channel: Any, done: Callable[..., None]) -> None:
            tag = channel.basic_consume(WORK_QUEUE, on_message, arguments=self._arguments, callback=done)
            self._consuming = (session, tag)

        session.request(f"consume from queue {WORK_QUEUE}", ask, lambda *_: None)

    def _answer(self, delivery: Delivery, send: Callable[[Any, int], None]) -> bool:
        self._loop.run(0)  # the broker may have closed the channel since
        if not self.is_current(delivery):
            return False
        handle = _handle(delivery)
        send(handle.session.channel, handle.tag)
        self._loop.run(0)
        return True

    def _start_move(self, move: _Move) -> bool:
        """Begin the move; tell whether copy and ack are done within `MOVE_SECONDS`."""
        self._loop.run(0)
        self._move = move
        self._serve(MOVE_SECONDS, lambda: self._move is None)
        return self._move is None and self.is_current(move.delivery)

    def _continue_move(self, move: _Move) -> None:
        """Take the next step of a move: connect, send the copy, and ack the original once the copy is stored."""
        if not self.is_current(move.delivery):
            self._move = None
            return
        session = self._outbound.step()
        if session is None:
            return
        if move.sent_on is not session:
            move.sent_on = session
            self._confirms.send(session.channel, move.queue, move.copy, delay_ms=move.delay_ms)
        elif self._confirms.has_failed:
            # The queue was deleted or is not able to take it: a new session declares the queues again.
            session.lose(SessionLostError(f"queue {move.queue} did not take a message"))
        elif not self._confirms.unconfirmed:
            self._move = None
            self._answer(move.delivery, lambda channel, tag: channel.basic_ack(tag))

    def _open_inbound(self) -> Session:
        def one_at_a_time(channel: Any, done: Callable[..., None]) -> None:
            channel.basic_qos(prefetch_count=1, callback=done)

        return Session(self._loop, self._parameters, [*declarations(), ("take one task at a time", one_at_a_time)])

    def _open_outbound(self) -> Session:
        self._confirms = Confirms(self._loop.stir)
        return Session(self._loop, self._parameters, [*declarations(), self._confirms.setup()])


def _handle(delivery: Delivery) -> _Handle:
    handle: Any = delivery.handle
    return handle  # type: ignore[no-any-return]
