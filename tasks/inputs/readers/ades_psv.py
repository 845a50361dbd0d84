"""ADES as PSV: header lines, keyword records (column names) wherever they stand, rows with fields between bars.

A keyword record is told as iau-ades' own converter tells it: each of its fields begins with a letter or is empty. A
row never looks so, since its obsTime begins with a digit.
"""

import functools
import re
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.errors import BadInputError
from tasks.inputs.readers.ades import REQUIRED, ades_blocks
from tasks.inputs.readers.blocks import Block, in_order
from tasks.inputs.readers.detections import THOR_COLUMNS
from tasks.inputs.readers.row_blocks import BLOCK_BYTES, LONGEST_ROW_BYTES, UTF8_MARK, LongRowError, row_blocks
from tasks.inputs.table_file import TableFile
from tasks.wording import counted

FIRST_LINE = re.compile(rb"\s*# *version *= *\S+")
"""How a PSV file begins."""

HEADER_LINES = re.compile(rb"(?:^[ \t]*[#!].*\n?)+", re.MULTILINE)

KEYWORD = b"obsTime"
"""Stands in every keyword record: all kinds of observations have a time."""

FIELDS_OF_NAMES = re.compile(rb"[ \t]*+(?:[A-Za-z_][^|]*+)?(?:\|[ \t]*+(?:[A-Za-z_][^|]*+)?)*+\r?")

BLANK_LINE = re.compile(rb"^[ \t\r]*$", re.MULTILINE)

LONGEST_LINE_TOLD = 80


def is_ades_psv(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is ADES PSV, perhaps without its first line, `# version=`."""
    start = start.removeprefix(UTF8_MARK)
    if FIRST_LINE.match(start):
        return True
    lines = (line for line in start.split(b"\n") if line.strip() and not line.lstrip().startswith((b"#", b"!")))
    first = next(lines, b"")
    return _is_keyword_record(first) and b"|" in first


def _is_keyword_record(line: bytes) -> bool:
    if FIELDS_OF_NAMES.fullmatch(line) is None:
        return False
    return any(each.strip() == KEYWORD for each in line.split(b"|"))


@dataclass(frozen=True)
class PsvSource:
    """ADES as PSV."""

    file: BinaryIO
    name: str
    #: Column of the truth, where there is one.
    object_id: str = THOR_COLUMNS.object_id
    block_bytes: int = BLOCK_BYTES
    longest_row_bytes: int = LONGEST_ROW_BYTES
    unit: str = "rows"

    def blocks(self, pool: Executor) -> Iterator[Block]:
        """Yield the rows in blocks; see `Source`."""
        return ades_blocks(self.name, functools.partial(self._tables, pool), object_id=self.object_id)

    def _tables(self, pool: Executor, wanted: Container[str] | None, seen: dict[str, None]) -> Iterator[TableFile]:
        """Yield the rows of each section in blocks; see `Passage`."""
        self.file.seek(0)
        if self.file.read(len(UTF8_MARK)) != UTF8_MARK:
            self.file.seek(0)
        sections = _Sections(self.name, seen)
        pieces = row_blocks(self.file, block_bytes=self.block_bytes, longest_row_bytes=self.longest_row_bytes)
        try:
            yield from in_order(pool, functools.partial(_table_of_rows, self.name, wanted), sections.rows(pieces))
        except LongRowError:
            raise BadInputError(
                f"Cannot read {self.name}: a line below line {sections.line - 1} has more than "
                f"{self.longest_row_bytes} bytes. Expected UTF-8 text with fields between bars."
            ) from None
        if not seen:
            raise BadInputError(
                f"Cannot use {self.name}: it has no rows, expected at least one below a line of column names."
            )


class Rows(NamedTuple):
    """Rows below one keyword record, and the names of its columns."""

    body: bytes
    #: Line of the file at which they begin, from 1.
    first_line: int
    names: list[str]
    #: Whether the last row ends with its line: if not, the file may be cut off there.
    is_whole: bool


class _Sections:
    """Goes through the pieces of a PSV file and tells header lines, keyword records and rows apart."""

    def __init__(self, name: str, seen: dict[str, None]) -> None:
        self._name = name
        self._seen = seen
        #: Of the keyword record above; None: there is none since the last header lines.
        self._names: list[str] | None = None
        #: The line that comes next, from 1.
        self.line = 1

    def rows(self, pieces: Iterable[bytes]) -> Iterator[Rows]:
        for piece in pieces:
            body = piece.replace(b"\r\n", b"\n")
            start = 0
            for first, end, names in _special_lines(body):
                yield from self._of_section(body[start:first])
                self._names = None if names is None else self._names_of(names)
                self.line += max(body.count(b"\n", first, end), 1)
                start = end
            yield from self._of_section(body[start:])

    def _of_section(self, body: bytes) -> Iterator[Rows]:
        if body.strip():
            if self._names is None:
                raise self._without_names(body)
            yield Rows(body.removesuffix(b"\n"), self.line, self._names, body.endswith(b"\n"))
        self.line += body.count(b"\n")

    def _without_names(self, body: bytes) -> BadInputError:
        lines = body.split(b"\n")
        place = next(number for number, line in enumerate(lines) if line.strip())
        return BadInputError(
            f"Cannot use {self._name}: line {self.line + place} is {_told(lines[place])}, expected a line of ADES' "
            "column names between bars, obsTime among them: header lines (# and !) end what those above were good for. "
            "Repeat the column names there."
        )

    def _names_of(self, record: bytes) -> list[str]:
        try:
            names = [each.strip() for each in record.decode().split("|")]
        except UnicodeDecodeError as error:
            raise BadInputError(f"Cannot read {self._name}: line {self.line}: {error}. Expected UTF-8.") from error
        if len(set(names)) != len(names) or not all(names):
            raise BadInputError(
                f"Cannot use {self._name}: line {self.line} is {_told(record)}, expected column names between "
                "bars, each once. Correct the file and submit again."
            )
        self._seen.update(dict.fromkeys(names))
        return names


def _special_lines(body: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield where header lines (None) and keyword records (the line) begin and end, in order."""
    found: list[tuple[int, int, bytes | None]] = [
        (each.start(), each.end(), None) for each in HEADER_LINES.finditer(body)
    ]
    at = body.find(KEYWORD)
    while at >= 0:
        first, end = body.rfind(b"\n", 0, at) + 1, body.find(b"\n", at) + 1 or len(body)
        line = body[first:end].rstrip(b"\n")
        if _is_keyword_record(line):
            found.append((first, end, line))
        at = body.find(KEYWORD, end)
    yield from sorted(found)


def _table_of_rows(name: str, wanted: Container[str] | None, rows: Rows) -> TableFile:
    chosen = [each for each in rows.names if wanted is None or each in wanted]
    body, lines = _without_blank_lines(rows)
    try:
        table = _parsed(body, rows.names)
    except pa.ArrowInvalid as error:
        padded = _with_all_fields(body, lines, rows, name)
        if padded == body:
            raise _not_text(body, lines, rows, name) from error
        try:
            table = _parsed(padded, rows.names)
        except pa.ArrowInvalid:
            raise _not_text(body, lines, rows, name) from error
    return TableFile(name, pa.table({each: _trimmed(table[each]) for each in chosen}), lines)


def _parsed(body: bytes, names: list[str]) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.py_buffer(body),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(body) + 1),
        parse_options=pyarrow.csv.ParseOptions(delimiter="|", quote_char=False, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _without_blank_lines(rows: Rows) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return the rows and the number of each one's line."""
    if BLANK_LINE.search(rows.body) is None:
        return rows.body, rows.first_line + np.arange(rows.body.count(b"\n") + 1, dtype=np.int64)
    lines = rows.body.split(b"\n")
    kept = [number for number, line in enumerate(lines) if line.strip()]
    return b"\n".join(lines[number] for number in kept), rows.first_line + np.array(kept, dtype=np.int64)


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _with_all_fields(body: bytes, lines: npt.NDArray[np.int64], rows: Rows, name: str) -> bytes:
    """Return the rows with the bars that some leave out at their ends; refuse one that has too many or lacks a value.

    iau-ades' converter takes such rows, too. What must be there must be there; and the last row of a file that does
    not end with a line's end may be cut off.
    """
    count, least = len(rows.names), _least_fields(rows.names)
    padded = []
    for place, (line, row) in enumerate(zip(lines.tolist(), body.split(b"\n"), strict=True), 1):
        fields = row.count(b"|") + 1
        may_be_short = place < len(lines) or rows.is_whole
        if fields > count or fields < (least if may_be_short else count):
            raise BadInputError(
                f"Cannot use {name}: line {line} has {counted(fields, 'field')}, expected {count} "
                f"({', '.join(rows.names)}). Correct the file and submit again."
            )
        padded.append(row + b"|" * (count - fields))
    return b"\n".join(padded)


def _least_fields(names: list[str]) -> int:
    """Return how many fields a row needs at least, so that none of those that must be there is missing."""
    return max(place for place, each in enumerate(names, 1) if each in {*REQUIRED, KEYWORD.decode()})


def _not_text(body: bytes, lines: npt.NDArray[np.int64], rows: Rows, name: str) -> BadInputError:
    for line, row in zip(lines.tolist(), body.split(b"\n"), strict=True):
        for column, value in zip(rows.names, row.split(b"|"), strict=False):
            try:
                value.decode()
            except UnicodeDecodeError:
                return BadInputError(
                    f"Cannot read {name}: column {column!r}, line {line} is {_told(value.strip())}, expected UTF-8. "
                    "Save the file as UTF-8 and submit again."
                )
    return BadInputError(f"Cannot read {name}: expected UTF-8 text with fields between bars.")


def _told(line: bytes) -> str:
    return repr(line.decode(errors="backslashreplace")[:LONGEST_LINE_TOLD])
