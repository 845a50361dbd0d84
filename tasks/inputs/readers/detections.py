"""What a reader gives, and the columns of a file from which it is made."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.builtin.observations_check import LARGEST_SIGMA_DEG
from tasks.engines.setting_fields import TextThat, settings_group
from tasks.engines.tables import OBJECT_ID, OBSERVATIONS, OBSERVER_POSITION
from tasks.engines.time_scales import TimeScale
from tasks.errors import BadInputError
from tasks.inputs.observatories import located_observatory_codes, moving_observer_codes
from tasks.inputs.readers.measurements import (
    Blanked,
    is_sexagesimal,
    magnitudes,
    text_or_null,
    values_of_sexagesimal,
    without_sigma_sentinels,
    wrapped,
)
from tasks.inputs.readers.times import TimeFormat, mjd_utc_of
from tasks.inputs.table_file import ANY_NUMBER, Range, TableFile, require_names, whole_column

RA_HOURS = Range(0, 24, "hours in [0, 24)")
RA_DEG = Range(0, 360, "degrees in [0, 360)")
"""A full turn is 0: what is so near to it that a float can't tell is rounded to it."""
DEC_DEG = Range(-90, 90, "degrees in [-90, 90]")

SEXAGESIMAL_RA = (
    "degrees in [0, 360), not sexagesimal, which may mean hours or degrees (if hours: put "
    "columns.ra_unit,hours in the config)"
)

OBSERVER_AU = Range(-100, 100, "au from the Earth's centre, between -100 and 100")

AngleUnit = Literal["deg", "hours"]
SigmaUnit = Literal["deg", "arcsec"]

DEG_PER_SIGMA_UNIT: Mapping[SigmaUnit, float] = {"deg": 1.0, "arcsec": 1.0 / 3600.0}


@dataclass(frozen=True)
class Detections:
    """The detections of a file."""

    #: Rows of `tables.OBSERVATIONS`, checked, in the order of the file.
    table: pa.Table
    #: What was left out or filled in, in words for people, with counts. Empty: the file as it is.
    notes: tuple[str, ...] = ()


ColumnName = Annotated[str, TextThat(bool, "the name of a column")]


@settings_group
class ObservationColumns:
    """Which columns of a file hold what, by the file's own names; empty: the file has no such column.

    The defaults are THOR v1.2's. The keys `columns.*` of a config name others.
    """

    obs_id: str = "obs_id"
    """Unique id of a detection; empty: ids are made of the numbers of the rows."""
    time: ColumnName = "mjd_utc"
    """Time of the middle of the exposure."""
    time_format: TimeFormat = "mjd"
    """Format of the time: mjd, jd, or iso (such as 2026-11-25T03:04:05.678Z)."""
    time_scale: TimeScale = "utc"
    """Time scale of the time."""
    ra: ColumnName = "RA_deg"
    """Right ascension, ICRF."""
    ra_unit: AngleUnit = "deg"
    """Unit of the right ascension."""
    dec: ColumnName = "Dec_deg"
    """Declination, ICRF, deg."""
    ra_sigma: str = "RA_sigma_deg"
    """1-sigma uncertainty of RA cos(Dec)."""
    dec_sigma: str = "Dec_sigma_deg"
    """1-sigma uncertainty of Dec."""
    sigma_unit: SigmaUnit = "deg"
    """Unit of both uncertainties."""
    observatory_code: str = "observatory_code"
    """The Minor Planet Center's code of the observatory."""
    observatory: str = ""
    """One code for all rows, in place of a column."""
    mag: str = "mag"
    """Magnitude."""
    mag_sigma: str = "mag_sigma"
    """1-sigma uncertainty of the magnitude."""
    filter: str = "filter"
    """The filter's name."""
    exposure_id: str = "exposure_id"
    """Id of the exposure."""
    night_id: str = "night_id"
    """Id of the night."""
    observer_x: str = "observer_x_au"
    """Where an observer that moves is: au from the Earth's centre, ICRF; all three coordinates, or none."""
    observer_y: str = "observer_y_au"
    """See observer_x."""
    observer_z: str = "observer_z_au"
    """See observer_x."""
    object_id: str = "object_id"
    """The truth, where it is known: results are judged by it."""

    @property
    def required(self) -> list[str]:
        """Names of the columns that the file must have."""
        place = [] if self.observatory else [self.observatory_code]
        truth = (
            [self.object_id] if self.object_id != OBJECT_ID.name else []
        )  # named by somebody: not there by a mistake
        named = (self.obs_id, self.time, self.ra, self.dec, self.ra_sigma, self.dec_sigma, *place, *truth)
        return [name for name in named if name]


THOR_COLUMNS = ObservationColumns()


def detections_of_block(file: TableFile, columns: ObservationColumns = THOR_COLUMNS) -> tuple[pa.Table, Blanked]:
    """Return the rows of `tables.OBSERVATIONS` that these columns of a file hold; others are left out, but the truth.

    Everything is checked that can be seen in these rows alone: not whether an id is there a second time. Beside them
    the optional values that were taken for none, since they are no measurements.

    Raises
    ------
    BadInputError
        For the first thing that is wrong.
    """
    blanked: Blanked = Counter()
    positions = _observer_positions(file, columns)
    found = {
        "obs_id": file.required_strings(columns.obs_id) if columns.obs_id else made_ids(file),
        "mjd_utc": mjd_utc_of(file, columns.time, columns.time_format, columns.time_scale),
        "RA_deg": _right_ascensions(file, columns),
        "Dec_deg": _declinations(file, columns),
        "RA_sigma_deg": _sigmas(file, columns.ra_sigma, columns.sigma_unit, blanked),
        "Dec_sigma_deg": _sigmas(file, columns.dec_sigma, columns.sigma_unit, blanked),
        "observatory_code": _observatories(file, columns, positions),
        **_magnitudes(file, columns, blanked),
        "filter": _optional_strings(file, columns.filter),
        "exposure_id": _optional_strings(file, columns.exposure_id),
        "night_id": _optional_strings(file, columns.night_id),
    }
    table = pa.table(found, schema=OBSERVATIONS)
    for field, position in zip(OBSERVER_POSITION, positions, strict=False):
        table = table.append_column(field, position)
    if columns.object_id and file.has(columns.object_id):
        table = table.append_column(OBJECT_ID, _optional_strings(file, columns.object_id))
    return table, blanked


def made_ids(file: TableFile) -> pa.Array:
    """Return an id for each row of a file that has none: row-1, row-2, or line-N where a file counts lines."""
    if file.lines is None:
        first = 1 + file.rows_before
        return pa.array([f"row-{row}" for row in range(first, first + len(file.table))], pa.string())
    return pa.array([f"{file.unit}-{number}" for number in file.lines], pa.string())


def _right_ascensions(file: TableFile, columns: ObservationColumns) -> pa.Array:
    if columns.ra_unit == "hours":
        hours = _with_sexagesimal(file, columns.ra).numbers(columns.ra, RA_HOURS)
        return wrapped(pc.multiply(hours, 15.0), 360.0)
    if pa.types.is_string(file.table[columns.ra].type):
        text = whole_column(file.table[columns.ra])
        file.refuse_rows(columns.ra, is_sexagesimal(text), SEXAGESIMAL_RA)
    return wrapped(file.numbers(columns.ra, RA_DEG), 360.0)


def _declinations(file: TableFile, columns: ObservationColumns) -> pa.Array:
    return _with_sexagesimal(file, columns.dec).numbers(columns.dec, DEC_DEG)


def _with_sexagesimal(file: TableFile, name: str) -> TableFile:
    """Return the file with numbers in place of the sexagesimal texts of a column, if it has any."""
    column = whole_column(file.table[name])
    if not pa.types.is_string(column.type) or not pc.any(is_sexagesimal(column)).as_py():
        return file
    values = values_of_sexagesimal(column).cast(pa.string())
    meant = pc.if_else(pc.is_null(values), column, values)
    return replace(file, table=file.table.set_column(file.table.column_names.index(name), name, meant))


def _sigmas(file: TableFile, name: str, unit: SigmaUnit, blanked: Blanked) -> pa.Array:
    if not name:
        return pa.nulls(len(file.table), pa.float64())
    scale = DEG_PER_SIGMA_UNIT[unit]
    most = LARGEST_SIGMA_DEG / scale
    said = {"deg": "degrees", "arcsec": "arcseconds"}[unit]
    allowed = Range(0, most, f"{said}, more than 0 and at most {most:g}", low_is_in=False)
    values = without_sigma_sentinels(name, file.numbers_or_null(name, ANY_NUMBER), blanked)
    values = file.in_range(name, values, allowed)
    return values if unit == "deg" else pc.multiply(values, scale)


def _magnitudes(file: TableFile, columns: ObservationColumns, blanked: Blanked) -> dict[str, pa.Array]:
    mag, sigma, none = magnitudes(
        _optional_numbers(file, columns.mag, ANY_NUMBER), _optional_numbers(file, columns.mag_sigma, ANY_NUMBER)
    )
    blanked.update(none)
    return {"mag": mag, "mag_sigma": sigma}


def _observer_positions(file: TableFile, columns: ObservationColumns) -> list[pa.Array]:
    """Return x, y and z of the observers; an empty list: no column says where they are."""
    names = [columns.observer_x, columns.observer_y, columns.observer_z]
    if not any(name and file.has(name) for name in names):
        return []
    require_names(file.name, file.table.column_names, names)
    positions = [file.numbers_or_null(name, OBSERVER_AU) for name in names]
    any_is_null = functools.reduce(pc.or_, map(pc.is_null, positions))
    for name, position in zip(names, positions, strict=True):
        partly = pc.and_(any_is_null, pc.is_valid(position))
        file.refuse_rows(name, partly, "nothing, or a number in each of the observer's three coordinates")
    return positions


def _observatories(file: TableFile, columns: ObservationColumns, positions: list[pa.Array]) -> pa.Array:
    known = located_observatory_codes()
    expected = "the Minor Planet Center's code of an observatory on the Earth, such as '070' or 'X05'"
    if columns.observatory:
        if columns.observatory not in known:
            raise BadInputError(
                f"Cannot use {file.name}: 'columns.observatory' is {columns.observatory!r}, expected {expected}."
            )
        return pa.array([columns.observatory] * len(file.table), pa.string())
    codes = pc.utf8_trim_whitespace(file.required_strings(columns.observatory_code))
    unknown = [code for code in codes.unique().to_pylist() if code not in known]
    wrong = pc.is_in(codes, pa.array(unknown, pa.string()))
    moving = pa.array([code for code in unknown if code in moving_observer_codes()], pa.string())
    if positions:
        wrong = pc.and_(wrong, pc.or_(pc.is_null(positions[0]), pc.invert(pc.is_in(codes, moving))))
    if pc.any(pc.and_(wrong, pc.is_in(codes, moving))).as_py():
        expected += (
            "; spacecraft and roving observers only with their position (columns observer_x_au, observer_y_au, "
            "observer_z_au; in ADES sys, ctr, pos1, pos2, pos3; in 80 columns a second line)"
        )
    file.refuse_rows(columns.observatory_code, wrong, expected)
    return codes


def _optional_numbers(file: TableFile, name: str, allowed: Range) -> pa.Array:
    if not name or not file.has(name):
        return pa.nulls(len(file.table), pa.float64())
    return file.numbers_or_null(name, allowed)


def _optional_strings(file: TableFile, name: str) -> pa.Array:
    if not name or not file.has(name):
        return pa.nulls(len(file.table), pa.string())
    return text_or_null(file.strings(name))
