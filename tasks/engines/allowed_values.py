"""Which values a setting may have: metadata of the fields in module `settings`, checked when text is parsed.

`field(default=10.0, metadata=more_than(0, up_to=90))` is a number in (0, 90]. Numbers are finite always.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

KEY = "allowed"
"""Key of a field's metadata."""

_KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Allowed:
    """Values that a setting may have, and how that is said."""

    contains: Callable[[int | float | str], bool]
    #: What follows the kind of value in messages: "a finite number" + ", more than 0". Of choices: the whole.
    words: str


ANY = Allowed(lambda _: True, "")
"""Every finite number, every text."""


def at_least(low: float, *, below: float = math.inf) -> Mapping[str, Allowed]:
    """Allow numbers from `low` on and less than `below`."""
    words = f", at least {low:g}" + (f" and less than {below:g}" if below < math.inf else "")
    return {KEY: Allowed(lambda value: not isinstance(value, str) and low <= value < below, words)}


def more_than(low: float, *, up_to: float = math.inf) -> Mapping[str, Allowed]:
    """Allow numbers more than `low` and not more than `up_to`."""
    words = f", more than {low:g}" + (f" and at most {up_to:g}" if up_to < math.inf else "")
    return {KEY: Allowed(lambda value: not isinstance(value, str) and low < value <= up_to, words)}


def one_of(*choices: str) -> Mapping[str, Allowed]:
    """Allow these words."""
    return {KEY: Allowed(lambda value: value in choices, f"one of {', '.join(choices)}")}


def expected_of(kind: type, allowed: Allowed) -> str:
    """Return what a message says was expected."""
    return allowed.words if kind is str and allowed.words else _KINDS[kind] + allowed.words
