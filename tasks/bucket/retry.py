"""Trying again: how often, with what pauses, until when. Knows nothing of any library."""

import logging
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_SHORTEST_REQUEST_SECONDS = 1.0


def _count_nothing() -> None:
    """Count nothing."""


#: Called before an operation of this thread is tried again: for metrics.
on_retry: ContextVar[Callable[[], None]] = ContextVar("on_retry", default=_count_nothing)


@dataclass(frozen=True)
class RetryPolicy:
    """How a bucket operation is tried again.

    Pauses are drawn between zero and a limit that doubles each time ("full jitter"): many workers that met the same
    outage don't come back in step.
    """

    #: No try begins later than this after the first one, seconds.
    deadline_seconds: float
    #: A try that neither sends nor receives anything for so long has failed, seconds.
    request_seconds: float = 30.0
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 15.0


def call_with_retries(
    attempt: Callable[[float], Result],
    policy: RetryPolicy,
    *,
    is_transient: Callable[[Exception], bool],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Return what `attempt(timeout_seconds)` returns, tried again after each transient error until the deadline.

    The time-out that a try is given never reaches far past the deadline. Raises what the last try raised.
    """
    until = clock() + policy.deadline_seconds
    limit = policy.first_pause_seconds
    while True:
        remaining = max(until - clock(), _SHORTEST_REQUEST_SECONDS)
        try:
            return attempt(min(policy.request_seconds, remaining))
        except Exception as error:
            pause = random.uniform(0, limit)  # noqa: S311
            if not is_transient(error) or clock() + pause >= until:
                raise
            on_retry.get()()
            logger.info("The bucket did not answer (%s); trying again in %.1f s", _brief(error), pause)
        sleep(pause)
        limit = min(2 * limit, policy.longest_pause_seconds)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
