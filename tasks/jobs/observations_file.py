"""Observations: a person's file in any format that is known, checked; and the canonical csv of the bucket."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.errors import BadInputError
from tasks.jobs.readers.adam_core import EXPOSURES, is_point_source_detections, read_point_source_detections
from tasks.jobs.readers.ades import detections_of_ades
from tasks.jobs.readers.ades_psv import is_ades_psv, read_ades_psv
from tasks.jobs.readers.ades_xml import is_ades_xml, read_ades_xml
from tasks.jobs.readers.detections import THOR_COLUMNS, Detections, ObservationColumns, detections_of_table
from tasks.jobs.readers.obs80 import is_obs80, read_obs80
from tasks.jobs.readers.uncertainties import fill_uncertainties
from tasks.jobs.table_file import PARQUET_SUFFIXES, csv_from_bytes, read_file, read_table_file

START_BYTES = 4096
"""So much of a file tells its format."""


@dataclass(frozen=True)
class ObservationsFormat:
    """What a config says of the file of observations, its keys `columns.*`."""

    columns: ObservationColumns = THOR_COLUMNS
    #: File of adam-core's `Exposures`; None: exposures.parquet beside the detections.
    exposures: Path | None = None
    #: Whether uncertainties that are missing are filled in by observatory; a config with a default of its own does not.
    fills_uncertainties: bool = True


def read_detections(path: Path, form: ObservationsFormat = ObservationsFormat()) -> Detections:
    """Return the detections of a file: ADES (PSV, XML), 80 columns, adam-core's parquet, or a csv or parquet table.

    The format is told by what is in the file. Uncertainties that are missing are filled in by observatory.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    if path.suffix.lower() in PARQUET_SUFFIXES:
        found = _of_parquet_file(path, form)
    else:
        found = _of_text(read_file(path), name=str(path), columns=form.columns)
    return _complete(found) if form.fills_uncertainties else found


def read_observations(path: Path) -> pa.Table:
    """Return the detections of a file as rows of `tables.OBSERVATIONS`; see `read_detections`."""
    return read_detections(path).table


def observations_from_csv(body: bytes, *, name: str) -> pa.Table:
    """Return the observations of a csv that lies in the bucket as `name`; checked like a person's file."""
    return detections_of_table(csv_from_bytes(body, name=name))


def _complete(found: Detections) -> Detections:
    table, filled = fill_uncertainties(found.table)
    return Detections(table, (*found.notes, *filled))


def _of_text(body: bytes, *, name: str, columns: ObservationColumns) -> Detections:
    start = body[:START_BYTES]
    if is_ades_psv(start) or is_ades_xml(start):
        _refuse_mapping(dataclasses.replace(columns, object_id=THOR_COLUMNS.object_id), name=name)
        file = read_ades_psv(body, name=name) if is_ades_psv(start) else read_ades_xml(body, name=name)
        return detections_of_ades(file, object_id=columns.object_id)
    if is_obs80(start):
        _refuse_mapping(columns, name=name)
        return read_obs80(body, name=name)
    return Detections(detections_of_table(csv_from_bytes(body, name=name), columns))


def _refuse_mapping(columns: ObservationColumns, *, name: str) -> None:
    if columns != THOR_COLUMNS:
        raise BadInputError(
            f"Cannot use {name}: the config names columns (columns.*), but the file is ADES or has 80 columns, whose "
            "columns are given. Leave those keys out, but columns.object_id of ADES."
        )


def _of_parquet_file(path: Path, form: ObservationsFormat) -> Detections:
    file = read_table_file(path)
    if is_point_source_detections(file.table.schema):
        return Detections(read_point_source_detections(file, form.exposures or path.parent / EXPOSURES))
    return Detections(detections_of_table(file, form.columns))
