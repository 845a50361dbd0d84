"""Directories in which upstream's files live: each belongs to one process, and goes when that process has gone.

A process that is killed, or leaves by `os._exit`, removes nothing. So each directory holds a lock of its owner, and who
can take the lock removes the directory: the supervisor when its child has ended, and whoever makes a new one.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "thor-upstream-"
LOCK = "lock"


class OwnDirectory:
    """A new directory below TMPDIR, this process's as long as it lives or until `remove`."""

    def __init__(self) -> None:
        remove_left_directories()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # It is locked before it has its name: nobody finds a lock there that is free although its owner lives.
        unnamed = self.path / f"{LOCK}.new"
        self._lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self.path / LOCK)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_left_directories() -> None:
    """Remove the directories of processes that are no more. Safe beside living ones, and beside others that do it."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it is gone already, is another user's, or its owner lives
            lock = os.open(directory / LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)
