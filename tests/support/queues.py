"""Queues in tests: publishers and consumers that are closed at the end, messages with numbers, waits with deadlines."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.protocol import Consumer, Delivery, OutgoingMessage, Publisher

PATIENCE_SECONDS = 60.0
"""For what must happen, however slow the machine is."""
DELAY_SECONDS = 0.5


@dataclass
class QueueUnderTest:
    """A queue by its URL, with everything that was opened on it."""

    url: str
    _open: list[Publisher | Consumer] = field(default_factory=list)

    def publisher(self) -> Publisher:
        """Open a publisher."""
        publisher = open_publisher(self.url)
        self._open.append(publisher)
        return publisher

    def consumer(self, *, delay_seconds: float = DELAY_SECONDS, url: str | None = None) -> Consumer:
        """Open a consumer that asks for deliveries."""
        consumer = open_consumer(url or self.url, delay_seconds=delay_seconds)
        self._open.append(consumer)
        consumer.start()
        return consumer

    def close(self) -> None:
        """Close whatever was opened; closing twice does no harm."""
        for client in self._open:
            client.close()


@contextmanager
def queue_under_test(url: str) -> Iterator[QueueUnderTest]:
    """Close every client at the end of the block."""
    queue = QueueUnderTest(url)
    try:
        yield queue
    finally:
        queue.close()


def numbered(count: int, *, first: int = 0) -> list[OutgoingMessage]:
    """Messages with the bodies b"0", b"1", ..."""
    return [OutgoingMessage(str(number).encode()) for number in range(first, first + count)]


def receive(consumer: Consumer, seconds: float = PATIENCE_SECONDS) -> Delivery:
    """Return the next delivery; fail if none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        delivery = consumer.wait(0.2)
        if delivery is not None:
            return delivery
    raise AssertionError(f"no delivery within {seconds:g} s")


def receive_and_ack(consumer: Consumer, count: int) -> list[bytes]:
    """Receive and ack so many messages; return their bodies."""
    bodies = []
    while len(bodies) < count:
        delivery = receive(consumer)
        if consumer.ack(delivery):
            bodies.append(delivery.body)
    return bodies


def pump_until(consumer: Consumer, condition, what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Serve a consumer that must not receive anything, until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert consumer.wait(0.05) is None
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"


@contextmanager
def holder_process(url: str) -> Iterator[int]:
    """A process of its own that receives one message and keeps it; yields its pid. Killed at the end if still there."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=_receive_and_hold, args=(url, far), daemon=True)
    process.start()
    try:
        far.close()
        assert near.poll(PATIENCE_SECONDS), "the holder received nothing"
        near.recv()
        yield process.pid
    finally:
        near.close()
        process.kill()
        process.join()


def kill(pid: int) -> None:
    """Kill -9."""
    os.kill(pid, signal.SIGKILL)


def _receive_and_hold(url, far) -> None:
    consumer = open_consumer(url, delay_seconds=DELAY_SECONDS)
    consumer.start()
    far.send(receive(consumer).body)
    while True:
        consumer.wait(1.0)
