"""Tables as people bring them, csv or parquet: read as text first, then checked column by column.

Every check of a column lives here, each with an error that names file, column, row, what was found and expected.
Nothing is guessed: an id that looks like a number stays a string.
"""

import contextlib
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tasks.errors import BadInputError
from tasks.inputs.csv_parsing import reason_of_arrow, text_columns
from tasks.inputs.file_content import START_BYTES, is_parquet, is_xml, looks_like, unpacked
from tasks.inputs.plain_table import plain

NO_NUMBER = r"(?i)^(nan|null|none|na|n/a|<na>|masked|-+)$"
"""What programs write for a number that is not there."""

LONGEST_VALUE = 200
"""So much of a value that is wrong is told."""


@dataclass(frozen=True)
class Range:
    """Which numbers a column may hold, and how that is said."""

    low: float
    high: float
    expected: str
    #: Whether low and high themselves may stand in the column.
    low_is_in: bool = True
    high_is_in: bool = True


class WrongValueError(BadInputError):
    """Values of one column that can't be used."""

    def __init__(self, start: str, rest: str, *, count: int | None, n_rows: int) -> None:
        super().__init__(f"{start}{_counted(count, n_rows)}. {rest}")
        self._parts = start, rest
        #: How many rows are wrong; None: only the first was looked for.
        self.count = count

    def of_whole_file(self, *, count: int | None, n_rows: int) -> "WrongValueError":
        """Return the same about a file of which this was one block."""
        return WrongValueError(*self._parts, count=count, n_rows=n_rows)


def _counted(count: int | None, n_rows: int) -> str:
    return f" ({count} of {n_rows} rows are wrong)" if count is not None and count > 1 else ""


@dataclass
class Checks:
    """Counts the checks of a table. Blocks of a file are checked alike, so a number is the same check in each."""

    begun: int = 0

    def begin(self) -> None:
        """Count one more."""
        self.begun += 1


@dataclass(frozen=True)
class TableFile:
    """The columns of one file, or of one block of its rows, and how it is called in messages."""

    name: str
    table: pa.Table
    #: Line of the file in which each row stands; None: rows are told by their number, from 1 after the header.
    lines: npt.NDArray[np.int64] | None = None
    #: What `lines` counts.
    unit: str = "line"
    #: Rows of the file that stand before the first of the table.
    rows_before: int = 0
    checks: Checks = field(default_factory=Checks, compare=False)

    def require_columns(self, names: list[str]) -> None:
        """Refuse the file when it has no rows, or lacks one of the columns or has it twice."""
        require_names(self.name, self.table.column_names, names)
        require_rows(self.name, len(self.table))

    def has(self, name: str) -> bool:
        """Whether the column is there; a file that has it twice is refused."""
        is_there = name in self.table.column_names
        if is_there:
            require_names(self.name, self.table.column_names, [name])
        return is_there

    def without_first_row(self) -> "TableFile":
        """Return the same file from its second row on."""
        return replace(self, table=self.table.slice(1), rows_before=self.rows_before + 1)

    def flattened(self) -> "TableFile":
        """Return the same file with each field of a nested column as a column: `time` becomes `time.days`, ..."""
        table = self.table
        while any(pa.types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
        return replace(self, table=table.replace_schema_metadata(self.table.schema.metadata))

    def where(self, mask: pa.Array) -> "TableFile":
        """Return the same file with only the rows that are marked."""
        lines = None if self.lines is None else self.lines[mask.to_numpy(zero_copy_only=False)]
        return replace(self, table=self.table.filter(mask), lines=lines)

    def strings(self, name: str) -> pa.Array:
        """Return a column as text, as it stands in the file; null and empty are both null."""
        self.checks.begin()
        column = whole_column(self.table[name])
        if pa.types.is_floating(column.type) and column.is_null(nan_is_null=True).true_count == len(column):
            column = pa.nulls(len(column))  # pandas has no other type for a column without values
        if not pa.types.is_string(column.type):
            if pa.types.is_floating(column.type):
                raise self.error(name, 0, column[0].as_py(), "text: written as numbers, ids lose leading zeros")
            if not (
                pa.types.is_integer(column.type) or pa.types.is_large_string(column.type) or column.type == pa.null()
            ):
                raise BadInputError(
                    f"Cannot use {self.name}: column {name!r} is of type {column.type}, expected text. "
                    "Write it as strings."
                )
            column = column.cast(pa.string())
        return _without_empty(column)

    def lists(self, name: str) -> pa.Array:
        """Return a column of lists of numbers; null: no list."""
        column = whole_column(self.table[name])
        kind = column.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise BadInputError(
                f"Cannot use {self.name}: column {name!r} is of type {kind}, expected lists of numbers. "
                "Write it as lists of float64."
            )
        return column

    def required_strings(self, name: str) -> pa.Array:
        """Return a column as text in which nothing may be empty."""
        column = self.strings(name)
        self.refuse_rows(name, pc.is_null(column), "a value that is not empty")
        return column

    def numbers(self, name: str, allowed: Range) -> pa.Array:
        """Return a column as floats, all finite and in range; refuse one that has lost digits already."""
        self._require_float64(name)
        column = self._floats(name)
        self.refuse_rows(name, pc.is_null(column), allowed.expected)
        return self.in_range(name, column, allowed)

    def numbers_or_null(self, name: str, allowed: Range) -> pa.Array:
        """Return a column as floats in range; null, empty, NaN and infinity all mean that there is none."""
        column = self._floats(name)
        return self.in_range(name, pc.if_else(pc.is_inf(column), pa.scalar(None, pa.float64()), column), allowed)

    def refuse_rows(self, name: str, wrong: pa.Array, expected: str) -> None:
        """Refuse the file when any row of the column is marked as wrong (null: not wrong)."""
        self.checks.begin()
        if pc.any(wrong).as_py():
            mask = pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)
            row = int(np.argmax(mask))
            raise self.error(name, row, self.table[name][row].as_py(), expected, count=int(mask.sum()))

    def error(self, name: str, row: int, found: object, expected: str, *, count: int | None = None) -> WrongValueError:
        """Return the error about one value; `row` counts from 0. `count` None: there may be others."""
        return self.error_at(name, self.place_of(row), found, expected, count=count)

    def error_at(
        self, name: str, place: str, found: object, expected: str, *, count: int | None = None
    ) -> WrongValueError:
        """Return the same about the value at a place that `place_of` named."""
        counting = "Rows count from 1 after the header. " if self.lines is None else ""
        return WrongValueError(
            f"Cannot use {self.name}: column {name!r}, {place} is {_quoted(found)}, expected {expected}",
            f"{counting}Correct the file and submit again.",
            count=count,
            n_rows=len(self.table),
        )

    def place_of(self, row: int) -> str:
        """Return how a row, counted from 0, is called in messages."""
        if self.lines is None:
            return f"row {row + 1 + self.rows_before}"
        return f"{self.unit} {self.lines[row]}"

    def _floats(self, name: str) -> pa.Array:
        self.checks.begin()
        column = whole_column(self.table[name])
        column = self._parsed(name, column) if pa.types.is_string(column.type) else self._cast_to_float(name, column)
        return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)

    def _require_float64(self, name: str) -> None:
        kind = self.table[name].type
        if pa.types.is_float32(kind) or pa.types.is_float16(kind):
            raise BadInputError(
                f"Cannot use {self.name}: column {name!r} is of type float{kind.bit_width}, which holds 7 digits: "
                "a time to minutes, an angle to 0.1 arcsec. Write the numbers as float64, as they were measured."
            )

    def _parsed(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return _without_empty(column).cast(pa.float64())
        except pa.ArrowInvalid:
            text = _without_empty(pc.utf8_trim_whitespace(column))  # takes longer than all the rest, and few need it
        text = pc.if_else(pc.match_substring_regex(text, NO_NUMBER), pa.scalar(None, pa.string()), text)
        try:
            return text.cast(pa.float64())
        except pa.ArrowInvalid:
            row = _first_that_is_no_number(text)
            raise self.error(name, row, text[row].as_py(), "a number, with a decimal point if any") from None

    def _cast_to_float(self, name: str, column: pa.Array) -> pa.Array:
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
            raise BadInputError(
                f"Cannot use {self.name}: column {name!r} is of type {column.type}, expected numbers. "
                "Write it as float64."
            )
        return column.cast(pa.float64(), safe=False)  # a whole number of more than 53 bits loses its last ones

    def in_range(self, name: str, column: pa.Array, allowed: Range) -> pa.Array:
        """Return the numbers of a column; refuse the file when one is out of range."""
        below = pc.less(column, allowed.low) if allowed.low_is_in else pc.less_equal(column, allowed.low)
        above = pc.greater(column, allowed.high) if allowed.high_is_in else pc.greater_equal(column, allowed.high)
        infinite = pc.is_inf(column)
        self.refuse_rows(name, pc.or_(pc.or_(below, above), infinite), allowed.expected)
        return column


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked and as UTF-8 (see `file_content.unpacked`).

    Raises
    ------
    BadInputError
        If it is not there or, also in the block, can't be read.
    """
    if path.is_dir():
        raise BadInputError(f"Cannot read {path}: it is a directory. Expected a file.")
    if not path.is_file():
        raise BadInputError(f"Cannot read {path}: there is no such file. Check the path.")
    try:
        with path.open("rb") as file:
            yield unpacked(file, str(path))
    except OSError as error:
        raise BadInputError(f"Cannot read {path}: {error}. Expected a csv or parquet table.") from error


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; raises BadInputError when it is not there or cannot be read."""
    with open_file(path) as file:
        return file.read()


def require_names(file_name: str, present: list[str], names: list[str]) -> None:
    """Refuse a file with the columns `present` that lacks one of `names`, or has it twice."""
    missing = [name for name in names if name not in present]
    if missing:
        raise BadInputError(
            f"Cannot use {file_name}: column {missing[0]!r} is missing, found {', '.join(map(repr, present))}; "
            f"expected {', '.join(names)}. Add or rename the column."
        )
    repeated = [name for name in names if present.count(name) > 1]
    if repeated:
        raise BadInputError(
            f"Cannot use {file_name}: column {repeated[0]!r} is there {present.count(repeated[0])} times, "
            "expected once. Remove all but one."
        )


def require_rows(file_name: str, n_rows: int) -> None:
    """Refuse a file without rows."""
    if n_rows == 0:
        raise BadInputError(f"Cannot use {file_name}: it has no rows, expected at least one.")


def read_table_file(path: Path) -> TableFile:
    """Read a csv or parquet file; of a csv every column is text.

    Raises
    ------
    BadInputError
        If it is not there, cannot be read, or is not a table.
    """
    return table_from_bytes(read_file(path), name=str(path))


def table_from_bytes(body: bytes, *, name: str) -> TableFile:
    """Parse the bytes of an object: parquet when they begin so, else csv.

    Raises
    ------
    BadInputError
        If it is not a table.
    """
    if not is_parquet(body):
        stranger = "XML" if is_xml(body[:START_BYTES]) else looks_like(body[:START_BYTES])
        if stranger is not None:
            raise BadInputError(f"Cannot read {name}: it looks like {stranger}. Expected a csv or parquet table.")
        return csv_from_bytes(body, name=name)
    try:
        table = plain(pyarrow.parquet.read_table(pa.BufferReader(body)))
        table.validate(full=True)  # text that is not UTF-8, which Arrow takes as it comes
        return TableFile(name, table)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).rstrip(".")
        raise BadInputError(f"Cannot read {name}: {reason}. Expected a parquet table.") from error


def csv_from_bytes(body: bytes, *, name: str) -> TableFile:
    """Parse a csv with a header; every column is text.

    Raises
    ------
    BadInputError
        If it is empty, not UTF-8, or a row has more or fewer fields than the header.
    """
    try:
        return TableFile(name, text_columns(body))
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        reason = reason_of_arrow(error)
        raise BadInputError(
            f"Cannot read {name}: {reason}. Expected a csv table, UTF-8, with a header (row 1 is the next)."
        ) from error


def require_unique(file: TableFile, name: str, column: pa.Array) -> None:
    """Refuse the file when a value stands in two rows of the column."""
    codes = column.dictionary_encode().indices.to_numpy()
    counts = np.bincount(codes)
    if counts.max(initial=0) > 1:
        repeated = int(np.argmax(counts > 1))
        first, second = np.flatnonzero(codes == repeated)[:2]
        many = f"; {np.sum(counts > 1)} ids are repeated" if np.sum(counts > 1) > 1 else ""
        expected = f"an id of its own ({file.place_of(int(first))} has the same{many})"
        raise file.error(name, int(second), column[int(second)].as_py(), expected)


def _quoted(found: object) -> str:
    text = repr(found)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _without_empty(column: pa.Array) -> pa.Array:
    empty = pc.equal(column, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), column) if pc.any(empty).as_py() else column


def whole_column(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _first_that_is_no_number(text: pa.Array) -> int:
    return next((row for row, value in enumerate(text.to_pylist()) if not (value is None or _is_number(value))), 0)


def _is_number(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


ANY_NUMBER = Range(-math.inf, math.inf, "a finite number", low_is_in=False, high_is_in=False)
"""Any finite number."""
