"""Sends tasks to RabbitMQ: persistent, mandatory, confirmed, many at a time."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from pika.spec import Basic

from tasks.broker.link import CONNECT_SECONDS, REQUEST_SECONDS, BrokerAddress, Link, LinkLostError, Loop, reason_text
from tasks.broker.outbox import Outbox
from tasks.broker.protocol import Delivery, OutgoingMessage, QueueDepth
from tasks.broker.topology import (
    DEAD_QUEUE,
    DELAY_QUEUE,
    WORK_QUEUE,
    ChannelRequest,
    declarations,
    headers_from_properties,
)
from tasks.errors import BrokerUnavailableError, MessageNotPublishedError

WINDOW: Final = 1000
"""Messages under way without a confirm. One at a time is ten times slower; more than this gains nothing."""
CONFIRM_SECONDS: Final = 30.0
"""Without any confirm for so long the broker is gone, or holds publishers back."""
IDLE_SECONDS: Final = 30.0
"""A link that lay unused for longer is opened anew: nobody served it, and a firewall may have forgotten it."""
_SETUP_SECONDS: Final = CONNECT_SECONDS + 5 * REQUEST_SECONDS


class RabbitPublisher:
    """The `Publisher` on RabbitMQ. It connects when it is first used, and again after each loss."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        # Between calls nobody serves the link, so it has no heartbeat; every call has deadlines of its own instead.
        self._parameters = address.parameters(role="client", heartbeat_seconds=0)
        self._loop = Loop()
        self._link: Link | None = None
        self._outbox = Outbox(self._loop.stir)
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
        link = self._ready_link()
        outbox = self._outbox
        waiting = deque(messages)
        while (waiting or outbox.unconfirmed) and not outbox.has_failed:
            while waiting and outbox.unconfirmed < WINDOW:
                outbox.send(link.channel, WORK_QUEUE, waiting.popleft())
            before = outbox.unconfirmed
            self._loop.run_until(lambda: self._has_moved(link, before), CONFIRM_SECONDS)  # noqa: B023
            if link.lost is not None or outbox.unconfirmed == before:
                break
        left = len(waiting) + outbox.unconfirmed
        if left or outbox.has_failed:
            raise self._not_published(link, left, len(messages))

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
            link = self._ready_link()
            answer = self._ask(link, f"take a message of {DEAD_QUEUE}", self._get_dead)
            if len(answer) == 1:  # Basic.GetEmpty alone
                break
            _, method, properties, body = answer
            taken.append(Delivery(body, headers_from_properties(properties), (link, method.delivery_tag)))
            self._taken += 1
        return taken

    def ack(self, delivery: Delivery) -> None:
        """Remove a message that `take_dead` returned.

        Raises
        ------
        BrokerUnavailableError
            If the connection that it was taken on is gone: it is in the dead queue again.
        """
        link, tag = _handle(delivery)
        self._loop.run(0)
        if link is not self._link or not link.is_ready:
            raise BrokerUnavailableError(
                f"Cannot remove a dead message from {self._address.shown}: the connection that it was taken on is "
                "gone, so it lies in the dead queue again. Run the command again."
            )
        link.channel.basic_ack(tag)
        self._taken -= 1
        self._loop.run(0)
        self._last_use = time.monotonic()

    def close(self) -> None:
        """Leave. Messages taken and not acked go back."""
        self._drop_link()
        self._loop.close()

    def _count(self, queue: str) -> int:
        def ask(channel: Any, done: Callable[..., None]) -> None:
            channel.queue_declare(queue, passive=True, callback=done)

        (answer,) = self._ask(self._ready_link(), f"count the messages of {queue}", ask)
        return int(answer.method.message_count)

    def _ask(self, link: Link, words: str, ask: ChannelRequest) -> tuple[Any, ...]:
        """Return the broker's answer, or raise `BrokerUnavailableError`."""
        answers: list[tuple[Any, ...]] = []
        link.request(words, ask, lambda *answer: answers.append(answer))
        self._loop.run_until(lambda: bool(answers) or link.lost is not None, 2 * REQUEST_SECONDS)
        self._last_use = time.monotonic()
        if not answers:
            self._drop_link()
            raise BrokerUnavailableError(f"Cannot {words} on {self._address.shown}: {reason_text(link.lost)}.")
        return answers[0]

    def _get_dead(self, channel: Any, done: Callable[..., None]) -> None:
        """Ask for one dead message: the answer is GetEmpty alone, or channel, method, properties, body."""
        self._on_empty = done  # pika reports "empty" apart from the message: see `_open_link`
        channel.basic_get(DEAD_QUEUE, done)

    def _ready_link(self) -> Link:
        """Return a link that was ready a moment ago; raise `BrokerUnavailableError` if there can't be one."""
        if self._link is not None:
            self._loop.run(0)
            is_idle = time.monotonic() - self._last_use > IDLE_SECONDS and not self._taken
            if is_idle or not self._link.is_ready or self._outbox.has_failed or self._outbox.unconfirmed:
                self._drop_link()
        self._last_use = time.monotonic()
        if self._link is None:
            self._link = self._open_link()
        return self._link

    def _open_link(self) -> Link:
        self._outbox = Outbox(self._loop.stir)
        link = Link(self._loop, self._parameters, [*declarations(), self._outbox.setup()])
        self._loop.run_until(lambda: link.is_ready or link.lost is not None, _SETUP_SECONDS)
        if not link.is_ready:
            why = reason_text(link.lost or LinkLostError(f"not ready within {_SETUP_SECONDS:g} s"))
            link.close()
            raise BrokerUnavailableError(
                f"Cannot reach the queue {self._address.shown}: {why}. Check that RabbitMQ runs there and that user "
                "and virtual host are right; `python -m flows.doctor` tells more."
            )
        link.channel.add_callback(lambda frame: self._on_empty(frame), [Basic.GetEmpty], one_shot=False)  # noqa: PLW0108 - as it is then
        return link

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None
        self._taken = 0

    def _has_moved(self, link: Link, before: int) -> bool:
        return self._outbox.unconfirmed < before or self._outbox.has_failed or link.lost is not None

    def _not_published(self, link: Link, left: int, total: int) -> MessageNotPublishedError:
        if self._outbox.unroutable:
            why = f"{self._outbox.unroutable} came back, because there is no queue {WORK_QUEUE}"
        elif self._outbox.refused:
            why = f"the broker refused {self._outbox.refused}"
        elif link.lost is not None:
            why = f"the connection was lost ({reason_text(link.lost)})"
        elif link.is_blocked:
            why = f"none was confirmed for {CONFIRM_SECONDS:g} s; the broker has a memory or disk alarm"
        else:
            why = f"none was confirmed for {CONFIRM_SECONDS:g} s"
        self._drop_link()
        return MessageNotPublishedError(
            f"Cannot publish to {self._address.shown}: {left} of {total} messages are not known to be stored: {why}. "
            "They may still arrive. Publish them again: a message that is there twice does no harm."
        )


def _handle(delivery: Delivery) -> tuple[Link, int]:
    handle: Any = delivery.handle
    return handle  # type: ignore[no-any-return]
