"""Several workers on one machine: a parent that starts them, passes signals on, restarts one that was killed."""

import logging
import os
import subprocess
import time
from collections.abc import Sequence

from tasks.worker_processes import worker_environment
from workers.shutdown import REQUESTS, Shutdown
from workers.wake_up import WakeUp

logger = logging.getLogger(__name__)

REAP_SECONDS = 0.5
"""A worker that ended is noticed after this time at most."""
RESTART_PAUSE_SECONDS = 1.0
"""A killed worker is replaced no sooner than this after its start, lest a machine that kills at once be kept busy."""


class Fleet:
    """A fixed number of worker processes; `command` starts one, given `--member` and `--parent-pid` besides."""

    def __init__(self, *, command: Sequence[str], size: int) -> None:
        self._command = command
        self._shutdown = Shutdown(drain_seconds=None)
        self._wake_up = WakeUp()
        self._size = size
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._signals_passed_on = 0
        self._worst_exit_code = 0

    def run(self) -> int:
        """Return when all workers have left: 0, or the exit code of one that could not work."""
        self._shutdown.listen(self._wake_up)
        for place in range(self._size):
            self._start(place)
        while self._workers:
            self._wake_up.wait(REAP_SECONDS)
            self._shutdown.announce()
            self._pass_signals_on()
            for place in tuple(self._workers):
                self._reap(place)
        return self._worst_exit_code

    def _start(self, place: int) -> None:
        # A session of its own: Ctrl-C reaches the parent alone, which passes it on once.
        process = subprocess.Popen(
            [*self._command, f"--member={place}", f"--parent-pid={os.getpid()}"],
            env=worker_environment(self._size),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._workers[place] = (process, time.monotonic())
        logger.info("Started worker %d.", process.pid)

    def _pass_signals_on(self) -> None:
        while self._signals_passed_on < min(self._shutdown.requests, len(REQUESTS)):
            request = REQUESTS[self._signals_passed_on]
            self._signals_passed_on += 1
            for process, _ in self._workers.values():
                process.send_signal(request)

    def _reap(self, place: int) -> None:
        process, started_at = self._workers[place]
        code = process.poll()
        if code is None:
            return
        was_killed = code < 0
        if was_killed and not self._shutdown.is_requested:
            if time.monotonic() - started_at >= RESTART_PAUSE_SECONDS:
                logger.warning("Worker %d was killed by signal %d; starting another.", process.pid, -code)
                self._start(place)
            return
        del self._workers[place]
        # Asked to leave before it had taken over its signals, it had no task: it left in order.
        did_as_asked = was_killed and -code in REQUESTS
        self._worst_exit_code = max(self._worst_exit_code, 0 if did_as_asked else 1 if was_killed else code)
        logger.info("Worker %d left with exit code %d.", process.pid, code)
