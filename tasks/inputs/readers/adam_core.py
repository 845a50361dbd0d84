"""adam-core's parquet tables: `PointSourceDetections` with `Exposures` beside them, read without adam-core."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tasks.engines.time_scales import TimeScale
from tasks.errors import BadInputError
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.table_file import ANY_NUMBER, Range, TableFile, read_table_file, require_unique

NANOSECONDS_PER_DAY = 86_400_000_000_000

DAYS = Range(-1e9, 1e9, "a time: whole days, MJD")
NANOSECONDS = Range(0, NANOSECONDS_PER_DAY, "nanoseconds since the beginning of the day", high_is_in=False)

EXPOSURES = "exposures.parquet"
"""Where the exposures of a table of detections lie by default: beside it."""

REQUIRED = ["id", "exposure_id", "time", "ra", "dec"]

COLUMNS = ObservationColumns(
    obs_id="id",
    time="mjd",
    ra="ra",
    dec="dec",
    ra_sigma="ra_sigma_cos_dec",
    dec_sigma="dec_sigma",
    observatory_code="observatory_code",
)


def is_point_source_detections(schema: pa.Schema) -> bool:
    """Tell whether a parquet file of this schema is a table of `PointSourceDetections`."""
    return {"id", "exposure_id", "time", "ra", "dec"} <= set(schema.names) and pa.types.is_struct(
        schema.field("time").type
    )


@dataclass(frozen=True)
class Exposures:
    """What detections take from their exposures."""

    path: Path
    ids: pa.Array
    observatory_codes: pa.Array
    filters: pa.Array


def read_exposures(detections: str, path: Path) -> Exposures:
    """Read the file of `Exposures` that a file of detections names.

    Raises
    ------
    BadInputError
        If it is not there, or for the first thing that is wrong with it.
    """
    if not path.is_file():
        raise BadInputError(
            f"Cannot use {detections}: it is adam-core's, and names exposures, but there is no {path}. "
            "Put the Exposures there, or name their file by the config's key columns.exposures."
        )
    exposures = read_table_file(path)
    exposures.require_columns(["id", "observatory_code"])
    ids = exposures.required_strings("id")
    require_unique(exposures, "id", ids)
    filters = exposures.strings("filter") if exposures.has("filter") else pa.nulls(len(ids), pa.string())
    return Exposures(path, ids, exposures.required_strings("observatory_code"), filters)


def flat_detections(file: TableFile, exposures: Exposures) -> TableFile:
    """Return `PointSourceDetections` with the columns `COLUMNS`; observatory and filter are the exposures'.

    Raises
    ------
    BadInputError
        For the first thing that is wrong.
    """
    codes, filters = _of_exposures(file, exposures)
    table = file.table
    flat = {
        "id": table["id"],
        "mjd": mjd_of_times(file, "time"),
        "ra": table["ra"],
        "dec": table["dec"],
        # adam-core's is the uncertainty of the right ascension itself.
        "ra_sigma_cos_dec": pc.multiply(_numbers(file, "ra_sigma"), _cos(_numbers(file, "dec"))),
        "dec_sigma": _numbers(file, "dec_sigma"),
        "observatory_code": codes,
        "filter": filters,
        "mag": _numbers(file, "mag"),
        "mag_sigma": _numbers(file, "mag_sigma"),
        "exposure_id": table["exposure_id"],
    }
    return replace(file, table=pa.table(flat))


def columns_of_detections(schema: pa.Schema, name: str) -> ObservationColumns:
    """Return the columns of flat detections, with the time scale that the file's schema has."""
    return replace(COLUMNS, time_scale=time_scale_of(schema, "time", name))


def mjd_of_times(file: TableFile, name: str) -> pa.Array:
    """Return a column of adam-core's times (days and nanoseconds) as MJD in its own scale."""
    flat = file.flattened()
    days, nanos = f"{name}.days", f"{name}.nanos"
    flat.require_columns([days, nanos])
    whole, rest = flat.numbers(days, DAYS), flat.numbers(nanos, NANOSECONDS)
    return pc.add(whole, pc.divide(rest, float(NANOSECONDS_PER_DAY)))


def time_scale_of(schema: pa.Schema, name: str, file_name: str) -> TimeScale:
    """Return the time scale of a column of times, which adam-core keeps in the file's metadata."""
    scale = (schema.metadata or {}).get(f"{name}.scale".encode(), b"tai").decode()
    if scale not in get_args(TimeScale):
        raise BadInputError(
            f"Cannot use {file_name}: column {name!r} is in the time scale {scale!r}, "
            f"expected {', '.join(get_args(TimeScale))}."
        )
    return cast("TimeScale", scale)


def _numbers(file: TableFile, name: str) -> pa.Array:
    if not file.has(name):
        return pa.nulls(len(file.table), pa.float64())
    return file.numbers_or_null(name, ANY_NUMBER)


def _cos(angles_deg: pa.Array) -> pa.Array:
    return pc.cos(pc.multiply(angles_deg.cast(pa.float64()), np.pi / 180.0))


def _of_exposures(file: TableFile, exposures: Exposures) -> tuple[pa.Array, pa.Array]:
    """Return observatory and filter of each detection's exposure."""
    places = pc.index_in(file.required_strings("exposure_id"), exposures.ids)
    file.refuse_rows("exposure_id", pc.is_null(places), f"an exposure that is in {exposures.path}")
    return exposures.observatory_codes.take(places), exposures.filters.take(places)
