"""Keeps one child warm: starts it, replaces it when it died or is worn, gives up when none ever becomes ready."""

import logging
import time
from collections.abc import Sequence

from tasks.engines.upstream_files import remove_left_directories
from tasks.records.assignment import Assignment
from workers.child_process import ChildProcess

MAX_FAILED_STARTS = 3
"""After this many children in a row that never became ready the worker gives up."""
START_SECONDS = 900.0
"""A child that takes longer to become ready is killed: cold compilation of every kernel takes well below a minute."""
DISMISSAL_SECONDS = 5.0
"""Seconds that an idle child has to leave."""

logger = logging.getLogger(__name__)


class ChildCannotStartError(Exception):
    """The computing process never becomes ready: this machine or installation is not fit to work."""


class ChildKeeper:
    """Owner of the child. All methods are for the main thread."""

    def __init__(self, *, command: Sequence[str], tasks_per_child: int | None) -> None:
        self._command = command
        self._tasks_per_child = tasks_per_child
        self._child: ChildProcess | None = None
        self._started_at = 0.0
        self._tasks_begun = 0
        self._failed_starts = 0

    @property
    def fds(self) -> Sequence[int]:
        """Wait for these to be readable, then call `listen`."""
        return self._child.fds if self._child is not None else ()

    def listen(self) -> None:
        """Read what the child printed and told."""
        if self._child is not None:
            self._child.listen()

    def ready_child(self) -> ChildProcess | None:
        """Return the warm child, or None while there is none yet; starts or replaces it.

        Raises
        ------
        ChildCannotStartError
            Several in a row died before they were ready.
        """
        if self._child is not None and self._is_worn():
            self._replace("Replaced the child after %d tasks.", self._tasks_begun)
        if self._child is None:
            self._start()
            return None
        self._child.listen()
        if self._child.is_dead:
            self._reap_dead(self._child)
            return None
        if not self._child.is_ready:
            if time.monotonic() - self._started_at > START_SECONDS:
                self._child.kill(f"it was not ready after {START_SECONDS:g} s")
            return None
        self._failed_starts = 0
        return self._child

    def assign(self, child: ChildProcess, assignment: Assignment) -> None:
        """Have the child begin an attempt."""
        self._tasks_begun += 1
        child.assign(assignment)

    def close(self) -> None:
        """Part from the child."""
        if self._child is not None:
            # One that still compiles would not hear it.
            self._child.dismiss(grace_seconds=DISMISSAL_SECONDS if self._child.is_ready else 0.0)
            self._child = None
            remove_left_directories()  # a child that is gone, by whatever way, has removed nothing

    def _is_worn(self) -> bool:
        return self._tasks_per_child is not None and self._tasks_begun >= self._tasks_per_child

    def _start(self) -> None:
        self._child = ChildProcess(self._command)
        self._started_at = time.monotonic()
        self._tasks_begun = 0
        logger.info("Started child %d.", self._child.pid)

    def _replace(self, why: str, *values: object) -> None:
        logger.info(why, *values)
        self.close()

    def _reap_dead(self, child: ChildProcess) -> None:
        if not child.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise ChildCannotStartError(
                    f"Cannot start the computing process: {self._failed_starts} in a row died before they were ready. "
                    f"Last: {child.cause_of_death}\nRun `make run` or the child's command by hand to see why."
                )
        self._replace("Child %d is gone: %s", child.pid, child.cause_of_death)
