"""What a catalogue says of an orbit besides the engine's columns: perihelion, period, class, uncertainty parameter.

Pure functions of a table with the columns of `tables.RECOVERED_ORBITS`, whichever engine made it.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.orbit_classes import orbit_classes
from tasks.engines.builtin.astrodynamics.perihelion import perihelia_from_states
from tasks.engines.builtin.astrodynamics.photometry import SLOPE

FloatArray = NDArray[np.float64]

DAYS_PER_YEAR = 365.25
"""Julian year, days."""

RUNOFF_STEP = np.log(648_000.0) / 9.0
"""Logarithm of the runoff between two values of the uncertainty parameter: 9 begins at 180 deg in a decade."""

GAUSS_CONSTANT_DEG = 0.9856076686
"""Gauss's gravitational constant in degrees, mean daily motion at 1 au: of the uncertainty parameter's formula."""

CATALOGUE_FIELDS = (
    #: 1-sigma of the perihelion distance `q`, au.
    pa.field("q_sigma", pa.float64()),
    #: Time of the perihelion passage next to the epoch, MJD TDB, and its 1-sigma, days. With q, e, i, raan and ap
    #: these are the cometary elements.
    pa.field("tp", pa.float64()),
    pa.field("tp_sigma", pa.float64()),
    #: Aphelion distance, au, and period, Julian years; null for an orbit that is not bound.
    pa.field("Q", pa.float64()),
    pa.field("period", pa.float64()),
    #: Slope parameter that H was computed with; null where there is no H.
    pa.field("G", pa.float64()),
    #: Dynamical class, by the codes of JPL's Small-Body Database: see `orbit_classes`.
    pa.field("orbit_class", pa.string(), nullable=False),
    #: The Minor Planet Center's uncertainty parameter, 0 (best) to 9; null where it is not defined.
    pa.field("uncertainty_parameter", pa.int32()),
)


def catalogue_columns(orbits: pa.Table) -> dict[str, pa.Array]:
    """Return a column for each of `CATALOGUE_FIELDS`, row for row."""
    states = np.column_stack([_floats(orbits, name) for name in ("x", "y", "z", "vx", "vy", "vz")])
    perihelia = perihelia_from_states(states, covariances_from_table(orbits))
    a, e, q = (_floats(orbits, name) for name in ("a", "e", "q"))
    bound = (a > 0.0) & (e < 1.0)
    with np.errstate(invalid="ignore"):
        period_days = np.where(bound, 2.0 * np.pi * np.sqrt(np.abs(a) ** 3 / MU_SUN), np.nan)
    period_sigma = 1.5 * period_days / a * _floats(orbits, "a_sigma")
    parameter = uncertainty_parameter(e, period_days, period_sigma, perihelia.time_sigma)
    columns = {
        "q_sigma": _or_null(perihelia.distance_sigma),
        "tp": _or_null(_floats(orbits, "epoch") + perihelia.time_from_epoch),
        "tp_sigma": _or_null(perihelia.time_sigma),
        "Q": _or_null(np.where(bound, a * (1.0 + e), np.nan)),
        "period": _or_null(period_days / DAYS_PER_YEAR),
        "G": _or_null(np.where(np.isfinite(_floats(orbits, "H")), SLOPE, np.nan)),
        "orbit_class": pa.array(orbit_classes(a, e, q), pa.string()),
        "uncertainty_parameter": _or_null(parameter).cast(pa.int32()),
    }
    return {field.name: columns[field.name].cast(field.type) for field in CATALOGUE_FIELDS}


def uncertainty_parameter(
    e: FloatArray, period_days: FloatArray, period_sigma_days: FloatArray, tp_sigma_days: FloatArray
) -> FloatArray:
    r"""Return the uncertainty parameter U of each orbit, nan where it is not defined.

    Notes
    -----
    RUNOFF = (dT e + 10 dP / P) (k / P) 3600 * 3 arcsec per decade, and U = floor(ln(RUNOFF) / 1.49) + 1, within 0 to 9.
    dT and dP are the uncertainties of the time of perihelion and of the period in days, P the period in Julian years,
    k Gauss's constant in degrees. Source: Minor Planet Center, "Uncertainty Parameter U".
    """
    years = period_days / DAYS_PER_YEAR
    runoff = (tp_sigma_days * e + 10.0 * period_sigma_days / years) * GAUSS_CONSTANT_DEG / years * 3600.0 * 3.0
    with np.errstate(invalid="ignore", divide="ignore"):
        parameter = np.floor(np.log(runoff) / RUNOFF_STEP) + 1.0
    limited: FloatArray = np.clip(parameter, 0.0, 9.0)
    return limited


def covariances_from_table(orbits: pa.Table) -> FloatArray:
    """Return the covariances of the states, shape (m, 6, 6), from lists of their lower triangles; nan where null."""
    full = np.full((len(orbits), 6, 6), np.nan)
    column = orbits["covariance"].combine_chunks()
    known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    # Values of null lists lie in the child array all the same: flatten() leaves them out.
    triangles = column.flatten().to_numpy(zero_copy_only=False).reshape(len(known), 21)
    rows, columns = np.tril_indices(6)
    full[known[:, None], rows, columns] = triangles
    full[known[:, None], columns, rows] = triangles
    return full


def _floats(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def _or_null(values: FloatArray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
