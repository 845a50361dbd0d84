"""What a bucket is to the rest of the code: whole objects, generations, compare-and-swap. No implementation here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tasks.bucket.content import Body, ScratchFile

MUST_NOT_EXIST = 0
"""Generation of an object that is not there: `write(..., if_generation=MUST_NOT_EXIST)` only creates."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object as a listing shows it."""

    name: str
    generation: int
    size: int
    #: CRC-32C, base64 of the big-endian bytes.
    crc32c: str
    #: What the writer of this generation says of it, so that nobody need read it; None: nothing, or it is not kept.
    summary: str | None = None


@dataclass(frozen=True)
class StoredObject:
    """One object with its bytes, and the generation that those bytes belong to."""

    body: bytes
    generation: int


class Bucket(Protocol):
    """Objects by name. Generations grow with each write of a name and are never used twice, also after a delete.

    Every method may raise `BucketUnavailableError` after its own retries, and is safe to call again. A name that no
    object may have (`tasks.bucket.names`) is a `BadInputError`. Methods may be called from several threads.
    """

    @property
    def url(self) -> str:
        """Where it is: `gs://name` or `file:///path`; what messages and manifests carry."""
        ...

    @property
    def write_pause_seconds(self) -> float:
        """Seconds that one object should be left alone between two writes.

        Sooner is not wrong: it is refused, and tried again by the bucket's own retries.
        """
        ...

    def read(self, name: str) -> StoredObject:
        """Return the whole object. Raises `ObjectNotFoundError`."""
        ...

    def download(self, name: str, into: ScratchFile) -> int:
        """Fill a file, whatever it held, with the whole object; return the generation. Raises `ObjectNotFoundError`."""
        ...

    def write(self, name: str, body: Body, *, if_generation: int | None = None, summary: str | None = None) -> int:
        """Write the whole object, atomically, and return its new generation.

        With `if_generation` only if that is the object's present generation (`MUST_NOT_EXIST`: if there is none);
        otherwise `GenerationMismatchError`.

        A `summary` of at most a few kilobytes travels with the object into listings, where the bucket can do that
        (a directory can't: there reading is cheap). The body is what counts.

        **Neither error says that nothing was written.** When an answer is lost, the write is sent again with the same
        condition, and the second one is refused because the first has landed: `GenerationMismatchError` may mean "you
        did". After `BucketUnavailableError` the write may have landed, or may land yet. A caller that must know puts
        a nonce into the body, reads the object again and compares (see `tasks.jobs.status_file`). Because the
        condition is sent with every try, one call never writes twice.
        """
        ...

    def generation(self, name: str) -> int:
        """Return the object's present generation, or `MUST_NOT_EXIST`."""
        ...

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name begins with `prefix` and ends with `ending`, sorted by name.

        A large bucket answers sooner for an `ending` ("/status.json") than for everything. Names that
        `tasks.bucket.names.is_object_name` refuses are left out, so that whatever is listed can be read, and can be
        written below a local directory.
        """
        ...

    def require_there(self) -> None:
        """Raise `BucketUnavailableError` when the bucket itself is missing: then an absent object tells nothing.

        A directory counts as a bucket once something was written to it: an empty mount point is none.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete the object; nothing happens when it is not there."""
        ...
