"""Queue URLs: which queue they name, and how they and texts that quote them are shown: without their passwords."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tasks.errors import BadInputError

AMQP_SCHEMES: Final = ("amqp", "amqps")
SQLITE_SCHEME: Final = "sqlite"
_USER_AND_PASSWORD: Final = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
"""Up to the last @ of the word: an unescaped `/` or `@` in a password is a common slip. It hides rather too much."""


def scheme_of(url: str) -> str:
    """Return amqp, amqps or sqlite.

    Raises
    ------
    BadInputError
        If the URL names no queue that this product knows.
    """
    scheme = url.partition(":")[0].lower()
    if "://" not in url or scheme not in (*AMQP_SCHEMES, SQLITE_SCHEME):
        raise BadInputError(
            f"Cannot use queue URL {redacted_url(url)!r}: expected amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://..., "
            "or sqlite:///PATH. Correct --queue or THOR_QUEUE."
        )
    return scheme


def sqlite_path(url: str) -> Path:
    """Return the absolute path that a sqlite URL names; three slashes and four mean the same.

    A relative path has no meaning here: client and workers have different working directories.

    Raises
    ------
    BadInputError
        If the URL names a host, or no file.
    """
    path = unquote(url[len(SQLITE_SCHEME) + 3 :]) if url.lower().startswith("sqlite://") else ""
    if not path.startswith("/") or not path.strip("/"):
        raise BadInputError(f"Cannot use queue URL {url!r}: expected sqlite:///PATH with an absolute path.")
    return Path("/" + path.lstrip("/"))


def redacted(text: str) -> str:
    """Return the text with the passwords of all URLs in it hidden."""
    return _USER_AND_PASSWORD.sub(r"\1:***@", text)


def redacted_url(url: str) -> str:
    """Return one URL as it may be shown and logged: `***` instead of a password, and without its query.

    It knows where the URL ends, and so hides more than `redacted` can. It shows too little rather than too much where
    a URL is malformed (an unescaped `/`, `?` or `@` in the password).
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.partition("?")[0] if "@" not in url else "***"
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user.partition('?')[0]}{':***' if colon else ''}{at}"
    return f"{scheme}://{shown}{place.partition('?')[0]}"
