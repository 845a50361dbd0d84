"""Test orbits: a person's file in any format that is known, checked; and the canonical csv of the bucket.

The bucket has THOR v1.2's columns: heliocentric ecliptic J2000 states in au and au / d at epochs MJD TDB. A covariance
is optional: 21 columns `cov_x_x, cov_y_x, cov_y_y, ...` in csv, a column `covariance` of lists in parquet.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import BadInputError
from tasks.inputs.csv_text import COVARIANCE_COLUMNS
from tasks.inputs.readers.adam_core_orbits import is_adam_core_orbits, read_adam_core_orbits
from tasks.inputs.readers.orbit_forms import CARTESIAN, EPOCH, EPOCH_UNITS, OrbitForm, form_of, states_of, values_of
from tasks.inputs.readers.orbit_tables import BoolArray, covariances_from_triangles, orbits_table, require_covariances
from tasks.inputs.table_file import ANY_NUMBER, TableFile, csv_from_bytes, read_table_file, require_unique

FloatArray = npt.NDArray[np.float64]


def read_orbits(path: Path) -> pa.Table:
    """Return the test orbits of a csv or parquet file as rows of `tables.TEST_ORBITS`; other columns are left out.

    States, Keplerian or cometary elements, or adam-core's tables: told by the columns.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    return orbits_from_file(read_table_file(path))


def orbits_from_csv(body: bytes, *, name: str) -> pa.Table:
    """Return the test orbits of a csv that lies in the bucket as `name`; checked like a person's file."""
    return orbits_from_file(csv_from_bytes(body, name=name))


def orbits_from_file(file: TableFile) -> pa.Table:
    """Return the test orbits of a table that was read; see `read_orbits`."""
    if is_adam_core_orbits(file.table.schema):
        return read_adam_core_orbits(file)
    if not file.has("epoch") and file.has("mjd_tdb"):
        # THOR's own tables of recovered orbits say mjd_tdb: they can be test orbits as they are.
        names = ["epoch" if name == "mjd_tdb" else name for name in file.table.column_names]
        file = TableFile(file.name, file.table.rename_columns(names))
    form = form_of(file)
    file.require_columns(["orbit_id", "epoch", *form.columns])
    if _has_units_row(file, form):
        _require_units(file, form)
        file = file.without_first_row()
        file.require_columns(["orbit_id"])
    orbit_ids = file.required_strings("orbit_id")
    require_unique(file, "orbit_id", orbit_ids)
    epochs = file.numbers("epoch", EPOCH).to_numpy(zero_copy_only=False)
    return orbits_table(
        file,
        form.first,
        orbit_ids=orbit_ids,
        epochs_mjd_tdb=epochs,
        states=states_of(form, values_of(file, form), epochs),
        covariances=_covariances(file) if form is CARTESIAN else None,
    )


def _has_units_row(file: TableFile, form: OrbitForm) -> bool:
    """Tell whether the first row is one of units, perhaps of wrong ones."""
    epoch, length = (file.table[name][0].as_py() for name in ("epoch", form.first))
    if not isinstance(epoch, str) or not isinstance(length, str):
        return False
    return length.strip().lower() in {"au", "[au]"} or (_is_words(epoch) and _is_words(length))


def _is_words(text: str) -> bool:
    return text.strip(" [(")[:1].isalpha() and text.strip().lower() not in {"nan", "inf", "infinity"}


def _require_units(file: TableFile, form: OrbitForm) -> None:
    for name, spellings in {"epoch": EPOCH_UNITS, **form.units}.items():
        found = str(file.table[name][0].as_py() or "")
        if _bare(found) not in {_bare(each) for each in spellings}:
            raise BadInputError(
                f"Cannot use {file.name}: column {name!r} has the unit {found!r}, expected {spellings[0]!r}. "
                "Convert the orbits to heliocentric ecliptic J2000 in these units and submit again."
            )


def _bare(unit: str) -> str:
    """Return a unit without blanks and brackets, in lower case."""
    return re.sub(r"[\[\]()\s]", "", unit).lower()


def _covariances(file: TableFile) -> FloatArray | None:
    """Return the covariances of the states, shape (m, 6, 6), nan where there is none; None: nowhere."""
    if file.has("covariance") and not pa.types.is_string(file.table["covariance"].type):
        name, triangles = "covariance", _triangles_of_lists(file, "covariance")
    elif any(file.has(each) for each in COVARIANCE_COLUMNS):
        name, triangles = COVARIANCE_COLUMNS[0], _triangles_of_columns(file)
    else:
        return None
    matrices = covariances_from_triangles(triangles)
    given: BoolArray = np.asarray(~np.isnan(triangles).all(axis=1))
    require_covariances(file, name, matrices, given)
    return matrices


def _triangles_of_lists(file: TableFile, name: str) -> FloatArray:
    """Return lower triangles (m, 21), nan where there is none."""
    triangles = np.full((len(file.table), 21), np.nan)
    if file.table[name].null_count == len(file.table):
        return triangles
    lists = file.lists(name)
    expected = "a list of 21 numbers: the lower triangle of a covariance, row by row"
    file.refuse_rows(name, pc.not_equal(pc.list_value_length(lists), 21), expected)
    values = lists.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, 21)
    file.refuse_rows(name, _rows(lists, np.isnan(values).any(axis=1)), "finite numbers, or no list")
    triangles[lists.is_valid().to_numpy(zero_copy_only=False)] = values
    return triangles


def _rows(lists: pa.Array, wrong: BoolArray) -> pa.Array:
    """Return what holds for the lists that are there for every row."""
    marked = lists.is_valid().to_numpy(zero_copy_only=False)
    marked[marked] = wrong
    return pa.array(marked)


def _triangles_of_columns(file: TableFile) -> FloatArray:
    """Return lower triangles (m, 21), nan where all of the columns are empty."""
    file.require_columns(list(COVARIANCE_COLUMNS))
    columns = [file.numbers_or_null(name, ANY_NUMBER) for name in COVARIANCE_COLUMNS]
    triangles = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    missing = np.isnan(triangles).sum(axis=1)
    partly = pa.array((missing > 0) & (missing < len(columns)))
    file.refuse_rows(COVARIANCE_COLUMNS[0], partly, "all 21 values of a covariance, or none")
    return triangles
