"""ADES as PSV: blocks of header lines, a line of column names, rows with fields between bars."""

import functools
import re
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.errors import BadInputError
from tasks.inputs.readers.ades import ades_blocks
from tasks.inputs.readers.blocks import Block, in_order
from tasks.inputs.readers.detections import THOR_COLUMNS
from tasks.inputs.readers.row_blocks import BLOCK_BYTES, LONGEST_ROW_BYTES, UTF8_MARK, LongRowError, row_blocks
from tasks.inputs.table_file import TableFile

FIRST_LINE = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*# *version *= *\d+")
"""How a PSV file begins."""

HEADER_LINES = re.compile(rb"(?:^[#!].*\n?)+", re.MULTILINE)


def is_ades_psv(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is ADES PSV."""
    return FIRST_LINE.match(start) is not None


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
    """Rows of one section, and the names of its columns."""

    body: bytes
    #: Line of the file at which they begin, from 1.
    first_line: int
    names: list[str]


class _Sections:
    """Goes through the pieces of a PSV file and tells header lines, lines of column names and rows apart."""

    def __init__(self, name: str, seen: dict[str, None]) -> None:
        self._name = name
        self._seen = seen
        self._names: list[str] | None = None
        #: Empty lines: nothing at the end of a section, and a row without fields before another row.
        self._empty_lines = 0
        #: The line that comes next, from 1.
        self.line = 1

    def rows(self, pieces: Iterable[bytes]) -> Iterator[Rows]:
        for piece in pieces:
            body = piece.replace(b"\r\n", b"\n")
            start = 0
            for header in HEADER_LINES.finditer(body):
                yield from self._of_section(body[start : header.start()])
                self.line += body.count(b"\n", header.start(), header.end())
                self._names, self._empty_lines = None, 0
                start = header.end()
            yield from self._of_section(body[start:])

    def _of_section(self, body: bytes) -> Iterator[Rows]:
        while self._names is None:
            if not body:
                return
            head, _, body = body.partition(b"\n")
            if head.strip():
                self._names = self._names_of(head)
                self._seen.update(dict.fromkeys(self._names))
            self.line += 1
        rows = body.rstrip(b"\n")
        if rows:
            first_line = self.line - self._empty_lines
            yield Rows(b"\n" * self._empty_lines + rows, first_line, self._names)
            self._empty_lines = 0
            self.line += rows.count(b"\n") + 1
            body = body[len(rows) + 1 :]
        self._empty_lines += len(body)
        self.line += len(body)

    def _names_of(self, head: bytes) -> list[str]:
        try:
            names = [each.strip() for each in head.decode().split("|")]
        except UnicodeDecodeError as error:
            raise BadInputError(f"Cannot read {self._name}: {error}. Expected UTF-8.") from error
        if len(set(names)) != len(names) or not all(names):
            raise BadInputError(
                f"Cannot use {self._name}: line {self.line} is {head.decode()[:80]!r}, expected column names between "
                "bars, each once. Correct the file and submit again."
            )
        return names


def _table_of_rows(name: str, wanted: Container[str] | None, rows: Rows) -> TableFile:
    chosen = [each for each in rows.names if wanted is None or each in wanted]
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(rows.body),
            read_options=pyarrow.csv.ReadOptions(
                column_names=rows.names, use_threads=False, block_size=len(rows.body) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter="|", quote_char=False, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(rows.names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _wrong_row(rows, name) from error
    lines = rows.first_line + np.arange(len(table), dtype=np.int64)
    return TableFile(name, pa.table({each: _trimmed(table[each]) for each in chosen}), lines)


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _wrong_row(rows: Rows, name: str) -> BadInputError:
    for line, row in enumerate(rows.body.split(b"\n"), rows.first_line):
        fields = row.count(b"|") + 1
        if row and fields != len(rows.names):  # an empty line is a row whose fields are all blank
            return BadInputError(
                f"Cannot use {name}: line {line} has {fields} fields, expected {len(rows.names)} "
                f"({', '.join(rows.names)}). Correct the file and submit again."
            )
    return BadInputError(f"Cannot read {name}: expected UTF-8 text with fields between bars.")
