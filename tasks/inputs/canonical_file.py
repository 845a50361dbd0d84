"""The job's `observations.csv` on this machine, written block by block while a person's file is read and checked."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.bucket.content import ScratchFile
from tasks.engines.tables import OBSERVER_POSITION
from tasks.inputs.csv_text import csv_header, csv_rows
from tasks.inputs.observations_file import ObservationsFormat, opened_observations

ROWS_AT_A_TIME = 100_000


@dataclass(frozen=True)
class CanonicalObservations:
    """The same observations always give the same bytes, in whichever blocks they were read."""

    file: ScratchFile
    n_observations: int
    #: What was left out or filled in, in words for people, with counts.
    notes: tuple[str, ...] = ()
    #: Whether any observation brings its observer's position: not every engine can use one.
    observers_move: bool = False


def canonical_from_file(path: Path, form: ObservationsFormat) -> CanonicalObservations:
    """Read and check a file of detections, and write the canonical csv.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    ScratchFileError
        If this machine's disk has no room for it.
    """
    file = ScratchFile()
    observers_move = False
    with opened_observations(path, form) as reading:
        for header, rows, some_move in reading.results(_csv_of_block):
            if not file.size:
                file.write(header)
            file.write(rows)
            observers_move |= some_move
        return CanonicalObservations(file, reading.n_rows, reading.notes, observers_move)


def canonical_from_table(observations: pa.Table) -> CanonicalObservations:
    """Write the canonical csv of a checked table."""
    file = ScratchFile()
    file.write(csv_header(observations.column_names))
    for first in range(0, len(observations), ROWS_AT_A_TIME):
        file.write(csv_rows(observations.slice(first, ROWS_AT_A_TIME)))
    return CanonicalObservations(file, len(observations), observers_move=_some_move(observations))


def _csv_of_block(table: pa.Table) -> tuple[bytes, bytes, bool]:
    return csv_header(table.column_names), csv_rows(table), _some_move(table)


def _some_move(table: pa.Table) -> bool:
    name = OBSERVER_POSITION.names[0]
    return name in table.column_names and table[name].null_count < len(table)
