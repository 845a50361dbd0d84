"""Ids of jobs and tasks, and how an id becomes a safe part of an object name. Pure."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import NewType

from tasks.errors import BadInputError

JobId = NewType("JobId", str)
TaskId = NewType("TaskId", str)

MAX_ID_LENGTH = 128
"""Longest id in characters: two of them and the layout stay well below 1024 bytes, the limit of an object name."""

_SAFE_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_HASH_LENGTH = 8
_OBJECT_HASH_LENGTH = 16
_OBJECT_SLUG_LENGTH = 80


def is_safe_id(text: str) -> bool:
    """Tell whether `text` can stand in object names and file names as it is: no `/`, no `..`, no control characters."""
    return len(text) <= MAX_ID_LENGTH and ".." not in text and _SAFE_ID.fullmatch(text) is not None


def job_id_from_text(text: str) -> JobId:
    """Return `text` as a job id.

    Raises
    ------
    BadInputError
        If it is not a safe id.
    """
    if not is_safe_id(text):
        raise BadInputError(
            f"Cannot use job id {text!r}: expected at most {MAX_ID_LENGTH} letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit, without '..'. Choose another id."
        )
    return JobId(text)


def job_id_from_object(name: str, generation: int) -> JobId:
    """Return the id of the job that is made from an object: its own for every name and generation, always the same."""
    digest = hashlib.sha256(f"{name}\n{generation}".encode()).hexdigest()[:_OBJECT_HASH_LENGTH]
    slug = _slug(name.rpartition(".")[0] or name)[:_OBJECT_SLUG_LENGTH].strip("-")
    return JobId(f"{slug or 'table'}-{digest}")


def task_ids_from_orbit_ids(orbit_ids: Sequence[str]) -> list[TaskId]:
    """Return one task id per orbit id, in the same order; the same orbit ids always give the same task ids.

    An orbit id that is a safe object name is its own task id, as long as no other differs from it by upper and lower
    case alone (local file systems may not tell them apart). Any other becomes a slug with a short hash of the id.

    Raises
    ------
    BadInputError
        If an orbit id is there twice.
    """
    folded = [orbit_id.casefold() for orbit_id in orbit_ids]
    clashes = {name for name, count in _counts(folded).items() if count > 1}
    repeated = [orbit_id for orbit_id, count in _counts(orbit_ids).items() if count > 1]
    if repeated:
        raise BadInputError(
            f"Cannot make one task per test orbit: orbit_id {repeated[0]!r} is there "
            f"{list(orbit_ids).count(repeated[0])} times. Give each test orbit an id of its own."
        )
    return [
        TaskId(orbit_id) if is_safe_id(orbit_id) and name not in clashes else _slug_with_hash(orbit_id)
        for orbit_id, name in zip(orbit_ids, folded, strict=True)
    ]


def _counts(names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _slug_with_hash(orbit_id: str) -> TaskId:
    slug = _slug(orbit_id)[:40] or "orbit"
    digest = hashlib.sha256(orbit_id.encode()).hexdigest()[:_HASH_LENGTH]
    return TaskId(f"{slug}-{digest}")


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_text).strip("-")
