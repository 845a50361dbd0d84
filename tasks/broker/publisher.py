"""Sends tasks to RabbitMQ: persistent, mandatory, confirmed, many at a time."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from pika.spec import Basic

from tasks.broker.confirms import Confirms
from tasks.broker.protocol import Delivery, OutgoingMessage, QueueDepth
from tasks.broker.session import (
    CONNECT_SECONDS,
    REQUEST_SECONDS,
    BrokerAddress,
    Loop,
    Session,
    SessionLostError,
    reason_text,
)
from tasks.broker.topology import (
    DEAD_QUEUE,
    DELAY_QUEUE,
    WORK_QUEUE,
    ChannelRequest,
    declarations,
    headers_from_properties,
)
from tasks.errors import BrokerUnavailableError, MessageNotPublishedError
from tasks.wording import counted

WINDOW: Final = 1000
"""Messages under way without a confirm. One at a time is ten times slower; more than this gains nothing."""
CONFIRM_SECONDS: Final = 30.0
"""Without any confirm for this time the broker is gone, or holds publishers back."""
IDLE_SECONDS: Final = 30.0
"""A session that lay unused for longer is opened anew: nobody served it, and a firewall may have forgotten it."""
_SETUP_SECONDS: Final = CONNECT_SECONDS + 5 * REQUEST_SECONDS


class RabbitPublisher:
    """The `Publisher` on RabbitMQ. It connects when it is first used, and again after each loss."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        # Between calls nobody serves the session, so it has no heartbeat; every call has deadlines of its own instead.
        self._parameters = address.parameters(role="client", heartbeat_seconds=0)
        self._loop = Loop()
        self._session: Session | None = None
        self._confirms = Confirms(self._loop.stir)
        self._last_use = 0.0
        self._taken = 0
        self._on_empty: Callable[..., None] = lambda *_: None

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send all messages to the work queue; return when each is safely stored.

        Raises
        ------
        BrokerUnavailableError
            If the broker can't be reached.
        MessageNotPublishedError
            If a message was refused or not confirmed in time: any of them may have arrived or arrive later.
        """
        session = self._ready_session()
        confirms = self._confirms
        waiting = deque(messages)
        while (waiting or confirms.unconfirmed) and not confirms.has_failed:
            while waiting and confirms.unconfirmed < WINDOW:
                confirms.send(session.channel, WORK_QUEUE, waiting.popleft())
            before = confirms.unconfirmed
            self._loop.run_until(lambda: self._has_moved(session, before), CONFIRM_SECONDS)  # noqa: B023
            if session.lost is not None or confirms.unconfirmed == before:
                break
        left = len(waiting) + confirms.unconfirmed
        if left or confirms.has_failed:
            raise self._not_published(session, left, len(messages))

    def depth(self) -> QueueDepth:
        """Return how many messages lie where; RabbitMQ does not tell unacked ones (-1).

        Raises
        ------
        BrokerUnavailableError
            If the broker can't be reached, or does not answer.
        """
        return QueueDepth(
            ready=self._count(WORK_QUEUE), unacked=-1, delayed=self._count(DELAY_QUEUE), dead=self._count(DEAD_QUEUE)
        )

    def take_dead(self, limit: int) -> Sequence[Delivery]:
        """Receive up to `limit` messages of the dead queue. Raises `BrokerUnavailableError`."""
        taken: list[Delivery] = []
        while len(taken) < limit:
            session = self._ready_session()
            answer = self._ask(session, f"take a message of {DEAD_QUEUE}", self._get_dead)
            if len(answer) == 1:  # Basic.GetEmpty alone
                break
            _, method, properties, body = answer
            taken.append(Delivery(body, headers_from_properties(properties), (session, method.delivery_tag)))
            self._taken += 1
        return taken

    def ack(self, delivery: Delivery) -> None:
        """Remove a message that `take_dead` returned.

        Raises
        ------
        BrokerUnavailableError
            If the connection that it was taken on is gone: it is in the dead queue again.
        """
        session, tag = _handle(delivery)
        self._loop.run(0)
        if session is not self._session or not session.is_ready:
            raise BrokerUnavailableError(
                f"Cannot remove a dead message from {self._address.shown}: the connection that it was taken on is "
                "gone, so it lies in the dead queue again. Run the command again."
            )
        session.channel.basic_ack(tag)
        self._taken -= 1
        self._loop.run(0)
        self._last_use = time.monotonic()

    def close(self) -> None:
        """Leave. Messages taken and not acked go back."""
        self._drop_session()
        self._loop.close()

    def _count(self, queue: str) -> int:
        def ask(channel: Any, done: Callable[..., None]) -> None:
            channel.queue_declare(queue, passive=True, callback=done)

        (answer,) = self._ask(self._ready_session(), f"count the messages of {queue}", ask)
        return int(answer.method.message_count)

    def _ask(self, session: Session, words: str, ask: ChannelRequest) -> tuple[Any, ...]:
        """Return the broker's answer, or raise `BrokerUnavailableError`."""
        answers: list[tuple[Any, ...]] = []
        session.request(words, ask, lambda *answer: answers.append(answer))
        self._loop.run_until(lambda: bool(answers) or session.lost is not None, 2 * REQUEST_SECONDS)
        self._last_use = time.monotonic()
        if not answers:
            self._drop_session()
            raise BrokerUnavailableError(f"Cannot {words} on {self._address.shown}: {reason_text(session.lost)}.")
        return answers[0]

    def _get_dead(self, channel: Any, done: Callable[..., None]) -> None:
        """Ask for one dead message: the answer is GetEmpty alone, or channel, method, properties, body."""
        self._on_empty = done  # pika reports "empty" apart from the message: see `_open_session`
        channel.basic_get(DEAD_QUEUE, done)

    def _ready_session(self) -> Session:
        """Return a session that was ready a moment ago; raise `BrokerUnavailableError` if there can't be one."""
        if self._session is not None:
            self._loop.run(0)
            is_idle = time.monotonic() - self._last_use > IDLE_SECONDS and not self._taken
            if is_idle or not self._session.is_ready or self._confirms.has_failed or self._confirms.unconfirmed:
                self._drop_session()
        self._last_use = time.monotonic()
        if self._session is None:
            self._session = self._open_session()
        return self._session

    def _open_session(self) -> Session:
        self._confirms = Confirms(self._loop.stir)
        session = Session(self._loop, self._parameters, [*declarations(), self._confirms.setup()])
        self._loop.run_until(lambda: session.is_ready or session.lost is not None, _SETUP_SECONDS)
        if not session.is_ready:
            why = reason_text(session.lost or SessionLostError(f"not ready within {_SETUP_SECONDS:g} s"))
            session.close()
            raise BrokerUnavailableError(
                f"Cannot reach the queue {self._address.shown}: {why}. Check that RabbitMQ runs there and that user "
                "and virtual host are right; `python -m flows.doctor` says more."
            )
        session.channel.add_callback(lambda frame: self._on_empty(frame), [Basic.GetEmpty], one_shot=False)  # noqa: PLW0108 - as it is then
        return session

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None
        self._taken = 0

    def _has_moved(self, session: Session, before: int) -> bool:
        return self._confirms.unconfirmed < before or self._confirms.has_failed or session.lost is not None

    def _not_published(self, session: Session, left: int, total: int) -> MessageNotPublishedError:
        if self._confirms.unroutable:
            why = f"{self._confirms.unroutable} came back, because there is no queue {WORK_QUEUE}"
        elif self._confirms.refused:
            why = f"the broker refused {self._confirms.refused}"
        elif session.lost is not None:
            why = f"the connection was lost ({reason_text(session.lost)})"
        elif session.is_blocked:
            why = f"none was confirmed for {CONFIRM_SECONDS:g} s; the broker has a memory or disk alarm"
        else:
            why = f"none was confirmed for {CONFIRM_SECONDS:g} s"
        self._drop_session()
        return MessageNotPublishedError(
            f"Cannot publish to {self._address.shown}: {left} of {counted(total, 'message')} not known to be "
            f"stored: {why}. They may still arrive. Publish them again: a message that is there twice does no harm."
        )


def _handle(delivery: Delivery) -> tuple[Session, int]:
    handle: Any = delivery.handle
    return handle  # type: ignore[no-any-return]
