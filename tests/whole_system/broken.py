"""Faults of a bucket that pass: a client that tries again gets over them."""

from tests.services.faults import Fault

PASSING_FAULTS = (
    Fault.TOO_MANY_BEFORE,
    Fault.UNAVAILABLE_BEFORE,
    Fault.RESET_BEFORE,
    Fault.UNAVAILABLE_AFTER,
    Fault.RESET_AFTER,
    Fault.TRUNCATED,
    Fault.SLOW,
)
