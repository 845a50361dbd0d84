"""The switch that keeps a Prefect server out of the way: healthy; one failure; nothing is asked for a minute; again.

A circuit breaker for each server and process. What asks is `clients`; who is refused goes on without being shown.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import lru_cache

REST_SECONDS = 60.0
"""After a failure a server is asked nothing for this time."""

logger = logging.getLogger(__name__)


class Switch:
    """Whether a server may be asked. From any thread."""

    def __init__(self, server: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        #: When it failed last; None: it is healthy.
        self._failed_at: float | None = None

    def may_ask(self) -> bool:
        """Tell whether to ask: it is healthy, or has rested for long enough."""
        with self._lock:
            return self._failed_at is None or self._clock() - self._failed_at >= REST_SECONDS

    def answered(self) -> None:
        """Take note of an answer, be it a refusal: the server is there."""
        with self._lock:
            was_healthy, self._failed_at = self._failed_at is None, None
        if not was_healthy:
            logger.info("Prefect at %s answers again: what is done from now on is shown.", self._server)

    def failed(self, why: str) -> None:
        """Take note that the server gave no answer, or could not serve."""
        with self._lock:
            was_healthy, self._failed_at = self._failed_at is None, self._clock()
        if was_healthy:
            logger.warning(
                "Prefect at %s fails (%s): the work goes on, and what is done is not shown. It is asked again in %g s.",
                self._server,
                why,
                REST_SECONDS,
            )


@lru_cache(maxsize=8)
def switch_of(server: str) -> Switch:
    """Return the switch of the server at that URL in this process; its log lines leave out a password in it."""
    return Switch(server.rpartition("@")[2])
