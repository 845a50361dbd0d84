"""Which names an object may have: those that are safe as an object name and as a path below a directory alike. Pure."""

import re
from typing import Final

from tasks.errors import BadInputError

MAX_NAME_BYTES = 1024
"""Google Cloud Storage's limit on an object name, in bytes of UTF-8."""
MAX_PART_BYTES = 255
"""What common file systems allow between two slashes, in bytes of UTF-8."""
# A listing asks of every file: character by character this took longer than the disk.
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff]")
"""Control characters, backslashes, and lone surrogates: what is not UTF-8 no bucket takes."""
_EMPTY_OR_HIDDEN: Final = re.compile(r"(?:^|/)(?:[./]|\Z)")
"""A part that is empty or begins with a dot."""


def is_object_name(name: str) -> bool:
    """Tell whether an object may be called `name` in every kind of bucket.

    It is a relative path: no empty part, none that begins with "." (so neither "." nor "..", and the directory
    bucket's own files have names that no object has), no backslash and no control character.
    """
    if _FORBIDDEN.search(name) or _EMPTY_OR_HIDDEN.search(name):
        return False
    n_bytes = len(name.encode())
    return n_bytes <= MAX_NAME_BYTES and (n_bytes <= MAX_PART_BYTES or all(map(_is_short, name.split("/"))))


def checked_object_name(name: str) -> str:
    """Return `name`, or raise `BadInputError` when no object may be called that."""
    if not is_object_name(name):
        raise BadInputError(
            f"Cannot use the object name {name[:200]!r}: expected a relative path of at most {MAX_NAME_BYTES} bytes "
            "whose parts are not empty and don't begin with '.', without backslashes and control characters."
        )
    return name


def checked_prefix(prefix: str) -> str:
    """Return `prefix`, or raise `BadInputError` when no object name can begin with it."""
    if prefix and not is_object_name(prefix + "x"):
        raise BadInputError(f"Cannot list objects below {prefix[:200]!r}: no object name begins with it.")
    return prefix


def _is_short(part: str) -> bool:
    return len(part.encode()) <= MAX_PART_BYTES
