"""A wall clock that a test moves, while the process runs: a file says by how many seconds."""

import datetime as dt
import os
import time
from pathlib import Path

from tasks.jobs import status_file

VARIABLE = "TEST_CLOCK_FILE"


class _MovedDatetime(dt.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


def follow_file_if_asked() -> None:
    """Move this process's clock as the file says that `TEST_CLOCK_FILE` names, also while it runs."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return
    real_ns, path = time.time_ns, Path(name)

    def moved_ns() -> int:
        return real_ns() + int(float(path.read_text()) * 1e9)

    time.time_ns = moved_ns
    time.time = lambda: moved_ns() / 1e9
    status_file.datetime = _MovedDatetime
