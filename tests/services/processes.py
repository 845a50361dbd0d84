"""Small things that every private service needs: a free port, a wait with a deadline, an end with the parent."""

import socket
import time
from collections.abc import Callable

END_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
"""Before a command: the kernel kills the process when its parent ends, also by kill -9. Part of util-linux."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, pause_seconds: float = 0.02) -> None:
    """Look at `condition` until it holds.

    Raises
    ------
    TimeoutError
        If it does not within `seconds`; it names `what`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:g} s in vain until {what}.")
        time.sleep(pause_seconds)
