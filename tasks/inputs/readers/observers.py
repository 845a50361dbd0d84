"""Where an observer that moves was: ADES' columns `sys, ctr, pos1, pos2, pos3`, to au from the Earth's centre (ICRF).

The second lines of 80 columns become the same columns.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.builtin.astrodynamics.observers import celestial_positions_au
from tasks.engines.tables import OBSERVER_POSITION
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.readers.times import mjd_utc_of
from tasks.inputs.table_file import ANY_NUMBER, Checks, TableFile

FloatArray = npt.NDArray[np.float64]

SYSTEM, CENTRE = "sys", "ctr"

POSITION = ("pos1", "pos2", "pos3")

COLUMNS = (SYSTEM, CENTRE, *POSITION)

ICRF = {"ICRF_AU": 1.0, "ICRF_KM": 1.0 / 149_597_870.7}
"""Systems of axes that do not turn with the Earth, and their unit in au (IAU 2012 resolution B2)."""

EARTH_FIXED = ("WGS84", "ITRF")
"""East longitude and latitude, deg, and height above the ellipsoid, m; east longitude, deg, and distances from the axis
and from the equator's plane, km."""

EARTH = "399"
"""Code of the Earth's centre (NAIF)."""

WGS84_RADIUS_KM, WGS84_FLATTENING = 6378.137, 1.0 / 298.257223563
"""NIMA TR8350.2, table 3.1."""


def with_observers(file: TableFile, columns: ObservationColumns) -> TableFile:
    """Return the file with the columns of `tables.OBSERVER_POSITION`, null where a row has no position.

    Raises
    ------
    BadInputError
        For a position of which a part is missing, or whose system or centre is of no use here.
    """
    systems = file.strings(SYSTEM) if file.has(SYSTEM) else pa.nulls(len(file.table), pa.string())
    values = [
        file.numbers_or_null(name, ANY_NUMBER) if file.has(name) else pa.nulls(len(file.table), pa.float64())
        for name in POSITION
    ]
    has_system = pc.is_valid(systems)
    for name, each in zip(POSITION, values, strict=True):
        if file.has(name):
            wrong = pc.xor(has_system, pc.is_valid(each))
            file.refuse_rows(name, wrong, "a number where sys says in which system, and nothing where it does not")
    known = pc.is_in(systems, pa.array([*ICRF, *EARTH_FIXED]))
    file.refuse_rows(SYSTEM, pc.and_(has_system, pc.invert(known)), f"one of {', '.join([*ICRF, *EARTH_FIXED])}")
    if file.has(CENTRE):
        others = pc.and_(has_system, pc.not_equal(pc.fill_null(file.strings(CENTRE), EARTH), EARTH))
        file.refuse_rows(CENTRE, others, f"{EARTH}, the Earth's centre: give the position from there")
    numbers = np.column_stack([each.to_numpy(zero_copy_only=False) for each in values])
    return _appended(file, _positions_au(file, columns, systems, numbers))


def _positions_au(file: TableFile, columns: ObservationColumns, systems: pa.Array, values: FloatArray) -> FloatArray:
    names = np.array(systems.fill_null("").to_pylist())
    positions = np.full(values.shape, np.nan)
    for name, unit_au in ICRF.items():
        positions[names == name] = values[names == name] * unit_au
    fixed = np.isin(names, EARTH_FIXED)
    if fixed.any():
        # With checks of its own: those of a block are the same in each, and few rows have such a position.
        times = mjd_utc_of(replace(file, checks=Checks()), columns.time, columns.time_format, columns.time_scale)
        geodetic = names[fixed] == "WGS84"
        cylindrical = np.where(geodetic[:, None], cylindrical_km(values[fixed]), values[fixed])
        longitude = np.radians(cylindrical[:, 0])
        axes = [np.cos(longitude) * cylindrical[:, 1], np.sin(longitude) * cylindrical[:, 1], cylindrical[:, 2]]
        earth_fixed_au = np.column_stack(axes) * ICRF["ICRF_KM"]
        positions[fixed] = celestial_positions_au(earth_fixed_au, times.to_numpy(zero_copy_only=False)[fixed])
    return positions


def cylindrical_km(geodetic: FloatArray) -> FloatArray:
    """Return longitude, deg, and distances from the axis and the equator's plane, km, of WGS84 positions.

    Parameters
    ----------
    geodetic : shape (k, 3)
        East longitude, deg; latitude, deg; height above the ellipsoid, m.
    """
    latitude, height_km = np.radians(geodetic[:, 1]), geodetic[:, 2] / 1000.0
    squared = WGS84_FLATTENING * (2.0 - WGS84_FLATTENING)
    normal = WGS84_RADIUS_KM / np.sqrt(1.0 - squared * np.sin(latitude) ** 2)
    from_axis = (normal + height_km) * np.cos(latitude)
    from_plane = (normal * (1.0 - squared) + height_km) * np.sin(latitude)
    return np.column_stack([geodetic[:, 0], from_axis, from_plane])


def _appended(file: TableFile, positions: FloatArray) -> TableFile:
    table = file.table
    for name, values in zip(OBSERVER_POSITION.names, positions.T, strict=True):
        table = table.append_column(name, pa.array(values, from_pandas=True))
    return replace(file, table=table)


def brings_positions(names: Sequence[str]) -> bool:
    """Tell whether a file with these columns may say where an observer was."""
    return any(name in names for name in COLUMNS)
