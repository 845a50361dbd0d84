"""What the doctor says about one thing: how it is, what was found, and what to do. Pure."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]
"""ok: as it should be. warning: it works, and a person should know. problem: jobs fail, or promises do not hold."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    found: str
    #: What to do; None when all is well.
    advice: str | None = None


def ok(about: str, found: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(about, "ok", found)


def warning(about: str, found: str, advice: str) -> Finding:
    """Say that something works, and what a person should know and may do."""
    return Finding(about, "warning", found, advice)


def problem(about: str, found: str, advice: str) -> Finding:
    """Say that something is wrong, and what to do."""
    return Finding(about, "problem", found, advice)
