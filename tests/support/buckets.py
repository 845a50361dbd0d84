"""Buckets for tests that keep the real contract: in memory, unreliable, and one that ends with its process.

`tests/bucket/test_bucket_contract.py` holds them to the same tests as the directory and Google Cloud Storage.
"""

import functools
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.content import Body, ScratchFile, bytes_of
from tasks.bucket.names import checked_object_name, checked_prefix
from tasks.bucket.store import MUST_NOT_EXIST, Bucket, ObjectInfo, StoredObject
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError

T = TypeVar("T")
Verb = Literal["read", "write", "generation", "list", "delete"]


class FakeBucket:
    """A bucket in memory. `history` has every (verb, name) in order, refused writes left out."""

    def __init__(self, url: str = "gs://fake-bucket") -> None:
        self._url = url
        self._objects: dict[str, StoredObject] = {}
        self._summaries: dict[str, str | None] = {}
        self._generations = itertools.count(1_700_000_000_000_000)
        self._lock = threading.Lock()
        self.history: list[tuple[Verb, str]] = []

    @property
    def url(self) -> str:
        return self._url

    write_pause_seconds = 0.0

    def read(self, name: str) -> StoredObject:
        with self._lock:
            self.history.append(("read", checked_object_name(name)))
            if name not in self._objects:
                raise ObjectNotFoundError(f"Cannot read object {name!r}: it is not in the bucket {self.url}.")
            return self._objects[name]

    def download(self, name: str, into: ScratchFile) -> int:
        stored = self.read(name)
        into.empty()
        into.write(stored.body)
        return stored.generation

    def write(self, name: str, body: Body, *, if_generation: int | None = None, summary: str | None = None) -> int:
        checked_object_name(name)
        with self._lock:
            present = self._present(name)
            if if_generation is not None and if_generation != present:
                raise GenerationMismatchError(f"Cannot write {name!r}: generation {present}, expected {if_generation}.")
            self.history.append(("write", name))
            self._objects[name] = StoredObject(bytes_of(body), next(self._generations))
            self._summaries[name] = summary
            return self._present(name)

    def generation(self, name: str) -> int:
        with self._lock:
            self.history.append(("generation", checked_object_name(name)))
            return self._present(name)

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            self.history.append(("list", checked_prefix(prefix)))
            found = sorted(
                (name, stored)
                for name, stored in self._objects.items()
                if name.startswith(prefix) and name.endswith(ending)
            )
        for name, stored in found:
            checksum = crc32c_from_bytes(stored.body)
            yield ObjectInfo(name, stored.generation, len(stored.body), checksum, self._summaries.get(name))

    def require_there(self) -> None:
        pass

    def delete(self, name: str) -> None:
        with self._lock:
            self.history.append(("delete", checked_object_name(name)))
            self._objects.pop(name, None)

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the objects that were written, in order."""
        return tuple(name for verb, name in self.history if verb == "write")

    def _present(self, name: str) -> int:
        return self._objects[name].generation if name in self._objects else MUST_NOT_EXIST


class FlakyBucket:
    """A bucket whose calls often fail, in each of the ways that a real one may, with the same seed in the same order.

    A call raises `BucketUnavailableError` without any effect, or raises it after its effect; and a conditional write
    that has landed may raise `GenerationMismatchError`, as after a retry that met the write's own first copy.
    """

    def __init__(self, bucket: Bucket, *, seed: int, failing: float = 0.5) -> None:
        self._bucket = bucket
        self._random = random.Random(seed)
        self._failing = failing
        self._lock = threading.Lock()
        self.failures = 0

    @property
    def url(self) -> str:
        return self._bucket.url

    @property
    def write_pause_seconds(self) -> float:
        return self._bucket.write_pause_seconds

    def read(self, name: str) -> StoredObject:
        return self._call(lambda: self._bucket.read(name), name)

    def download(self, name: str, into: ScratchFile) -> int:
        return self._call(lambda: self._bucket.download(name, into), name)

    def write(self, name: str, body: Body, *, if_generation: int | None = None, summary: str | None = None) -> int:
        return self._call(
            lambda: self._bucket.write(name, body, if_generation=if_generation, summary=summary),
            name,
            conditional=if_generation is not None,
        )

    def generation(self, name: str) -> int:
        return self._call(lambda: self._bucket.generation(name), name)

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        yield from self._call(lambda: [*self._bucket.list(prefix, ending=ending)], prefix)

    def require_there(self) -> None:
        self._call(self._bucket.require_there, "")

    def delete(self, name: str) -> None:
        self._call(lambda: self._bucket.delete(name), name)

    def _call(self, act: Callable[[], T], name: str, *, conditional: bool = False) -> T:
        with self._lock:
            fails = self._random.random() < self._failing
            how = self._random.choice(["before", "after", "refused" if conditional else "after"])
            self.failures += fails
        if fails and how == "before":
            raise BucketUnavailableError(f"The flaky bucket did nothing with {name!r}.")
        result = act()
        if fails and how == "refused":
            raise GenerationMismatchError(f"The flaky bucket wrote {name!r} and then met its own write.")
        if fails:
            raise BucketUnavailableError(f"The flaky bucket did as asked with {name!r}, but does not say so.")
        return result


class ProcessEndedHere(BaseException):
    """Stands for kill -9: nothing of the process may act after it."""


class EndingBucket:
    """The bucket as a process sees it that ends before its `writes + 1`-th write or delete: no call works after that.

    For tests that stop between any two writes, and then run again on the bucket within.
    """

    def __init__(self, bucket: Bucket, *, writes: int) -> None:
        self._bucket = bucket
        self._left = writes
        self._lock = threading.Lock()
        self.has_ended = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._bucket, name)
        return functools.partial(self._called, name) if callable(found) else found

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        self._require_alive()
        yield from self._bucket.list(prefix, ending=ending)

    def _called(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._require_alive(spend=1 if name in {"write", "delete"} else 0)
        return getattr(self._bucket, name)(*arguments, **options)

    def _require_alive(self, *, spend: int = 0) -> None:
        with self._lock:
            self._left -= spend
            self.has_ended = self.has_ended or self._left < 0
            if self.has_ended:
                raise ProcessEndedHere


class SomebodyWritesForEver:
    """A bucket into which somebody writes an object again, whatever is deleted."""

    def __init__(self, bucket: FakeBucket, name: str) -> None:
        self.url, self.list, self.read, self.write = bucket.url, bucket.list, bucket.read, bucket.write
        self._bucket, self._name = bucket, name

    def delete(self, name: str) -> None:
        self._bucket.delete(name)
        self._bucket.write(self._name, b"log")
