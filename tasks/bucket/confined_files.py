"""Files below a root directory, opened part by part, so that neither a name nor a symbolic link leads out of it.

Nothing here knows of objects or generations. Every function may raise OSError; "absent" comes back as None.
"""

import contextlib
import errno
import fcntl
import os
import random
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Opening a FIFO must not wait for a writer.
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_LONGEST_LOCK_PAUSE_SECONDS = 0.02


@contextlib.contextmanager
def existing_directory(root: Path, parts: Sequence[str]) -> Iterator[int | None]:
    """Open the directory `root/parts`, or yield None when there is none. The root itself may be a link."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts:
            with closing_descriptor(descriptor):
                descriptor = _open_part(descriptor, part)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        yield None
        return
    with closing_descriptor(descriptor):
        yield descriptor


@contextlib.contextmanager
def made_directory(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open the directory `root/parts`, made where it is missing; what was made is durable after the block.

    Raises FileNotFoundError when somebody removes it at this very moment (try again), NotADirectoryError when a file
    or a link stands in the way.
    """
    with contextlib.ExitStack() as opened:
        descriptor = opened.enter_context(closing_descriptor(_open_or_make_root(root)))
        changed = []
        for part in parts:
            parent = descriptor
            below, is_new = _open_or_make_part(parent, part)
            descriptor = opened.enter_context(closing_descriptor(below))
            changed += [parent] * is_new
        yield descriptor
        # After the caller's own fsync, and upwards: a journal has then written them out already, so they cost nothing.
        for parent in reversed(changed):
            os.fsync(parent)


@contextlib.contextmanager
def closing_descriptor(descriptor: int) -> Iterator[int]:
    """Close the descriptor at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(directory: int, name: str) -> int | None:
    """Open the regular file `name` of the directory for reading; None when there is none."""
    try:
        descriptor = os.open(name, _REGULAR, dir_fd=directory)
    except OSError as error:
        # ENXIO: a socket, or a FIFO that nobody reads.
        if error.errno not in _ABSENT | {errno.ENXIO}:
            raise
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def stat_file(directory: int, name: str) -> os.stat_result | None:
    """Return the state of the regular file `name` of the directory; None when there is none."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


@contextlib.contextmanager
def exclusive_lock(directory: int, name: str, *, seconds: float) -> Iterator[int]:
    """Hold the lock file `name` of the directory alone; yield its descriptor.

    Raises TimeoutError when others hold it for so long. Waiting in `flock` itself would have no end when the holder
    is stopped (SIGSTOP), so the lock is tried again and again.
    """
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666, dir_fd=directory)
    with closing_descriptor(descriptor):
        _wait_for_lock(descriptor, name, until=time.monotonic() + seconds)
        try:
            yield descriptor
        finally:
            # Closing alone would leave the lock to a child that was forked meanwhile and shares the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def remove_empty_directories(root: Path, parts: Sequence[str]) -> None:
    """Remove `root/parts` and its parents below the root, as long as they are empty. Never the root."""
    for depth in range(len(parts), 0, -1):
        with existing_directory(root, parts[: depth - 1]) as parent:
            if parent is None:
                continue
            try:
                os.rmdir(parts[depth - 1], dir_fd=parent)
            except OSError:
                # Not empty any more, or gone: another process works here, and the tidying is its own.
                return


def walk_files(
    directory: int, *, below: str, begins: str, ends: str, is_wanted: Callable[[str], bool]
) -> Iterator[tuple[int, str, str]]:
    """Yield (directory descriptor, file name, path from the root) of every regular file, in the order of the paths.

    Parameters
    ----------
    directory
        Where to begin: an open directory whose path from the root is `below` (empty, or ending in "/").
    begins
        Only paths that begin so; nothing else is opened.
    ends
        Only paths that end so.
    is_wanted
        Paths for which it is false are left out; a directory is asked for with the name of a child, "x", appended.
    """
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    # "a-b" comes before "a/c", because "-" < "/": a directory takes its place by the name with its slash.
    for name, is_directory in sorted(found, key=lambda each: each[0] + "/" * each[1]):
        path = below + name
        if not is_directory and path.endswith(ends) and path.startswith(begins) and is_wanted(path):
            yield directory, name, path
        elif is_directory and f"{path}/".startswith(begins[: len(path) + 1]) and is_wanted(f"{path}/x"):
            yield from _walk_below(directory, name, below=f"{path}/", begins=begins, ends=ends, is_wanted=is_wanted)


def _walk_below(
    parent: int, name: str, *, below: str, begins: str, ends: str, is_wanted: Callable[[str], bool]
) -> Iterator[tuple[int, str, str]]:
    try:
        descriptor = _open_part(parent, name)
    except OSError as error:
        if error.errno in _ABSENT:
            return
        raise
    with closing_descriptor(descriptor):
        yield from walk_files(descriptor, below=below, begins=begins, ends=ends, is_wanted=is_wanted)


def _open_part(parent: int, part: str) -> int:
    return os.open(part, _DIRECTORY, dir_fd=parent)


def _open_or_make_part(parent: int, part: str) -> tuple[int, bool]:
    """Return the descriptor of the directory, and whether it may be new."""
    with contextlib.suppress(FileNotFoundError):
        return _open_part(parent, part), False
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, dir_fd=parent)
    return _open_part(parent, part), True


def _open_or_make_root(root: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for directory in reversed([root, *root.parents]):
        if not directory.is_dir():
            directory.mkdir(exist_ok=True)
            with closing_descriptor(os.open(directory.parent, os.O_RDONLY)) as parent:
                os.fsync(parent)
    return os.open(root, os.O_RDONLY | os.O_DIRECTORY)


def _wait_for_lock(descriptor: int, name: str, *, until: float) -> None:
    pause = 0.0005
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() + pause > until:
            raise TimeoutError(errno.ETIMEDOUT, f"another process has held the lock file {name} all the time")
        time.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311
        pause = min(2 * pause, _LONGEST_LOCK_PAUSE_SECONDS)
