"""A parquet table in blocks: a flat one whose columns are named, or adam-core's detections."""

import functools
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet

from tasks.errors import BadInputError
from tasks.inputs.plain_table import plain
from tasks.inputs.readers.adam_core import (
    EXPOSURES,
    REQUIRED,
    Exposures,
    columns_of_detections,
    flat_detections,
    is_point_source_detections,
    read_exposures,
)
from tasks.inputs.readers.blocks import Block
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.table_file import TableFile, require_names

BLOCK_ROWS = 100_000
"""Rows that are read and checked at one time."""

BUFFER_BYTES = 1 << 20
"""Of each column so much is read at one time, not a whole row group."""


@dataclass(frozen=True)
class ParquetSource:
    """A parquet file."""

    path: Path
    columns: ObservationColumns
    #: File of adam-core's `Exposures`; None: beside the detections.
    exposures: Path | None = None
    #: Where its bytes are, when the file at `path` is a packed one.
    file: BinaryIO | None = None
    block_rows: int = BLOCK_ROWS
    unit: str = "rows"

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def blocks(self, pool: Executor) -> Iterator[Block]:  # noqa: ARG002 (Arrow has threads of its own for it)
        """Yield the rows in blocks; see `Source`."""
        file, schema = self._opened()
        with file:
            if is_point_source_detections(schema):
                require_names(self.name, schema.names, REQUIRED)
                columns = columns_of_detections(schema, self.name)
                exposures = read_exposures(self.name, self.exposures or self.path.parent / EXPOSURES)
            else:
                require_names(self.name, schema.names, self.columns.required)
                columns, exposures = self.columns, None
            yield from self._blocks(file, columns, exposures)

    def _opened(self) -> tuple[pyarrow.parquet.ParquetFile, pa.Schema]:
        try:
            file = pyarrow.parquet.ParquetFile(self.file or self.path, buffer_size=BUFFER_BYTES, pre_buffer=False)
            return file, file.schema_arrow
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error

    def _blocks(
        self, file: pyarrow.parquet.ParquetFile, columns: ObservationColumns, exposures: Exposures | None
    ) -> Iterator[Block]:
        n_rows = 0
        batches = file.iter_batches(self.block_rows)
        while True:
            try:
                batch = next(batches)
                table = plain(pa.Table.from_batches([batch]))
                table.validate(full=True)  # text that is not UTF-8, which Arrow takes as it comes
            except StopIteration:
                return
            except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
                raise self._unreadable(error) from error
            found = TableFile(self.name, table, rows_before=n_rows)
            if exposures is None:
                yield Block(found, columns, len(table))
            else:
                flat = functools.partial(flat_detections, exposures=exposures)
                yield Block(found, columns, len(table), prepare=flat)
            n_rows += len(table)

    def _unreadable(self, error: Exception) -> BadInputError:
        reason = str(error).rstrip(".")
        return BadInputError(f"Cannot read {self.name}: {reason}. Expected a parquet table.")
