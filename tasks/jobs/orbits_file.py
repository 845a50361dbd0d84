"""Test orbits: THOR v1.2's csv (with the row of units or without) or the same columns as parquet, checked.

Heliocentric ecliptic J2000 states in au and au / d at epochs MJD TDB. A covariance is optional: 21 columns
`cov_x_x, cov_y_x, cov_y_y, ...` in csv, a column `covariance` of lists in parquet.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.tables import TEST_ORBITS
from tasks.errors import BadInputError
from tasks.jobs.csv_text import COORDINATES, COVARIANCE_COLUMNS
from tasks.jobs.table_file import (
    ANY_NUMBER,
    Range,
    TableFile,
    csv_from_bytes,
    read_table_file,
    require_unique,
)

EPOCH = Range(-21504, 124593, "an MJD TDB between -21504 and 124593 (years 1800 to 2200; not a Julian date)")
POSITION = Range(-10_000, 10_000, "a coordinate in au")
VELOCITY = Range(-1, 1, "a velocity in au / d")

ROUNDING = 1e-6
"""Most negative eigenvalue of a matrix of correlations that rounding to a few digits may leave."""

FloatArray = npt.NDArray[np.float64]

UNITS = {
    "epoch": {"mjd [TDB]": "mjdtdb"},
    **{name: {"au": "au"} for name in "xyz"},
    **{name: {"au / d": "au/d", "au / day": "au/day"} for name in ("vx", "vy", "vz")},
}
"""Units of the row of units: as they are written, and without blanks and brackets in lower case."""


def read_orbits(path: Path) -> pa.Table:
    """Return the test orbits of a csv or parquet file as rows of `tables.TEST_ORBITS`; other columns are left out.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    return _checked(read_table_file(path))


def orbits_from_csv(body: bytes, *, name: str) -> pa.Table:
    """Return the test orbits of a csv that lies in the bucket as `name`; checked like a person's file."""
    return _checked(csv_from_bytes(body, name=name))


def _checked(file: TableFile) -> pa.Table:
    if not file.has("epoch") and file.has("mjd_tdb"):
        # THOR's own tables of recovered orbits say mjd_tdb: they can be test orbits as they are.
        names = ["epoch" if name == "mjd_tdb" else name for name in file.table.column_names]
        file = TableFile(file.name, file.table.rename_columns(names))
    file.require_columns(["orbit_id", "epoch", *COORDINATES])
    if _has_units_row(file):
        _require_units(file)
        file = file.without_first_row()
        file.require_columns(["orbit_id"])
    orbit_ids = file.required_strings("orbit_id")
    require_unique(file, "orbit_id", orbit_ids)
    columns = {
        "orbit_id": orbit_ids,
        "epoch": file.numbers("epoch", EPOCH),
        **{name: file.numbers(name, POSITION) for name in "xyz"},
        **{name: file.numbers(name, VELOCITY) for name in ("vx", "vy", "vz")},
        "covariance": _covariance(file),
    }
    _require_not_at_the_sun(file, columns)
    return pa.table(columns, schema=TEST_ORBITS)


def _has_units_row(file: TableFile) -> bool:
    """Tell whether the first row is one of units, perhaps of wrong ones."""
    epoch, x = (file.table[name][0].as_py() for name in ("epoch", "x"))
    if not isinstance(epoch, str) or not isinstance(x, str):
        return False
    return x.strip().lower() in {"au", "[au]"} or (_is_words(epoch) and _is_words(x))


def _is_words(text: str) -> bool:
    return text.strip(" [(")[:1].isalpha() and text.strip().lower() not in {"nan", "inf", "infinity"}


def _require_units(file: TableFile) -> None:
    for name, spellings in UNITS.items():
        found = str(file.table[name][0].as_py())
        if re.sub(r"[\[\]()\s]", "", found).lower() not in spellings.values():
            raise BadInputError(
                f"Cannot use {file.name}: column {name!r} has the unit {found!r}, expected {' or '.join(spellings)!r}. "
                "Convert the orbits to heliocentric ecliptic J2000 in these units and submit again."
            )


def _covariance(file: TableFile) -> pa.Array:
    kind = TEST_ORBITS.field("covariance").type
    if file.has("covariance") and not pa.types.is_string(file.table["covariance"].type):
        return _covariance_lists(file, kind)
    present = [name for name in COVARIANCE_COLUMNS if file.has(name)]
    if not present:
        return pa.nulls(len(file.table), kind)
    file.require_columns(list(COVARIANCE_COLUMNS))
    columns = [file.numbers_or_null(name, ANY_NUMBER) for name in COVARIANCE_COLUMNS]
    missing = sum(pc.is_null(column).to_numpy(zero_copy_only=False).astype(int) for column in columns)
    partly = pa.array((missing > 0) & (missing < len(columns)))
    file.refuse_rows(COVARIANCE_COLUMNS[0], partly, "all 21 values of a covariance, or none")
    rows = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    found = pa.array([None if gap else list(row) for row, gap in zip(rows, missing > 0, strict=True)], kind)
    return _possible(file, COVARIANCE_COLUMNS[0], found)


def _covariance_lists(file: TableFile, kind: pa.DataType) -> pa.Array:
    try:
        found = pa.array(file.table["covariance"].to_pylist(), kind)
    except pa.ArrowException as error:
        raise BadInputError(
            f"Cannot use {file.name}: column 'covariance' does not hold lists of 21 numbers: {error}. "
            "Write the lower triangle row by row, or leave the column out."
        ) from error
    return _possible(file, "covariance", found)


def _possible(file: TableFile, name: str, covariances: pa.Array) -> pa.Array:
    """Return the covariances, all of which are finite and have no negative variance in any direction."""
    wrong = [each is not None and not _is_covariance(np.array(each, float)) for each in covariances.to_pylist()]
    file.refuse_rows(name, pa.array(wrong), "a covariance: finite numbers, with no negative variance in any direction")
    return covariances


def _is_covariance(triangle: FloatArray) -> bool:
    if not np.isfinite(triangle).all():
        return False
    matrix = np.zeros((6, 6))
    matrix[np.tril_indices(6)] = triangle
    sigmas = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    if (np.diag(matrix) < 0.0).any():
        return False
    # Of the correlations, since variances of positions and velocities differ by many powers of ten.
    scale = np.where(sigmas > 0.0, sigmas, 1.0)
    whole = (matrix + np.tril(matrix, -1).T) / np.outer(scale, scale)
    return bool(np.linalg.eigvalsh(whole)[0] >= -ROUNDING)


def _require_not_at_the_sun(file: TableFile, columns: dict[str, pa.Array]) -> None:
    position = np.column_stack([columns[name].to_numpy() for name in "xyz"])
    velocity = np.column_stack([columns[name].to_numpy() for name in ("vx", "vy", "vz")])
    momentum = np.linalg.norm(np.cross(position, velocity), axis=1)
    file.refuse_rows("x", pa.array(momentum == 0), "a state that is not at the Sun and not moving straight at it")
