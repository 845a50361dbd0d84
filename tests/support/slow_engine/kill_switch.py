"""Faults inside the worker of the tests: it wraps its bucket and consumer, and the product knows nothing of it.

A `KillSwitch` kills its own process, as kill -9 does, at a named call of bucket or queue: "before write status.json 2".
"""

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tasks.errors import BucketUnavailableError

T = TypeVar("T")


class KillSwitch:
    """Counts calls by verb and object, and pulls at the given one; `point` None: never."""

    def __init__(self, point: str | None) -> None:
        self._point = point
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def around(self, verb: str, act: Callable[[], T]) -> T:
        with self._lock:  # several at a time
            self._calls[verb] += 1
            number = self._calls[verb]
        self._pull(f"before {verb} {number}")
        result = act()
        self._pull(f"after {verb} {number}")
        return result

    def _pull(self, here: str) -> None:
        if here == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def leaf(name: str) -> str:
    """Last part of an object's name."""
    return name.rstrip("/").rpartition("/")[2]


class DeadlyBucket:
    """The bucket, with a switch around every call."""

    def __init__(self, bucket: Any, switch: KillSwitch) -> None:
        self._bucket = bucket
        self._switch = switch

    def __getattr__(self, verb: str) -> Any:
        act = getattr(self._bucket, verb)
        if verb not in {"read", "download", "write", "generation", "delete"}:
            return act
        told = "read" if verb == "download" else verb

        def switched(name: str, *given: Any, **options: Any) -> Any:
            return self._switch.around(f"{told} {leaf(name)}", lambda: act(name, *given, **options))

        return switched

    def list(self, prefix: str, **options: Any) -> Iterator[Any]:
        return iter(self._switch.around(f"list {leaf(prefix)}", lambda: list(self._bucket.list(prefix, **options))))


class DeadlyConsumer:
    """The consumer, with a switch around what it does with deliveries."""

    def __init__(self, consumer: Any, switch: KillSwitch) -> None:
        self._consumer = consumer
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        if name not in {"ack", "delay", "dead_letter", "requeue"}:
            return getattr(self._consumer, name)
        act = getattr(self._consumer, name)
        return lambda *given: self._switch.around(name, lambda: act(*given))


class DeadlyHandler(logging.Handler):
    """Kills its own process, as kill -9 does, when it logs this line."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self._line:
            os.kill(os.getpid(), signal.SIGKILL)


class AnswerLosingBucket:
    """The bucket, of which every second write of a status lands without an answer, and one read after it fails."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket
        self._writes = 0
        self._reads_to_fail = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def write(self, name, body, **options):
        generation = self._bucket.write(name, body, **options)
        if leaf(name) == "status.json":
            self._writes += 1
            if self._writes % 2 == 0:
                self._reads_to_fail = 1
                raise BucketUnavailableError(f"No answer to the write of {name!r}.")
        return generation

    def read(self, name):
        if self._reads_to_fail:
            self._reads_to_fail -= 1
            raise BucketUnavailableError(f"No answer to the read of {name!r}.")
        return self._bucket.read(name)
