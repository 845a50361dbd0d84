"""The forms in which an orbit's six numbers stand in a table: their columns and units, their checks, their states.

About the Sun, ecliptic J2000 unless the file says otherwise; angles in degrees, times MJD TDB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.inputs.table_file import Range, TableFile

FloatArray = npt.NDArray[np.float64]

EPOCH = Range(-21504, 124593, "an MJD TDB between -21504 and 124593 (years 1800 to 2200; not a Julian date)")
POSITION = Range(-10_000, 10_000, "a coordinate in au")
VELOCITY = Range(-1, 1, "a velocity in au / d")
ECCENTRICITY = Range(0, np.inf, "an eccentricity: a number that is at least 0", high_is_in=False)
INCLINATION = Range(0, 180, "an inclination in degrees, [0, 180]")
ANGLE = Range(-360, 360, "an angle in degrees, [-360, 360]")
MEAN_ANOMALY = Range(-np.inf, np.inf, "a mean anomaly in degrees, finite", low_is_in=False, high_is_in=False)
SEMI_MAJOR_AXIS = Range(
    -np.inf, np.inf, "a semi-major axis in au, negative for a hyperbola", low_is_in=False, high_is_in=False
)
PERIHELION = Range(0, 10_000, "a perihelion distance in au, more than 0", low_is_in=False)
PERIHELION_TIME = Range(-2_000_000, 2_300_000, "an MJD TDB (not a Julian date)")
"""Long-period bodies may pass perihelion thousands of years from now; Julian dates of today begin above."""


@dataclass(frozen=True)
class OrbitForm:
    """Six columns that hold an orbit."""

    #: Column -> what its values must be.
    columns: Mapping[str, Range]
    #: Column -> its unit, as THOR writes it in a row of units, first, and how else it may be spelt.
    units: Mapping[str, tuple[str, ...]]

    @property
    def first(self) -> str:
        """The column by which an orbit that is wrong as a whole is named."""
        return next(iter(self.columns))


_AU, _SPEED = ("au",), ("au / d", "au / day")
_DEG = ("deg", "degree", "degrees", "°")
_TIME = ("mjd [TDB]",)
_NONE = ("--", "-", "", "1", "dimensionless", "none")
_PLANE = {"i": INCLINATION, "raan": ANGLE, "ap": ANGLE}
_PLANE_UNITS = dict.fromkeys(_PLANE, _DEG)

CARTESIAN = OrbitForm(
    MappingProxyType({**dict.fromkeys("xyz", POSITION), **dict.fromkeys(("vx", "vy", "vz"), VELOCITY)}),
    MappingProxyType({**dict.fromkeys("xyz", _AU), **dict.fromkeys(("vx", "vy", "vz"), _SPEED)}),
)
KEPLERIAN = OrbitForm(
    MappingProxyType({"a": SEMI_MAJOR_AXIS, "e": ECCENTRICITY, **_PLANE, "M": MEAN_ANOMALY}),
    MappingProxyType({"a": _AU, "e": _NONE, **_PLANE_UNITS, "M": _DEG}),
)
COMETARY = OrbitForm(
    MappingProxyType({"q": PERIHELION, "e": ECCENTRICITY, **_PLANE, "tp": PERIHELION_TIME}),
    MappingProxyType({"q": _AU, "e": _NONE, **_PLANE_UNITS, "tp": _TIME}),
)

FORMS = (CARTESIAN, KEPLERIAN, COMETARY)
"""A file that has the columns of several is read in the first of them: a state needs no conversion."""

EPOCH_UNITS = _TIME


def form_of(file: TableFile, prefix: str = "") -> OrbitForm:
    """Return the form of which the file has most columns, the first if several; each name begins with `prefix`."""
    return max(FORMS, key=lambda form: sum(file.has(prefix + name) for name in form.columns))


def values_of(file: TableFile, form: OrbitForm, prefix: str = "") -> FloatArray:
    """Return the six numbers of each row, all of them checked, shape (m, 6)."""
    columns = [file.numbers(prefix + name, allowed) for name, allowed in form.columns.items()]
    values = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    if form is KEPLERIAN:
        _require_one_kind(file, values, prefix)
    return values


def states_of(form: OrbitForm, values: FloatArray, epochs_mjd_tdb: FloatArray) -> FloatArray:
    """Return the states, au and au/d, in the frame of the values; what no number can hold is nan or infinite."""
    if form is CARTESIAN:
        return values
    # The engine's compiled kernels take a second to import: a caller that brings states shall not pay for it.
    from tasks.engines.builtin.astrodynamics.element_states import (  # noqa: PLC0415
        states_from_cometary,
        states_from_keplerian,
    )

    with np.errstate(all="ignore"):
        return states_from_keplerian(values) if form is KEPLERIAN else states_from_cometary(values, epochs_mjd_tdb)


def covariances_of_states(
    form: OrbitForm, values: FloatArray, epochs_mjd_tdb: FloatArray, covariances: FloatArray
) -> FloatArray:
    """Return the covariances of the states, shape (m, 6, 6), of those of the six numbers."""
    if form is CARTESIAN:
        return covariances
    from tasks.engines.builtin.astrodynamics.element_states import (  # noqa: PLC0415
        covariances_from_cometary,
        covariances_from_keplerian,
    )

    with np.errstate(all="ignore"):
        if form is KEPLERIAN:
            return covariances_from_keplerian(values, covariances)
        return covariances_from_cometary(values, epochs_mjd_tdb, covariances)


def _require_one_kind(file: TableFile, values: FloatArray, prefix: str) -> None:
    """Refuse a semi-major axis of an ellipse with the eccentricity of a hyperbola, and the other way round."""
    a, e = values[:, 0], values[:, 1]
    parabola = "; a parabola has no semi-major axis: give q and tp instead of a and M"
    file.refuse_rows(f"{prefix}a", pa.array(a == 0.0), "a semi-major axis in au that is not 0")
    below = f"an eccentricity below 1, as {prefix}a is positive (that of a hyperbola is negative){parabola}"
    file.refuse_rows(f"{prefix}e", pa.array((a > 0.0) & (e >= 1.0)), below)
    above = f"an eccentricity above 1, as {prefix}a is negative (that of an ellipse is positive){parabola}"
    file.refuse_rows(f"{prefix}e", pa.array((a < 0.0) & (e <= 1.0)), above)
