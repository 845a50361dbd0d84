"""A csv with a header in blocks, every column text. Columns may stand between semicolons, tabs or bars as well."""

import contextlib
import csv
import functools
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from tasks.engines.tables import OBSERVATIONS
from tasks.errors import BadInputError
from tasks.inputs.csv_parsing import delimiter_of, fields_of, reason_of_arrow
from tasks.inputs.readers.blocks import Block, in_order
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.readers.row_blocks import (
    BLOCK_BYTES,
    LONGEST_ROW_BYTES,
    UTF8_MARK,
    LongRowError,
    first_row_end,
    last_row_end,
    row_blocks,
)
from tasks.inputs.table_file import LONGEST_VALUE, TableFile, require_names

COMMENT = b"#"
"""Lines that begin so are none of a table where they stand before its header."""


class NotTextError(Exception):
    """A value that is not UTF-8. `row` counts from 1 in its block."""

    def __init__(self, row: int, column: str, found: str) -> None:
        super().__init__(row, column, found)
        self.row, self.column, self.found = row, column, found


@dataclass(frozen=True)
class CsvSource:
    """A csv whose columns are named."""

    file: BinaryIO
    name: str
    columns: ObservationColumns
    block_bytes: int = BLOCK_BYTES
    longest_row_bytes: int = LONGEST_ROW_BYTES
    unit: str = "rows"

    def blocks(self, pool: Executor) -> Iterator[Block]:
        """Yield the rows in blocks; see `Source`."""
        delimiter = self._to_header()
        pieces = row_blocks(
            self.file,
            block_bytes=self.block_bytes,
            last_end=functools.partial(last_row_end, delimiter=delimiter),
            first_end=functools.partial(first_row_end, delimiter=delimiter),
            longest_row_bytes=self.longest_row_bytes,
        )
        try:
            head = next(pieces, b"")
        except LongRowError:
            raise self._too_long("the first row") from None
        end = first_row_end(head, delimiter=delimiter) or len(head)
        names = self._names(head[:end], delimiter)
        require_names(self.name, names, self.columns.required)
        yield from self._parsed(pool, names, delimiter, _chained(head[end:], pieces))

    def _to_header(self) -> bytes:
        """Go to the header, past what may stand before it (a mark of UTF-8, empty lines, comments); tell the delimiter.

        A header may begin with # itself.
        """
        self.file.seek(0)
        if self.file.read(len(UTF8_MARK)) != UTF8_MARK:
            self.file.seek(0)
        while True:
            place = self.file.tell()
            line = self.file.readline(self.longest_row_bytes)
            bare = line.lstrip(COMMENT + b" \t")
            is_comment = line.startswith(COMMENT) and not set(self.columns.required) <= set(_fields(bare))
            if line and (is_comment or not line.strip(b"\r\n")):
                continue
            self.file.seek(place + (len(line) - len(bare) if line.startswith(COMMENT) else 0))
            return delimiter_of(line.decode(errors="replace")).encode()

    def _names(self, header: bytes, delimiter: bytes) -> list[str]:
        try:
            text = header.decode().rstrip("\r\n")
            names = [each.strip() for each in next(csv.reader([text], delimiter=delimiter.decode()), [])]
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._unreadable(f"its header: {error}") from error
        if not names:
            raise self._unreadable("it is empty")
        if not set(names) & {*self.columns.required, *OBSERVATIONS.names}:
            raise BadInputError(
                f"Cannot read {self.name}: it is neither ADES nor the Minor Planet Center's 80 columns nor parquet, "
                f"and a csv without any of the columns that are expected: its first line is {text[:LONGEST_VALUE]!r}. "
                f"Expected {', '.join(self.columns.required)}; the config's keys columns.* may name others."
            )
        return names

    def _parsed(self, pool: Executor, names: list[str], delimiter: bytes, pieces: Iterable[bytes]) -> Iterator[Block]:
        n_rows = 0
        tables = in_order(pool, functools.partial(_text_columns, names, delimiter), pieces)
        while True:
            try:
                table = next(tables)
            except StopIteration:
                return
            except LongRowError:
                raise self._too_long(f"a row below row {n_rows}") from None
            except NotTextError as error:
                raise BadInputError(
                    f"Cannot read {self.name}: column {error.column!r}, row {error.row + n_rows} is {error.found}, "
                    "expected UTF-8. Rows count from 1 after the header. Save the file as UTF-8 and submit again."
                ) from error
            except pa.ArrowException as error:
                raise self._unreadable(reason_of_arrow(error, rows_before=n_rows)) from error
            yield Block(TableFile(self.name, table, rows_before=n_rows), self.columns, len(table))
            n_rows += len(table)

    def _too_long(self, which: str) -> BadInputError:
        return self._unreadable(
            f"{which} has more than {self.longest_row_bytes} bytes: is there a quote that is not closed?"
        )

    def _unreadable(self, reason: str) -> BadInputError:
        return BadInputError(
            f"Cannot read {self.name}: {reason}. Expected a csv table, UTF-8, with a header (row 1 is the next)."
        )


def _fields(line: bytes) -> list[str]:
    text = line.decode(errors="replace")
    return fields_of(text, delimiter_of(text))


def _chained(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _text_columns(names: list[str], delimiter: bytes, rows: bytes) -> pa.Table:
    """Parse rows, in one thread and in one piece: then Arrow knows their numbers, and where quotes begin and end."""
    if not rows.strip(b"\r\n"):
        return pa.Table.from_arrays([pa.array([], pa.string()) for _ in names], names)
    try:
        return pyarrow.csv.read_csv(
            pa.py_buffer(rows),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(rows) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter.decode()),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        wrong = _first_that_is_no_text(names, delimiter, rows)
        raise wrong or error from error


def _first_that_is_no_text(names: list[str], delimiter: bytes, rows: bytes) -> NotTextError | None:
    text = io.StringIO(rows.decode("latin-1"), newline="")  # each byte a character
    with contextlib.suppress(csv.Error):  # what it says of quotes is not what Arrow said
        filled = (row for row in csv.reader(text, delimiter=delimiter.decode()) if row)
        for number, row in enumerate(filled, 1):
            for column, value in zip(names, row, strict=False):
                body = value.encode("latin-1")
                try:
                    body.decode()
                except UnicodeDecodeError:
                    return NotTextError(number, column, repr(body.decode(errors="backslashreplace")[:LONGEST_VALUE]))
    return None
