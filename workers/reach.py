"""Whether queue and bucket answer a worker: how long it may go on without them, and what its health check reads."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Service = Literal["queue", "bucket"]

NOTE_SECONDS = 10.0
"""Seconds between two notes for the health check: it costs a small local file."""
HUNG_SECONDS = 60.0
"""A worker serves its queue's connection every half second; one that has written no note for this time hangs."""
UNREACHED_SECONDS = 180.0
"""A queue or bucket that has not answered for this time makes the worker unhealthy: restarts of a broker take less."""


class OutOfReachError(Exception):
    """Queue or bucket has not answered for longer than this worker is to wait."""


@dataclass
class Reach:
    """Since when queue and bucket have not answered. For the main thread of a worker."""

    #: Seconds without queue or bucket after which a worker leaves; None: it stays.
    limit_seconds: float | None = None
    #: Where the health check looks; None: nowhere.
    folder: Path | None = None
    clock: Callable[[], float] = time.monotonic
    #: Told of each note: for metrics.
    tell: Callable[[Service, bool], None] = lambda _service, _answers: None
    _silent_since: dict[Service, float] = field(default_factory=dict)
    _noted_at: float = float("-inf")

    def note(self, service: Service, *, answers: bool) -> None:
        """Take down whether a service answers. Call it often: it writes the note for the health check as well."""
        now = self.clock()
        self.tell(service, answers)
        if answers:
            self._silent_since.pop(service, None)
        else:
            self._silent_since.setdefault(service, now)
        if now - self._noted_at >= NOTE_SECONDS:
            self._noted_at = now
            self._write_note(now)

    def require(self) -> None:
        """Return if it makes sense to wait on.

        Raises
        ------
        OutOfReachError
            A service has not answered for `limit_seconds`.
        """
        for service, since in self._silent_since.items():
            silent = self.clock() - since
            if self.limit_seconds is not None and silent >= self.limit_seconds:
                raise OutOfReachError(
                    f"The {service} has not answered for {silent:.0f} s, and this worker was started on demand "
                    f"(--idle-timeout): it leaves after {self.limit_seconds:g} s (THOR_OUT_OF_REACH_SECONDS). "
                    "A task that it had is taken over by another worker."
                )

    def close(self) -> None:
        """Remove the health note: this worker is no more."""
        if self.folder is not None:
            self._path(self.folder).unlink(missing_ok=True)

    def _write_note(self, now: float) -> None:
        if self.folder is None:
            return
        note = {"at": now, "silent_seconds": {name: now - since for name, since in self._silent_since.items()}}
        with contextlib.suppress(OSError):  # a full disk is no reason to stop working; the check calls the worker hung
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self._path(self.folder).with_suffix(".new")
            fresh.write_text(json.dumps(note))
            fresh.replace(self._path(self.folder))

    @staticmethod
    def _path(folder: Path) -> Path:
        return folder / f"{os.getpid()}.json"
