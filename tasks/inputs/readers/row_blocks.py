"""Cuts a csv, or any file of lines, into blocks that end where a row ends. No row is parsed here."""

import functools
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

BLOCK_BYTES = 8 << 20
"""So much of a file is read and parsed at one time."""

LONGEST_ROW_BYTES = 16 << 20
"""A row beyond it is none: a quote was opened and not closed, or it is no file of rows."""

UTF8_MARK = b"\xef\xbb\xbf"

RowEnd = Callable[[bytes], int]
"""Where the last (or the first) whole row of some bytes ends, which begin where a row begins; 0: none does."""

_QUOTE = ord('"')
_LINE_END = ord("\n")


@functools.lru_cache
def _row_patterns(delimiter: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what the first row of a csv looks like, and what all whole rows do."""
    between = re.escape(delimiter)
    field = (
        rb'(?:"(?:[^"]|"")*+"[^'
        + between
        + rb'\r\n]*+|[^"'
        + between
        + rb"\r\n][^"
        + between
        + rb"\r\n]*+|(?=["
        + between
        + rb"\r\n]))"
    )
    row = rb"(?:" + field + rb"(?:" + between + field + rb")*+(?:\r\n|\r(?!\Z)|\n))"
    return re.compile(row), re.compile(row + rb"*+")


class LongRowError(Exception):
    """A row is longer than any may be."""


def last_line_end(data: bytes) -> int:
    """Return where the last whole line ends."""
    return data.rfind(b"\n") + 1


def first_line_end(data: bytes) -> int:
    """Return where the first whole line ends."""
    return data.find(b"\n") + 1


def last_row_end(data: bytes, *, delimiter: bytes = b",") -> int:
    """Return where the last whole row of a csv ends: not at a line's end between quotes."""
    if b'"' not in data:
        return last_line_end(data)
    quotes, lines = _quotes_and_lines(data)
    if not _counting_tells(data, quotes, delimiter):
        found = _row_patterns(delimiter)[1].match(data)
        return found.end() if found else 0
    outside = lines[np.searchsorted(quotes, lines) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def first_row_end(data: bytes, *, delimiter: bytes = b",") -> int:
    """Return where the first whole row of a csv ends."""
    if b'"' not in data:
        return first_line_end(data)
    quotes, lines = _quotes_and_lines(data)
    if not _counting_tells(data, quotes, delimiter):
        found = _row_patterns(delimiter)[0].match(data)
        return found.end() if found else 0
    outside = lines[np.searchsorted(quotes, lines) % 2 == 0]
    return int(outside[0]) + 1 if len(outside) else 0


def _quotes_and_lines(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    characters = np.frombuffer(data, dtype=np.uint8)
    return np.flatnonzero(characters == _QUOTE), np.flatnonzero(characters == _LINE_END)


def _counting_tells(data: bytes, quotes: np.ndarray, delimiter: bytes) -> bool:
    """Tell whether every other quote opens a field (or doubles the one before), so that counting them tells which do.

    A quote within a field that has none at its beginning is only a character.
    """
    opening = quotes[::2]
    before = np.frombuffer(data, dtype=np.uint8)[opening[opening > 0] - 1]
    return bool(np.all(np.isin(before, np.frombuffer(delimiter + b'\r\n"', dtype=np.uint8))))


def row_blocks(
    file: BinaryIO,
    *,
    block_bytes: int = BLOCK_BYTES,
    last_end: RowEnd = last_line_end,
    first_end: RowEnd = first_line_end,
    longest_row_bytes: int = LONGEST_ROW_BYTES,
) -> Iterator[bytes]:
    """Yield the file from its place on, in blocks of whole rows; the last row may lack its line's end.

    Blocks have about `block_bytes`, and more only where one row has more.

    Raises
    ------
    LongRowError
        After all blocks before it, if a row has more than `longest_row_bytes`, whatever the size of the blocks.
    """
    step = min(block_bytes, longest_row_bytes)
    rest = b""
    while read := file.read(step):
        data = rest + read
        end = last_end(data)
        if len(rest) + step > longest_row_bytes and (first_end(data) if end else len(data)) > longest_row_bytes:
            raise LongRowError
        if end:
            yield data[:end]
        rest = data[end:]
    if rest:
        yield rest
