"""A csv with a header in blocks, every column text."""

import csv
import functools
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from tasks.errors import BadInputError
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
from tasks.inputs.table_file import TableFile, require_names

ROW_NUMBER = re.compile(r"\bRow #(\d+)")
"""As Arrow tells the place of an error."""


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
        pieces = self._pieces()
        try:
            head = next(pieces, b"")
        except LongRowError:
            raise self._too_long("the first row") from None
        end = first_row_end(head) or len(head)
        names = self._names(head[:end])
        require_names(self.name, names, self.columns.required)
        yield from self._parsed(pool, names, _chained(head[end:], pieces))

    def _pieces(self) -> Iterator[bytes]:
        """Yield blocks of whole rows, without what may stand before the header: a mark of UTF-8, empty lines."""
        self.file.seek(0)
        if self.file.read(len(UTF8_MARK)) != UTF8_MARK:
            self.file.seek(0)
        while (character := self.file.read(1)) in {b"\r", b"\n"}:
            pass
        self.file.seek(-len(character), 1)
        return row_blocks(
            self.file,
            block_bytes=self.block_bytes,
            last_end=last_row_end,
            first_end=first_row_end,
            longest_row_bytes=self.longest_row_bytes,
        )

    def _names(self, header: bytes) -> list[str]:
        try:
            names = next(csv.reader([header.decode().rstrip("\r\n")]), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._unreadable(str(error)) from error
        if not names:
            raise self._unreadable("it is empty")
        return names

    def _parsed(self, pool: Executor, names: list[str], pieces: Iterable[bytes]) -> Iterator[Block]:
        n_rows = 0
        tables = in_order(pool, functools.partial(_text_columns, names), pieces)
        while True:
            try:
                table = next(tables)
            except StopIteration:
                return
            except LongRowError:
                raise self._too_long(f"a row below row {n_rows}") from None
            except (pa.ArrowException, UnicodeDecodeError) as error:
                reason = str(error).removeprefix("CSV parse error: ").splitlines()[0]
                # Arrow counts the header as the first row.
                place = functools.partial(_moved, by=n_rows + 1)
                raise self._unreadable(ROW_NUMBER.sub(place, reason)) from error
            yield Block(TableFile(self.name, table, rows_before=n_rows), self.columns, len(table))
            n_rows += len(table)

    def _too_long(self, which: str) -> BadInputError:
        return self._unreadable(
            f"{which} has more than {self.longest_row_bytes} bytes: is there a quote that nobody closes?"
        )

    def _unreadable(self, reason: str) -> BadInputError:
        reason = reason.rstrip(".")
        return BadInputError(f"Cannot read {self.name}: {reason}. Expected a csv table, UTF-8, with a header.")


def _chained(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _moved(found: re.Match[str], *, by: int) -> str:
    return f"Row #{int(found[1]) + by}"


def _text_columns(names: list[str], rows: bytes) -> pa.Table:
    """Parse rows, in one thread and in one piece: then Arrow knows their numbers, and where quotes begin and end."""
    if not rows.strip(b"\r\n"):
        return pa.Table.from_arrays([pa.array([], pa.string()) for _ in names], names)
    return pyarrow.csv.read_csv(
        pa.py_buffer(rows),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(rows) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
