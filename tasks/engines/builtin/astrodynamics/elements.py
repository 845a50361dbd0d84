"""Keplerian elements of states, with their sigmas. Heliocentric; angles in degrees.

Source: Vallado 2013, Fundamentals of Astrodynamics (4th ed.), algorithm 9 (state to elements) and section 2.2
(Kepler's equation and its hyperbolic form).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

NAMES = ("a", "e", "i", "raan", "ap", "M")
"""Semi-major axis, au (negative: hyperbola); eccentricity; inclination, longitude of the ascending node, argument of
perihelion and mean anomaly, deg. For a hyperbola M = e sinh F - F, in deg."""

_SCALED_STEP = 1e-6
"""Relative step of the numerical partials: balances truncation (1e-12) against rounding (1e-10)."""


@dataclass(frozen=True)
class Elements:
    """Osculating elements of m orbits."""

    #: shape (m, 6): columns `NAMES`.
    values: FloatArray
    #: shape (m, 6): 1-sigma, to first order; nan where there is no covariance.
    sigmas: FloatArray
    #: shape (m,): perihelion distance, au.
    perihelion: FloatArray


def elements_from_states(states: FloatArray, covariances: FloatArray) -> Elements:
    """Return the elements of states (m, 6), au and au/d, with sigmas from covariances (m, 6, 6)."""
    values = keplerian_from_states(states)
    partials = np.empty((len(states), 6, 6))
    _partials(np.ascontiguousarray(states), partials)
    variances = np.einsum("mai,mij,maj->ma", partials, covariances, partials)
    with np.errstate(invalid="ignore"):
        sigmas = np.sqrt(variances)
    return Elements(values, sigmas, values[:, 0] * (1.0 - values[:, 1]))


def keplerian_from_states(states: FloatArray) -> FloatArray:
    """Return a, e, i, raan, ap and M of states (m, 6), shape (m, 6).

    Where an angle is not defined (node of an orbit in the ecliptic, perihelion of a circle) it is zero, and the
    following angle counts from there.
    """
    values = np.empty((len(states), 6))
    _keplerian_of_each(np.ascontiguousarray(states, dtype=np.float64), values)
    return values


@kernel
def _keplerian_of_each(states: FloatArray, values: FloatArray) -> None:
    for k in range(states.shape[0]):
        _keplerian(states[k], values[k])


@kernel
def _keplerian(state: FloatArray, out: FloatArray) -> None:
    """Write a, e, i, raan, ap and M of one state."""
    x, y, z, vx, vy, vz = state
    hx, hy, hz = y * vz - z * vy, z * vx - x * vz, x * vy - y * vx
    h = math.sqrt(hx * hx + hy * hy + hz * hz)
    r = math.sqrt(x * x + y * y + z * z)
    radial = x * vx + y * vy + z * vz
    # e cos(nu) and e sin(nu): the eccentricity vector in the frame of the position, without its cancellations.
    e_cos = h * h / (MU_SUN * r) - 1.0
    e_sin = h * radial / (MU_SUN * r)
    e = math.hypot(e_cos, e_sin)
    true_anomaly = math.atan2(e_sin, e_cos) if e > 0.0 else 0.0
    raan = math.atan2(hx, -hy) if hx != 0.0 or hy != 0.0 else 0.0
    node_x, node_y = math.cos(raan), math.sin(raan)
    # The third axis, h x node / h, is where the argument of latitude is 90 deg.
    beyond = (-hz * node_y * x + hz * node_x * y + (hx * node_y - hy * node_x) * z) / h if h > 0.0 else 0.0
    latitude_argument = math.atan2(beyond, x * node_x + y * node_y)
    out[0] = 1.0 / (2.0 / r - (vx * vx + vy * vy + vz * vz) / MU_SUN)
    out[1] = e
    out[2] = math.degrees(math.atan2(math.hypot(hx, hy), hz))
    out[3] = math.degrees(raan) % 360.0
    out[4] = math.degrees(latitude_argument - true_anomaly) % 360.0
    out[5] = _mean_anomaly_deg(e, true_anomaly)


@kernel
def _mean_anomaly_deg(e: float, true_anomaly: float) -> float:
    """Mean anomaly, [0, 360) for an ellipse; e sinh F - F in degrees for a hyperbola."""
    half = math.tan(0.5 * true_anomaly)
    if e < 1.0:
        eccentric = 2.0 * math.atan(math.sqrt((1.0 - e) / (1.0 + e)) * half)
        return math.degrees(eccentric - e * math.sin(eccentric)) % 360.0
    hyperbolic = 2.0 * math.atanh(math.sqrt((e - 1.0) / (e + 1.0)) * half)
    return math.degrees(e * math.sinh(hyperbolic) - hyperbolic)


@kernel
def _partials(states: FloatArray, partials: FloatArray) -> None:
    """Write the partials of the elements with respect to the states, shape (m, 6, 6), by central differences."""
    trial, more, less = np.empty(6), np.empty(6), np.empty(6)
    for k in range(states.shape[0]):
        state = states[k]
        r = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
        v = math.sqrt(state[3] ** 2 + state[4] ** 2 + state[5] ** 2)
        for axis in range(6):
            step = _SCALED_STEP * (r if axis < 3 else v)
            for other in range(6):
                trial[other] = state[other]
            trial[axis] = state[axis] + step
            _keplerian(trial, more)
            trial[axis] = state[axis] - step
            _keplerian(trial, less)
            for element in range(6):
                change = more[element] - less[element]
                if element >= 3:  # an angle: the shortest way round
                    change = (change + 180.0) % 360.0 - 180.0
                partials[k, element, axis] = change / (2.0 * step)
