"""What is wrong with a table of observations, if anything. Pure: a client asks before it uploads anything."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.builtin.astrodynamics.observers import known_observatory_codes, listed_codes, positions_of_table
from tasks.engines.errors import EngineInputError
from tasks.engines.tables import OBSERVATIONS, OBSERVER_POSITION

EARLIEST_MJD_UTC = 37685.0
"""1962-01-21: before it, the orientation of the Earth is not tabulated."""

LATEST_MJD_UTC = 88069.0
"""2100-01-01: a time beyond it is a Julian date, or seconds, put where an MJD belongs."""

_RANGES = {
    "mjd_utc": (EARLIEST_MJD_UTC, LATEST_MJD_UTC, "[37685, 88069) (years 1962 to 2099)"),
    "RA_deg": (0.0, 360.0, "[0, 360)"),
    "Dec_deg": (-90.0, 90.0, "[-90, 90]"),
}

LARGEST_SIGMA_DEG = 1.0
"""An uncertainty above it is in another unit: arcseconds, put where degrees belong."""


def conform_observations(observations: pa.Table, names: Sequence[str] = OBSERVATIONS.names) -> pa.Table:
    """Return the table with these columns of `tables.OBSERVATIONS`, as it types them, null where they may be.

    Those of `tables.OBSERVER_POSITION` stay where they are there; others go.

    Raises
    ------
    EngineInputError
        If a required column is missing, or a column cannot be read as its type.
    """
    columns = []
    extra = [field for field in OBSERVER_POSITION if field.name in observations.column_names]
    for field in (*map(OBSERVATIONS.field, names), *extra):
        if field.name not in observations.column_names:
            if not field.nullable:
                raise EngineInputError(
                    f"Observations have no column {field.name!r}: found {', '.join(observations.column_names)}."
                )
            columns.append(pa.nulls(len(observations), field.type))
            continue
        try:
            columns.append(observations[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise EngineInputError(f"Observations' column {field.name!r}: {error}; expected {field.type}.") from error
    return pa.table(columns, names=[*names, *(field.name for field in extra)])


def check_observations(observations: pa.Table) -> None:
    """Refuse observations that no engine can work on.

    Parameters
    ----------
    observations
        Columns of `tables.OBSERVATIONS`, as `conform_observations` gives them; mjd_utc, RA_deg, Dec_deg and
        observatory_code are there, what is not there is not checked.

    Raises
    ------
    EngineInputError
        The table is empty; a required value is missing or not a number, out of its range, or of an observatory
        whose place is not known; two rows have one id. The message names column, number of rows, first row and value.
    """
    if len(observations) == 0:
        raise EngineInputError("Observations are an empty table: expected at least one row.")
    names = observations.column_names
    for name in names:
        if name in OBSERVATIONS.names and not OBSERVATIONS.field(name).nullable:
            _refuse(observations, name, pc.is_null(observations[name], nan_is_null=True), "a value in each row")
    for name, (low, high, text) in _RANGES.items():
        values = observations[name]
        above = pc.greater if name == "Dec_deg" else pc.greater_equal
        inside = pc.and_(pc.is_finite(values), pc.invert(pc.or_(pc.less(values, low), above(values, high))))
        _refuse(observations, name, pc.invert(inside), text)
    for name in (name for name in ("RA_sigma_deg", "Dec_sigma_deg") if name in names):
        values = observations[name]
        wrong = pc.or_(pc.less_equal(values, 0.0), pc.greater(values, LARGEST_SIGMA_DEG))
        _refuse(observations, name, pc.fill_null(wrong, False), f"(0, {LARGEST_SIGMA_DEG:g}] degrees, or nothing")
    _check_observatories(observations)
    if "obs_id" in names:
        _check_ids(observations)


def _check_observatories(observations: pa.Table) -> None:
    known = pa.array(sorted(known_observatory_codes()))
    codes = observations["observatory_code"]
    if not pc.all(pc.is_in(pc.unique(codes), known)).as_py():
        expected = "a Minor Planet Center code of an observatory on the ground (a string: '070' is not '70')"
        positions = positions_of_table(observations)
        is_known = pc.is_in(codes, known)
        if positions is not None:
            expected = f"{expected}, or one of an observer whose position is given"
            moves = pa.chunked_array([np.isfinite(positions).all(axis=1)])
            is_known = pc.or_(is_known, pc.and_(moves, pc.is_in(codes, pa.array(sorted(listed_codes())))))
        _refuse(observations, "observatory_code", pc.invert(is_known), expected)


def _check_ids(observations: pa.Table) -> None:
    ids = observations["obs_id"]
    _refuse(observations, "obs_id", pc.equal(ids, ""), "an id")
    if pc.count_distinct(ids).as_py() != len(ids):
        # The slow way only for the message: which id is there more than once.
        counts = pc.value_counts(ids)
        repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        _refuse(observations, "obs_id", pc.is_in(ids, repeated), "a unique id in each row")


def _refuse(observations: pa.Table, name: str, wrong: pa.ChunkedArray, expected: str) -> None:
    count = pc.sum(wrong).as_py() or 0
    if count:
        row = pc.index(wrong, True).as_py()
        value = observations[name][row].as_py()
        raise EngineInputError(
            f"Observations' column {name!r} has {count} of {len(observations)} values that cannot be used, "
            f"first in row {row + 1}: {value!r}, expected {expected}."
        )
