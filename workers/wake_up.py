"""Waiting for whatever comes first: bytes of the child, a finished bucket operation, a signal."""

import contextlib
import select
import socket
from collections.abc import Sequence


class WakeUp:
    """A wait that signals and other threads can end."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)

    @property
    def signal_fd(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._far.fileno()

    def wake(self) -> None:
        """End the wait under way, or the next one. From any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it rings already
            self._far.send(b"\0")

    def wait(self, seconds: float, fds: Sequence[int] = ()) -> None:
        """Wait until one of `fds` can be read, somebody rings, or the time is over."""
        select.select([self._near.fileno(), *fds], [], [], max(seconds, 0.0))
        with contextlib.suppress(BlockingIOError):
            while self._near.recv(4096):
                pass
