"""What an object is written from or read into when it is too large for memory: an unnamed file of this machine."""

import contextlib
import hashlib
import io
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tasks.errors import ScratchFileError

BLOCK_BYTES = 8 << 20
"""So much is read into memory at one time."""


class Content(Protocol):
    """Bytes that can be read more than once: a write may be tried again, from anywhere."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read_at(self, first: int, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes from offset `first` on; fewer at the end."""
        ...


Body = bytes | Content
"""The bytes of an object, in memory or to be read."""


class BytesContent:
    """Bytes in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self._body)

    def read_at(self, first: int, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes from offset `first` on."""
        return self._body[first : first + n_bytes]


def content_of(body: Body) -> Content:
    """Return any body as something to be read."""
    return BytesContent(body) if isinstance(body, bytes) else body


def bytes_of(body: Body) -> bytes:
    """Return any body whole."""
    return body if isinstance(body, bytes) else body.read_at(0, body.size)


def blocks_of(content: Content, n_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield all bytes in blocks."""
    for first in range(0, content.size, n_bytes):
        yield content.read_at(first, n_bytes)


def sha256_of(body: Body) -> str:
    """Return the SHA-256 of any body, hexadecimal."""
    found = hashlib.sha256()
    for block in blocks_of(content_of(body)):
        found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ScratchFileError(
            f"Cannot keep a copy of the observations in {folder}: {error.strerror or error}. Make room, or set TMPDIR "
            "to a directory that has some."
        ) from error


class ScratchFile:
    """A file without a name: the kernel frees it when nobody holds it any more, also after kill -9.

    It is filled by one thread, and read by any number, each at its own offset.
    """

    def __init__(self, directory: Path | None = None) -> None:
        folder = directory or Path(tempfile.gettempdir())
        with _explained(folder), tempfile.TemporaryFile(dir=folder) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._folder = folder
        self._size = 0
        self._sha256 = hashlib.sha256()

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes, hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, block: bytes | memoryview) -> int:
        """Append a block; return its length.

        Raises
        ------
        ScratchFileError
            If the disk has no room for it.
        """
        remaining = memoryview(block).cast("B")
        length = len(remaining)
        self._sha256.update(remaining)
        with _explained(self._folder):
            while remaining:
                written = os.pwrite(self._descriptor, remaining, self._size)
                self._size += written
                remaining = remaining[written:]
        return length

    def empty(self) -> None:
        """Begin again."""
        os.ftruncate(self._descriptor, 0)
        self._size = 0
        self._sha256 = hashlib.sha256()

    def read_at(self, first: int, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes from offset `first` on; fewer at the end."""
        return os.pread(self._descriptor, n_bytes, first)

    def opened(self) -> io.BufferedReader:
        """Return a file of its own to read from the beginning."""
        return opened(self)


def opened(content: Content) -> io.BufferedReader:
    """Return a content as a file to read from the beginning."""
    return io.BufferedReader(_RawContent(content))


class _RawContent(io.RawIOBase):
    """Reads a content as a file."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._content.size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        block = self._content.read_at(self._place, len(target))
        target[: len(block)] = block
        self._place += len(block)
        return len(block)
