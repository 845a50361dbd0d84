"""States of Keplerian and cometary elements, with their covariances: the inverse of `elements` and of `perihelion`.

Source: Battin 1999, An Introduction to the Mathematics and Methods of Astrodynamics (rev. ed.), sections 4.5-4.6: from
perihelion on, position and velocity in universal functions U_k. One set of formulas serves every conic.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.two_body import SQRT_MU, stumpff, universal_anomaly
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

_SCALED_STEP = 1e-6
"""Step of the numerical partials in units of what an element must change by to change the orbit by its own size."""


def states_from_keplerian(elements: FloatArray) -> FloatArray:
    """Return the states, shape (m, 6), au and au/d, of a, e, i, raan, ap and M as `elements.NAMES` has them.

    Parameters
    ----------
    elements : shape (m, 6)
        au and deg; a > 0 with 0 <= e < 1, or a < 0 with e > 1.
    """
    a, e, *_, anomaly = elements.T
    mean_anomaly = np.where(a > 0.0, (anomaly + 180.0) % 360.0 - 180.0, anomaly)
    days = np.radians(mean_anomaly) * np.sqrt(np.abs(a) ** 3 / MU_SUN)
    return _states(a * (1.0 - e), 1.0 / a, elements, days)


def states_from_cometary(elements: FloatArray, epochs_mjd_tdb: FloatArray) -> FloatArray:
    """Return the states at the epochs, shape (m, 6), au and au/d, of q, e, i, raan, ap and tp.

    Parameters
    ----------
    elements : shape (m, 6)
        au, deg and, last, the time of a perihelion passage, MJD TDB; q > 0, e >= 0. For an ellipse any passage does.
    epochs_mjd_tdb : shape (m,)
    """
    q, e = elements[:, 0], elements[:, 1]
    reciprocal = (1.0 - e) / q
    days = epochs_mjd_tdb - elements[:, 5]
    with np.errstate(divide="ignore", invalid="ignore"):
        period = 2.0 * np.pi / (SQRT_MU * reciprocal**1.5)
        days = np.where(reciprocal > 0.0, days - period * np.rint(days / period), days)
    return _states(q, reciprocal, elements, days)


def covariances_from_keplerian(elements: FloatArray, covariances: FloatArray) -> FloatArray:
    """Return the covariances of the states of Keplerian elements, to first order; shapes (m, 6, 6)."""
    a, e = elements[:, 0], elements[:, 1]
    # Near perihelion of a long ellipse all happens within so small a part of the mean anomaly.
    quickness = np.minimum(np.abs(1.0 - e), 1.0)
    turn = np.full(len(a), 180.0 / np.pi)
    scales = np.stack([np.abs(a) * quickness, quickness, turn, turn, turn, turn * quickness**1.5], axis=1)
    return _turned(states_from_keplerian, elements, scales, covariances)


def covariances_from_cometary(elements: FloatArray, epochs_mjd_tdb: FloatArray, covariances: FloatArray) -> FloatArray:
    """Return the covariances of the states of cometary elements, to first order; shapes (m, 6, 6)."""
    q = elements[:, 0]
    turn = np.full(len(q), 180.0 / np.pi)
    scales = np.stack([q, np.ones(len(q)), turn, turn, turn, np.sqrt(q**3 / MU_SUN)], axis=1)
    return _turned(lambda trial: states_from_cometary(trial, epochs_mjd_tdb), elements, scales, covariances)


def _turned(
    states_of: Callable[[FloatArray], FloatArray], elements: FloatArray, scales: FloatArray, covariances: FloatArray
) -> FloatArray:
    """Return J C J^T, the partials J by central differences. An e that becomes negative is good for a difference."""
    partials = np.empty((len(elements), 6, 6))
    for column in range(6):
        step = _SCALED_STEP * scales[:, column]
        shift = np.zeros_like(elements)
        shift[:, column] = step
        partials[:, :, column] = (states_of(elements + shift) - states_of(elements - shift)) / (2.0 * step)[:, None]
    turned: FloatArray = partials @ covariances @ partials.transpose(0, 2, 1)
    return 0.5 * (turned + turned.transpose(0, 2, 1))


def _states(q: FloatArray, reciprocal: FloatArray, elements: FloatArray, days: FloatArray) -> FloatArray:
    states = np.empty((len(q), 6))
    angles = np.ascontiguousarray(np.radians(elements[:, 2:5]))
    e = np.ascontiguousarray(elements[:, 1])
    _states_of_each(q, reciprocal, e, angles, np.ascontiguousarray(days), states)
    return states


@kernel
def _states_of_each(
    q: FloatArray, reciprocal: FloatArray, e: FloatArray, angles: FloatArray, days: FloatArray, states: FloatArray
) -> None:
    for k in range(q.size):
        _state(q[k], reciprocal[k], e[k], angles[k], days[k], states[k])


@kernel
def _state(q: float, reciprocal: float, e: float, angles: FloatArray, days: float, out: FloatArray) -> None:
    """Write the state `days` after perihelion; the angles, radians, are i, raan and ap.

    With sigma = 0 and r0 = q the universal equation is q U1 + U3 = sqrt(mu) t; then x = q - U2, y = sqrt(q (1+e)) U1,
    r = q + e U2, and the velocity is (-U1, sqrt(q (1+e)) U0) sqrt(mu) / r: sums without cancellation, but in x.
    """
    chi = universal_anomaly(q, 0.0, reciprocal, days)
    psi = reciprocal * chi * chi
    c2, c3, _c4, _c5 = stumpff(psi)
    u0, u1, u2 = 1.0 - psi * c2, chi * (1.0 - psi * c3), chi * chi * c2
    r, side = q + e * u2, math.sqrt(q * (1.0 + e))
    x, y = q - u2, side * u1
    vx, vy = -SQRT_MU * u1 / r, SQRT_MU * side * u0 / r
    cos_i, cos_node, cos_peri = math.cos(angles[0]), math.cos(angles[1]), math.cos(angles[2])
    sin_i, sin_node, sin_peri = math.sin(angles[0]), math.sin(angles[1]), math.sin(angles[2])
    # Unit vectors to perihelion and 90 deg further along the orbit (Vallado 2013, 4th ed., eq. 2-90).
    px, qx = cos_node * cos_peri - sin_node * sin_peri * cos_i, -cos_node * sin_peri - sin_node * cos_peri * cos_i
    py, qy = sin_node * cos_peri + cos_node * sin_peri * cos_i, -sin_node * sin_peri + cos_node * cos_peri * cos_i
    pz, qz = sin_peri * sin_i, cos_peri * sin_i
    out[0], out[1], out[2] = x * px + y * qx, x * py + y * qy, x * pz + y * qz
    out[3], out[4], out[5] = vx * px + vy * qx, vx * py + vy * qy, vx * pz + vy * qz
