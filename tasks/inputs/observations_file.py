"""Observations: a person's file in any format that is known, checked block by block; and the bucket's canonical csv."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from tasks.errors import BadInputError
from tasks.inputs.file_content import START_BYTES, is_parquet, is_xml, looks_like, root_of_xml
from tasks.inputs.readers.ades_psv import PsvSource, is_ades_psv
from tasks.inputs.readers.ades_xml import ROOT, XmlSource
from tasks.inputs.readers.blocks import Source
from tasks.inputs.readers.csv_blocks import CsvSource
from tasks.inputs.readers.detections import THOR_COLUMNS, Detections, ObservationColumns
from tasks.inputs.readers.obs80 import Obs80Source, is_obs80
from tasks.inputs.readers.parquet_blocks import ParquetSource
from tasks.inputs.readers.reading import Reading
from tasks.inputs.table_file import open_file

EXPECTED = (
    "Expected a csv or parquet table, ADES (PSV or XML), the Minor Planet Center's 80 columns or adam-core's "
    "PointSourceDetections; any of them may be packed (gzip, bzip2, xz, zstd, lz4, zip)"
)


@dataclass(frozen=True)
class ObservationsFormat:
    """What a config says of the file of observations, its keys `columns.*`."""

    columns: ObservationColumns = THOR_COLUMNS
    #: File of adam-core's `Exposures`; None: exposures.parquet beside the detections.
    exposures: Path | None = None
    #: Whether uncertainties that are missing are filled in by observatory; a config with a default of its own does not.
    fills_uncertainties: bool = True


@contextmanager
def opened_observations(path: Path, form: ObservationsFormat = ObservationsFormat()) -> Iterator[Reading]:
    """Open a file of detections: ADES (PSV, XML), 80 columns, adam-core's parquet, or a csv or parquet table.

    The format is told by what is in the file. Uncertainties that are missing are filled in by observatory.

    Raises
    ------
    BadInputError
        If it can't be read.
    """
    with open_file(path) as file:
        yield Reading(_source(file, path, form), fills_uncertainties=form.fills_uncertainties)


def _source(file: BinaryIO, path: Path, form: ObservationsFormat) -> Source:
    """Return the reader for a file, by what is in it."""
    start, name, columns = file.read(START_BYTES), str(path), form.columns
    if is_parquet(start):
        is_as_it_lies = isinstance(getattr(file, "raw", None), io.FileIO)
        return ParquetSource(path, columns, form.exposures, None if is_as_it_lies else file)
    stranger = looks_like(start)
    if stranger is not None:
        raise BadInputError(f"Cannot read {name}: it looks like {stranger}. {EXPECTED}.")
    if is_xml(start):
        return _ades(XmlSource, _ades_root(file, name), name, columns)
    if is_ades_psv(start):
        return _ades(PsvSource, file, name, columns)
    if is_obs80(start):
        _refuse_mapping(columns, name=name)
        return Obs80Source(file, name)
    return CsvSource(file, name, columns)


def _ades_root(file: BinaryIO, name: str) -> BinaryIO:
    root = root_of_xml(file, name)
    if root != ROOT:
        known = {"html": "a page of HTML", "VOTABLE": "a VOTable"}.get(root, f"XML whose first element is <{root}>")
        raise BadInputError(f"Cannot read {name}: it looks like {known}. {EXPECTED}.")
    return file


def _ades(kind: type[PsvSource] | type[XmlSource], file: BinaryIO, name: str, columns: ObservationColumns) -> Source:
    _refuse_mapping(dataclasses.replace(columns, object_id=THOR_COLUMNS.object_id), name=name)
    return kind(file, name, columns.object_id)


def read_detections(
    path: Path, form: ObservationsFormat = ObservationsFormat(), *, columns: Sequence[str] | None = None
) -> Detections:
    """Return the detections of a file as one table; see `opened_observations`.

    Parameters
    ----------
    columns
        Those to keep, of a large file; None: all. All are checked.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    with opened_observations(path, form) as reading:
        return _whole(reading, columns)


def read_observations(path: Path) -> pa.Table:
    """Return the detections of a file as rows of `tables.OBSERVATIONS`; see `read_detections`."""
    return read_detections(path).table


def observations_from_csv(body: bytes | BinaryIO, *, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the observations of a csv that lies in the bucket as `name`; checked like a person's file.

    Of a large one only some columns may be kept.
    """
    file = io.BytesIO(body) if isinstance(body, bytes) else body
    return _whole(Reading(CsvSource(file, name, THOR_COLUMNS), fills_uncertainties=False), columns).table


def _whole(reading: Reading, columns: Sequence[str] | None) -> Detections:
    def kept(table: pa.Table) -> pa.Table:
        return table if columns is None else table.select([name for name in columns if name in table.column_names])

    blocks = list(reading.results(kept))
    return Detections(pa.concat_tables(blocks), reading.notes)


def _refuse_mapping(columns: ObservationColumns, *, name: str) -> None:
    if columns != THOR_COLUMNS:
        raise BadInputError(
            f"Cannot use {name}: the config names columns (columns.*), but the file is ADES or has 80 columns, whose "
            "columns are given. Leave those keys out, but columns.object_id of ADES."
        )
