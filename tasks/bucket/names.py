"""Which names an object may have: those that are safe as an object name and as a path below a directory alike. Pure."""

from tasks.errors import BadInputError

MAX_NAME_BYTES = 1024
"""Google Cloud Storage's limit on an object name, in bytes of UTF-8."""
MAX_PART_BYTES = 255
"""What common file systems allow between two slashes, in bytes of UTF-8."""


def is_object_name(name: str) -> bool:
    """Tell whether an object may be called `name` in every kind of bucket.

    It is a relative path: no empty part, none that begins with "." (so neither "." nor "..", and the directory
    bucket's own files have names that no object has), no backslash and no control character.
    """
    return _is_encodable(name) and len(name.encode()) <= MAX_NAME_BYTES and all(map(_is_part, name.split("/")))


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


def _is_encodable(name: str) -> bool:
    """Lone surrogates stand for bytes that are not UTF-8: no bucket takes them."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _is_part(part: str) -> bool:
    return (
        part != ""
        and not part.startswith(".")
        and "\\" not in part
        and len(part.encode()) <= MAX_PART_BYTES
        and not any(character < " " or "\x7f" <= character <= "\x9f" for character in part)
    )
