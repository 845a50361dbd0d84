"""Perihelion distance and time of states, with their sigmas: what cometary elements have besides the Keplerian ones.

Source: Vallado 2013, Fundamentals of Astrodynamics (4th ed.), section 2.2 (Kepler's equation and its hyperbolic form).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states

FloatArray = NDArray[np.float64]

_SCALED_STEP = 1e-6
"""Relative step of the numerical partials: balances truncation (1e-12) against rounding (1e-10)."""


@dataclass(frozen=True)
class Perihelia:
    """Perihelia of m osculating orbits; each array has shape (m,), sigmas are nan where there is no covariance."""

    #: au.
    distance: FloatArray
    distance_sigma: FloatArray
    #: Days from the epoch to the passage next to it in time, negative when it has been; 1-sigma to first order.
    time_from_epoch: FloatArray
    time_sigma: FloatArray


def perihelia_from_states(states: FloatArray, covariances: FloatArray) -> Perihelia:
    """Return the perihelia of heliocentric states (m, 6), au and au/d, with sigmas from covariances (m, 6, 6)."""
    _, e, _, _, _, anomaly = keplerian_from_states(states).T
    mean_anomaly = np.where(e < 1.0, _folded(anomaly), anomaly)
    distance, time = _perihelion(states, mean_anomaly)
    partials = np.empty((len(states), 2, 6))
    scales = np.repeat([np.linalg.norm(states[:, :3], axis=1), np.linalg.norm(states[:, 3:], axis=1)], 3, axis=0).T
    for axis in range(6):
        step = _SCALED_STEP * scales[:, axis]
        shift = np.zeros_like(states)
        shift[:, axis] = step
        more, less = _perihelion(states + shift, mean_anomaly), _perihelion(states - shift, mean_anomaly)
        for row in range(2):
            partials[:, row, axis] = (more[row] - less[row]) / (2.0 * step)
    with np.errstate(invalid="ignore"):
        sigmas = np.sqrt(np.einsum("mai,mij,maj->ma", partials, covariances, partials))
    return Perihelia(distance, sigmas[:, 0], time, sigmas[:, 1])


def _perihelion(states: FloatArray, near_mean_anomaly: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return distance, and time from the state to the passage whose mean anomaly counts from zero."""
    a, e, _, _, _, mean_anomaly = keplerian_from_states(states).T
    momentum = np.cross(states[:, :3], states[:, 3:])
    # h^2 / mu (1 + e): holds also for a parabola, where a (1 - e) does not.
    distance = np.einsum("mi,mi->m", momentum, momentum) / (MU_SUN * (1.0 + e))
    # A neighbour's anomaly is taken on the same turn, so that it may pass 180 deg without a jump.
    turned = near_mean_anomaly + np.where(e < 1.0, _folded(mean_anomaly - near_mean_anomaly), 0.0)
    on_this_turn = np.where(e < 1.0, turned, mean_anomaly)
    days_per_deg = math.pi / 180.0 * np.sqrt(np.abs(a) ** 3 / MU_SUN)
    return distance, -on_this_turn * days_per_deg


def _folded(degrees: FloatArray) -> FloatArray:
    """Return the angles in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0
