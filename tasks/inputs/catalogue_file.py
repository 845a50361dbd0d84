"""A catalogue of known orbits: MPCORB, the Small-Body Database's csv, or any file of test orbits; read in blocks."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.errors import BadInputError
from tasks.inputs.orbits_file import orbits_from_file
from tasks.inputs.readers.catalogue_blocks import ROWS_AT_A_TIME, runoff_from_parameter
from tasks.inputs.readers.mpcorb import is_mpcorb, mpcorb_blocks
from tasks.inputs.readers.sbdb import is_sbdb, sbdb_blocks
from tasks.inputs.table_file import ANY_NUMBER, TableFile, open_file, read_table_file

START_BYTES = 1 << 16
"""So much of a file tells its format: the head of MPCORB is some thousands of characters long."""

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class CatalogueFile:
    """A catalogue whose beginning was looked at. Each iteration reads the file anew, in blocks of `KNOWN_ORBITS`."""

    path: Path

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the orbits; raises BadInputError for what is wrong with the file."""
        with _opened(self.path) as file:
            start = file.read(START_BYTES)
            file.seek(0)
            if is_mpcorb(start):
                yield from mpcorb_blocks(file, str(self.path))
                return
            header = _header(start)
            if is_sbdb(header):
                yield from sbdb_blocks(pa.PythonFile(file), str(self.path), header)
                return
        yield from _blocks_of_orbits(self.path)


def read_catalogue(path: Path) -> CatalogueFile:
    """Look at a catalogue, so that what is wrong with its form is found before anything is done.

    Raises
    ------
    BadInputError
        If it is not there or can't be read, or its first block is wrong.
    """
    catalogue = CatalogueFile(path)
    if next(iter(catalogue), None) is None:
        raise BadInputError(f"Cannot use {path}: it has no orbits. Expected MPCORB, or a table of orbits.")
    return catalogue


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with open_file(path) as file:
        if file.read(len(_GZIP)) == _GZIP:
            file.seek(0)
            with gzip.open(file) as unpacked:
                yield cast("BinaryIO", unpacked)
            return
        file.seek(0)
        yield file


def _header(start: bytes) -> list[str]:
    try:
        return next(csv.reader([start.partition(b"\n")[0].decode("utf-8-sig").rstrip("\r")]), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _blocks_of_orbits(path: Path) -> Iterator[pa.Table]:
    file = read_table_file(path)
    orbits = orbits_from_file(file)
    # A row of units, which a file of test orbits may have, is no orbit.
    extra = TableFile(file.name, file.table.slice(len(file.table) - len(orbits)), rows_before=file.rows_before)
    columns = {name: orbits[name] for name in orbits.column_names}
    for name in ("H", "G"):
        columns[name] = extra.numbers_or_null(name, ANY_NUMBER) if file.has(name) else pa.nulls(len(orbits))
    columns["runoff"] = _runoffs(extra)
    columns["last_observed"] = pa.nulls(len(orbits))
    table = pa.table([columns[field.name] for field in KNOWN_ORBITS], names=KNOWN_ORBITS.names).cast(KNOWN_ORBITS)
    for first in range(0, len(table), ROWS_AT_A_TIME):
        yield table.slice(first, ROWS_AT_A_TIME).combine_chunks()


def _runoffs(file: TableFile) -> pa.Array:
    """Return what an uncertainty parameter says, as our own tables of recovered orbits have it."""
    if not file.has("uncertainty_parameter"):
        return pa.nulls(len(file.table))
    parameters = file.numbers_or_null("uncertainty_parameter", ANY_NUMBER).to_numpy(zero_copy_only=False)
    values = [runoff_from_parameter("" if np.isnan(each) else f"{each:.0f}") for each in parameters]
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))
