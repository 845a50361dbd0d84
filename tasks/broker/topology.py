"""The queues on RabbitMQ: their names, their arguments, how a message lies in them. Nobody else declares one.

Queue arguments can't be changed once a queue exists, so the names carry a version, and what settings may change (the
delay) travels with each message instead.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pika import BasicProperties

from tasks.broker.protocol import DELIVERY_LIMIT, Headers, HeaderValue

WORK_QUEUE: Final = "thor.work.v1"
"""Tasks to be computed."""
DELAY_QUEUE: Final = "thor.delay.v1"
"""Tasks to be looked at later: each message expires after its own delay and goes back to the work queue."""
DEAD_QUEUE: Final = "thor.dead.v1"
"""Messages that name no task, or that were delivered too often."""

ACK_TIMEOUT_MS: Final = 30 * 24 * 3600 * 1000
"""Thirty days. The default of 30 minutes is shorter than a task; Erlang's timers end below 50 days."""
_NO_LIMIT: Final = 1_000_000_000

_QUORUM: Final = {"x-queue-type": "quorum", "x-consumer-timeout": ACK_TIMEOUT_MS}


def _dead_lettered_to(queue: str) -> dict[str, object]:
    """Arguments that hand a message over to `queue` with a confirm in between, so that no crash can lose it."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


QUEUE_ARGUMENTS: Final[Mapping[str, Mapping[str, object]]] = {
    # Looking into a queue counts as a delivery too, and RabbitMQ 4 drops at twenty what has no limit of its own.
    DEAD_QUEUE: {**_QUORUM, "x-delivery-limit": _NO_LIMIT},
    DELAY_QUEUE: {**_QUORUM, "x-delivery-limit": _NO_LIMIT, **_dead_lettered_to(WORK_QUEUE)},
    WORK_QUEUE: {**_QUORUM, "x-delivery-limit": DELIVERY_LIMIT, **_dead_lettered_to(DEAD_QUEUE)},
}
"""Arguments of each queue, in the order of declaration: where dead letters go is there first."""

ChannelRequest = Callable[[Any, Callable[..., None]], None]
"""Asks something of a pika channel and calls back with the broker's answer."""


def declarations() -> list[tuple[str, ChannelRequest]]:
    """Return what must be asked of a channel so that all queues are there, each with the words for it."""
    return [(f"declare queue {name}", partial(_declare, name)) for name in QUEUE_ARGUMENTS]


def _declare(name: str, channel: Any, done: Callable[..., None]) -> None:
    channel.queue_declare(name, durable=True, arguments=dict(QUEUE_ARGUMENTS[name]), callback=done)


def message_properties(headers: Headers, *, delay_ms: int | None = None) -> BasicProperties:
    """Return the properties of a persistent message; with a delay it expires (in the delay queue) after so long."""
    return BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        headers=dict(headers),
        expiration=None if delay_ms is None else str(delay_ms),
    )


def headers_from_properties(properties: BasicProperties) -> dict[str, HeaderValue]:
    """Return our own headers: RabbitMQ adds some (`x-death`, `x-delivery-count`) that decide nothing here."""
    headers: Mapping[str, object] = properties.headers or {}
    return {
        name: value for name, value in headers.items() if isinstance(value, str | int) and not name.startswith("x-")
    }
