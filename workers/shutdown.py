"""How the process is asked to leave.

SIGTERM or Ctrl-C once: finish the task. Twice, or once and the drain limit has passed: give the task back.
"""

import logging
import signal
import time
from types import FrameType

from workers.wake_up import WakeUp

RELEASE_NOW_AT = 2
"""The signal of this number means: now."""

REQUESTS = (signal.SIGTERM, signal.SIGINT)
"""How a process is asked to leave the first time and the second: two signals of one number that come at almost the same
time may count as one."""

logger = logging.getLogger(__name__)


class Shutdown:
    """Counts the requests to leave."""

    def __init__(self, *, drain_seconds: float | None) -> None:
        self._drain_seconds = drain_seconds
        self._requests = 0
        self._first_at = 0.0
        self._has_announced = False

    def listen(self, wake_up: WakeUp) -> None:
        """Take over SIGTERM and SIGINT of this process; a signal ends the wait of `wake_up` at once."""
        signal.set_wakeup_fd(wake_up.signal_fd, warn_on_full_buffer=False)
        for number in REQUESTS:
            signal.signal(number, self._on_signal)

    def conclude(self) -> None:
        """Ignore more signals: the process leaves already, and its exit code should say that it left in order."""
        for number in REQUESTS:
            signal.signal(number, signal.SIG_IGN)

    def request(self) -> None:
        """Ask to leave, once more."""
        if self._requests == 0:
            self._first_at = time.monotonic()
        self._requests += 1

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self._requests

    @property
    def is_requested(self) -> bool:
        """Whether no new task may be begun."""
        return self._requests > 0

    def announce(self) -> None:
        """Log the first request, once. Not from the signal handler, which may interrupt another line."""
        if self.is_requested and not self._has_announced:
            self._has_announced = True
            logger.info("Asked to leave: no new task is begun. Once more, and a task at work is given back at once.")

    @property
    def is_urgent(self) -> bool:
        """Whether the task at work is to be given back."""
        drained = self._drain_seconds is not None and time.monotonic() - self._first_at >= self._drain_seconds
        return self._requests >= RELEASE_NOW_AT or (self.is_requested and drained)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.request()
