"""What every reader of a catalogue gives: blocks with rows of `KNOWN_ORBITS`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.inputs.csv_text import COORDINATES
from tasks.inputs.readers.orbit_forms import COMETARY, KEPLERIAN, states_of

FloatArray = npt.NDArray[np.float64]

ROWS_AT_A_TIME = 100_000
"""Orbits of a block: 20 MB."""

RUNOFF_STEP = math.log(648_000.0) / 9.0
"""Logarithm of the runoff between two values of the uncertainty parameter; see `orbit_catalogue`."""

WORST_PARAMETER = 9


@dataclass(frozen=True)
class Elements:
    """Orbits by their elements, about the Sun, ecliptic J2000."""

    ids: Sequence[object]
    epochs_mjd_tdb: FloatArray
    #: shape (m, 6): a, e, i, raan, ap, M in au and deg; nan where `cometary` has the orbit.
    keplerian: FloatArray
    #: shape (m, 6): q, e, i, raan, ap, tp in au, deg and MJD TDB; None: none has.
    cometary: FloatArray | None = None


def known_orbits_table(
    elements: Elements,
    *,
    absolute_mag: FloatArray,
    slope: FloatArray,
    runoff: FloatArray,
    last_observed: FloatArray,
) -> pa.Table:
    """Return rows of `KNOWN_ORBITS`; orbits that are none (no elements, no state) are left out."""
    epochs = elements.epochs_mjd_tdb
    states = states_of(KEPLERIAN, elements.keplerian, epochs)
    if elements.cometary is not None:
        others = states_of(COMETARY, elements.cometary, epochs)
        lacking = ~_are_finite(states)
        states[lacking] = others[lacking]
    columns = {
        "orbit_id": pa.array([str(each) for each in elements.ids]),
        "epoch": pa.array(epochs),
        **{name: pa.array(np.ascontiguousarray(states[:, axis])) for axis, name in enumerate(COORDINATES)},
        "covariance": pa.nulls(len(states), KNOWN_ORBITS.field("covariance").type),
        "H": _or_null(absolute_mag),
        "G": _or_null(slope),
        "runoff": _or_null(runoff),
        "last_observed": _or_null(last_observed),
    }
    usable = _are_finite(states) & np.isfinite(epochs)
    return pa.table(columns, schema=KNOWN_ORBITS).filter(pa.array(usable))


def _are_finite(states: FloatArray) -> npt.NDArray[np.bool_]:
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(states).all(axis=1))
    return finite


def runoff_from_parameter(parameter: str) -> float:
    """Return the largest runoff, arcsec a decade, of an uncertainty parameter; nan: it says nothing.

    Letters (D, E, F) are of orbits whose eccentricity was assumed, or known badly: the worst.
    """
    text = parameter.strip().removesuffix(".0")
    if not text:
        return math.nan
    number = int(text) if text.isdigit() else WORST_PARAMETER
    return math.exp(RUNOFF_STEP * min(number, WORST_PARAMETER))


def _or_null(values: FloatArray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
