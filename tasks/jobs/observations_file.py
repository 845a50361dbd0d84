"""Observations: THOR v1.2's csv or the same columns as parquet, checked; and the canonical csv of the bucket."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.tables import OBSERVATIONS
from tasks.jobs.observatories import located_observatory_codes
from tasks.jobs.table_file import ANY_NUMBER, Range, TableFile, csv_from_bytes, read_table_file, table_from_bytes

REQUIRED = [
    "obs_id",
    "mjd_utc",
    "RA_deg",
    "Dec_deg",
    "RA_sigma_deg",
    "Dec_sigma_deg",
    "observatory_code",
]

MJD_UTC = Range(-21504, 124593, "an MJD between -21504 and 124593 (years 1800 to 2200; not a Julian date)")
RA_DEG = Range(0, 360, "degrees in [0, 360)", high_is_in=False)
DEC_DEG = Range(-90, 90, "degrees in [-90, 90]")
SIGMA_DEG = Range(0, 10, "degrees, more than 0 and at most 10", low_is_in=False)
MAG_SIGMA = Range(0, np.inf, "a number of at least 0", high_is_in=False)


def read_observations(path: Path) -> pa.Table:
    """Return the observations of a csv or parquet file as rows of `tables.OBSERVATIONS`; other columns are left out.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    return _checked(read_table_file(path))


def observations_from_csv(body: bytes, *, name: str) -> pa.Table:
    """Return the observations of a csv that lies in the bucket as `name`; checked like a person's file."""
    return _checked(csv_from_bytes(body, name=name))


def observations_from_bytes(body: bytes, *, name: str) -> pa.Table:
    """Return the observations of an object, csv or parquet by its name; checked like a person's file."""
    return _checked(table_from_bytes(body, name=name))


def _checked(file: TableFile) -> pa.Table:
    file.require_columns(REQUIRED)
    columns = {
        "obs_id": file.required_strings("obs_id"),
        "mjd_utc": file.numbers("mjd_utc", MJD_UTC),
        "RA_deg": file.numbers("RA_deg", RA_DEG),
        "Dec_deg": file.numbers("Dec_deg", DEC_DEG),
        "RA_sigma_deg": file.numbers_or_null("RA_sigma_deg", SIGMA_DEG),
        "Dec_sigma_deg": file.numbers_or_null("Dec_sigma_deg", SIGMA_DEG),
        "observatory_code": file.required_strings("observatory_code"),
        "mag": _optional_numbers(file, "mag", ANY_NUMBER),
        "mag_sigma": _optional_numbers(file, "mag_sigma", MAG_SIGMA),
        **{name: _optional_strings(file, name) for name in ("filter", "exposure_id", "night_id")},
    }
    _require_known_observatories(file, columns["observatory_code"])
    require_unique(file, "obs_id", columns["obs_id"])
    return pa.table(columns, schema=OBSERVATIONS)


def require_unique(file: TableFile, name: str, column: pa.Array) -> None:
    """Refuse the file when a value stands in two rows of the column."""
    codes = column.dictionary_encode().indices.to_numpy()
    counts = np.bincount(codes)
    if counts.max(initial=0) > 1:
        repeated = int(np.argmax(counts > 1))
        first, second = np.flatnonzero(codes == repeated)[:2]
        many = f"; {np.sum(counts > 1)} ids are repeated" if np.sum(counts > 1) > 1 else ""
        expected = f"an id of its own (row {first + 1} has the same{many})"
        raise file.error(name, int(second), column[int(second)].as_py(), expected)


def _require_known_observatories(file: TableFile, codes: pa.Array) -> None:
    known = located_observatory_codes()
    unknown = [code for code in codes.unique().to_pylist() if code not in known]
    if unknown:
        expected = "the Minor Planet Center's code of an observatory on the Earth, such as '070' or 'X05'"
        file.refuse_rows("observatory_code", pc.is_in(codes, pa.array(unknown)), expected)


def _optional_numbers(file: TableFile, name: str, allowed: Range) -> pa.Array:
    if not file.has(name):
        return pa.nulls(len(file.table), pa.float64())
    return file.numbers_or_null(name, allowed)


def _optional_strings(file: TableFile, name: str) -> pa.Array:
    return file.strings(name) if file.has(name) else pa.nulls(len(file.table), pa.string())
