"""A bucket in a local directory: what is written is whole, durable, and ordered by generations.

This module decides where a generation lives and in which order files change. `confined_files` does the opening, so
that no name leaves the root.

**Objects are plain files** at `<root>/<object name>`: a person can `cat` a status and read a csv table in place.

**The generation of an object is its modification time in microseconds.** A write fills a new file, sets that file's
modification time to the new generation, fsyncs it and renames it over the old one. Body and generation belong to one
inode, so they change in one step, by `rename`: killed at any instant, a writer leaves the old pair or the new one. A
side file with the generation would need a second write, and a rule for what holds between the two. An extended
attribute would change in one step as well, but not every file system has them, and copies lose them; the modification
time survives `cp -p` and `rsync -a`. When a person edits a file its generation changes too, so a compare-and-swap of
one who had read it before is refused, as it should be.

**Generations grow.** A new one is the wall clock or one more than the last, whichever is greater, so a clock that is
set back does no harm. No clock is compared with another. The last generation of a *deleted* object must not come back
either: before a file is removed, its generation is put down as the modification time of its lock file, which is the
floor under all later generations of the names that share the lock. That takes no disk space, so a full disk can be
emptied.

**Compare-and-swap** holds an exclusive `flock` on one of 256 lock files, chosen by the name's hash, from reading the
present generation until after the rename. The kernel drops the lock when its holder dies. Reads and listings take no
lock: they open a file once and take body, size and generation from what they opened.

Side files are `<root>/.thor-bucket/locks/<xx>` and `<root>/.thor-bucket/writing/<xx>` (the file being filled by the
holder of that lock: one that a dead writer left is removed by the next writer of that lock, so they don't pile up).
No object's name has a part that begins with ".". Local disks, and shared ones whose `flock` holds across machines.
"""

import contextlib
import errno
import functools
import hashlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.bucket.checksum import crc32c_from_blocks
from tasks.bucket.confined_files import (
    closing_descriptor,
    exclusive_lock,
    existing_directory,
    made_directory,
    open_file,
    remove_empty_directories,
    stat_file,
    walk_files,
)
from tasks.bucket.content import BLOCK_BYTES, Body, Content, ScratchFile, blocks_of, content_of
from tasks.bucket.names import checked_object_name, checked_prefix, is_object_name
from tasks.bucket.store import MUST_NOT_EXIST, ObjectInfo, StoredObject
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError

_LOCKS = (".thor-bucket", "locks")
_WRITING = (".thor-bucket", "writing")
_CHECKSUM_ATTRIBUTE = "user.thor.crc32c"
"""Extended attribute "<generation> <crc32c>" that spares a listing the reading; where it can't be kept, it reads."""
_NANOSECONDS = 1000
"""In one microsecond, the unit of generations: finer times are not kept everywhere, and 2**53 us last until 2255."""


class DirectoryBucket:
    """A bucket whose objects are the files below `path`. The directory is made by the first write.

    `deadline_seconds` is how long a write waits for another one that holds the same lock.
    """

    def __init__(self, path: Path, *, deadline_seconds: float = 60.0) -> None:
        self._root = path.resolve()
        self._deadline_seconds = deadline_seconds

    @property
    def url(self) -> str:
        """`file:///path`, resolved."""
        return self._root.as_uri()

    @property
    def write_pause_seconds(self) -> float:
        """A directory takes writes as they come."""
        return 0.0

    def read(self, name: str) -> StoredObject:
        """Return the whole object. Raises `ObjectNotFoundError`."""
        *parts, leaf = checked_object_name(name).split("/")
        with self._translated("read", name), self._opened(name, parts, leaf) as file:
            # The generation first: should a person edit the file in place meanwhile, a compare-and-swap with the
            # older generation is refused.
            generation = _generation(os.fstat(file.fileno()))
            return StoredObject(file.readall(), generation)

    def download(self, name: str, into: ScratchFile) -> int:
        """Fill the file with the whole object; return its generation. Raises `ObjectNotFoundError`."""
        *parts, leaf = checked_object_name(name).split("/")
        into.empty()
        with self._translated("read", name), self._opened(name, parts, leaf) as file:
            generation = _generation(os.fstat(file.fileno()))
            while block := file.read(BLOCK_BYTES):
                into.write(block)
            return generation

    def write(
        self,
        name: str,
        body: Body,
        *,
        if_generation: int | None = None,
        summary: str | None = None,  # noqa: ARG002 (a file has no place for it)
    ) -> int:
        """Write the whole object durably and return its new generation.

        Raises `GenerationMismatchError` when `if_generation` is not the present one. Here it is never ambiguous: who
        gets that error has written nothing. Who gets `BucketUnavailableError` may have written.

        Twice: writes the same body again, under a new generation.
        """
        *parts, leaf = checked_object_name(name).split("/")
        with self._translated("write", name), self._locked(name) as (lock, shard):
            present = self._present_generation(parts, leaf)
            if if_generation is not None and if_generation != present:
                raise GenerationMismatchError(
                    f"Cannot write object {name!r} of {self.url}: its generation is {present}, "
                    f"expected {if_generation}. Another process wrote it first; read it again."
                )
            floor = max(present, _generation(os.fstat(lock)))
            generation = max(time.time_ns() // _NANOSECONDS, floor + 1)
            with made_directory(self._root, _WRITING) as writing:
                _fill(writing, shard, body, generation=generation)
                self._put_in_place(writing, shard, parts, leaf)
        return generation

    def generation(self, name: str) -> int:
        """Return the object's present generation, or `MUST_NOT_EXIST`."""
        *parts, leaf = checked_object_name(name).split("/")
        with self._translated("look up", name):
            return self._present_generation(parts, leaf)

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name begins with `prefix` and ends with `ending`, sorted by name.

        Symbolic links, files whose name or directory begins with ".", and names that no object may have are no
        objects. What is written or deleted while the listing runs may be listed as before or as after.
        """
        parts = checked_prefix(prefix).split("/")[:-1]
        below = "".join(f"{part}/" for part in parts)
        with self._translated("list", prefix), existing_directory(self._root, parts) as directory:
            if directory is None:
                return
            found = walk_files(directory, below=below, begins=prefix, ends=ending, is_wanted=is_object_name)
            for parent, leaf, name in found:
                info = _listed(parent, leaf, name)
                if info is not None:
                    yield info

    def require_there(self) -> None:
        """Raise `BucketUnavailableError` when nothing was ever written here: not mounted, or the wrong machine."""
        with self._translated("look for", _LOCKS[0]), existing_directory(self._root, _LOCKS[:1]) as directory:
            if directory is None:
                raise BucketUnavailableError(
                    f"There is no bucket at {self.url}: {_LOCKS[0]!r}, which the first write makes, is missing. "
                    "Look at the mount, and whether this is the right machine."
                )

    def delete(self, name: str) -> None:
        """Delete the object durably, and the directories that it leaves empty; nothing happens when it is not there.

        Order: its generation becomes the floor of the lock, then the file goes.
        """
        *parts, leaf = checked_object_name(name).split("/")
        with self._translated("delete", name), self._locked(name) as (lock, _):
            with existing_directory(self._root, parts) as directory:
                found = None if directory is None else stat_file(directory, leaf)
                if directory is None or found is None:
                    return
                _raise_floor(lock, _generation(found))
                os.unlink(leaf, dir_fd=directory)
                os.fsync(directory)
            remove_empty_directories(self._root, parts)

    @contextlib.contextmanager
    def _opened(self, name: str, parts: Sequence[str], leaf: str) -> Iterator[io.FileIO]:
        with existing_directory(self._root, parts) as directory:
            descriptor = None if directory is None else open_file(directory, leaf)
            if descriptor is None:
                raise ObjectNotFoundError(f"Cannot read object {name!r}: it is not in the bucket {self.url}.")
            with io.FileIO(descriptor) as file:
                yield file

    def _present_generation(self, parts: Sequence[str], leaf: str) -> int:
        with existing_directory(self._root, parts) as directory:
            found = None if directory is None else stat_file(directory, leaf)
            return MUST_NOT_EXIST if found is None else _generation(found)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[tuple[int, str]]:
        """Hold the lock of `name`; yield the lock file's descriptor and the lock's own name."""
        shard = hashlib.blake2b(name.encode(), digest_size=1).hexdigest()
        with (
            made_directory(self._root, _LOCKS) as locks,
            exclusive_lock(locks, shard, seconds=self._deadline_seconds) as lock,
        ):
            yield lock, shard

    def _put_in_place(self, writing: int, shard: str, parts: Sequence[str], leaf: str) -> None:
        """Rename the filled file to its object's name, durably."""
        while True:
            try:
                with made_directory(self._root, parts) as directory:
                    os.rename(shard, leaf, src_dir_fd=writing, dst_dir_fd=directory)
                    os.fsync(directory)
                    return
            except FileNotFoundError:
                # A delete in another process has just removed the directory, empty before our file was in it.
                if stat_file(writing, shard) is None:
                    raise

    @contextlib.contextmanager
    def _translated(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.ELOOP}:
                raise BadInputError(
                    f"Cannot {verb} object {name!r} of {self.url}: {error.strerror}. In a directory bucket no object "
                    "can lie below another one or behind a symbolic link; choose another name."
                ) from error
            raise BucketUnavailableError(
                f"Cannot {verb} object {name!r} of {self.url}: {error.strerror or error}. "
                "Look at the disk (free space, permissions, mount), then try again."
            ) from error


def _generation(found: os.stat_result) -> int:
    """Return the generation of a file; never `MUST_NOT_EXIST`, also for a file dated 1970."""
    return max(1, found.st_mtime_ns // _NANOSECONDS)


def _fill(writing: int, name: str, body: Body, *, generation: int) -> None:
    """Make the file that is to be renamed: whole, dated with its generation, durable; or none."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=writing)
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=writing)
        with io.FileIO(descriptor, "wb") as file:
            checksum = crc32c_from_blocks(_written(file, content_of(body)))
            _keep_checksum(descriptor, checksum, generation=generation)
            os.utime(descriptor, ns=(generation * _NANOSECONDS, generation * _NANOSECONDS))
            _require_kept(descriptor, generation)
            os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=writing)
        raise


def _written(file: io.FileIO, content: Content) -> Iterator[bytes]:
    """Write a content block by block, and yield each block that was written."""
    for block in blocks_of(content):
        remaining = memoryview(block)
        while remaining:
            remaining = remaining[file.write(remaining) :]
        yield block


def _raise_floor(lock: int, generation: int) -> None:
    """Let no later generation of the names of this lock be as small as `generation`, durably."""
    if generation > _generation(os.fstat(lock)):
        os.utime(lock, ns=(generation * _NANOSECONDS, generation * _NANOSECONDS))
        _require_kept(lock, generation)
        os.fsync(lock)


def _require_kept(descriptor: int, generation: int) -> None:
    kept = _generation(os.fstat(descriptor))
    if kept != generation:
        raise OSError(errno.EOPNOTSUPP, f"the file system keeps no times in microseconds ({generation} became {kept})")


def _keep_checksum(descriptor: int, checksum: str, *, generation: int) -> None:
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, _CHECKSUM_ATTRIBUTE, f"{generation} {checksum}".encode())


def _listed(directory: int, leaf: str, name: str) -> ObjectInfo | None:
    """Return what a listing says of a file; None when it is gone or no regular file."""
    descriptor = open_file(directory, leaf)
    if descriptor is None:
        return None
    with closing_descriptor(descriptor):
        found = os.fstat(descriptor)
        checksum = _checksum(descriptor, _generation(found))
        return ObjectInfo(name=name, generation=_generation(found), size=found.st_size, crc32c=checksum)


def _checksum(descriptor: int, generation: int) -> str:
    """Return the checksum that the file carries if it is the one of this generation, else compute it."""
    with contextlib.suppress(OSError):
        kept = os.getxattr(descriptor, _CHECKSUM_ATTRIBUTE).decode().split(" ")
        if kept[0] == str(generation):
            return kept[-1]
    with io.FileIO(descriptor, closefd=False) as file:
        return crc32c_from_blocks(iter(functools.partial(file.read, BLOCK_BYTES), b""))
