"""A first orbit for a cluster: its detections put at the test orbit's distance from the Sun, a line through them."""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.fitting.astrometry import OBSERVER, TIME, TOWARD
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def first_states(
    rows: FloatArray, first: IntArray, radius: FloatArray, distance: FloatArray, epochs: FloatArray
) -> FloatArray:
    """Return a starting state for each of c clusters.

    Parameters
    ----------
    rows : shape (m, 15)
        Astrometry, see `astrometry_rows`.
    first : shape (c + 1,)
        Members of cluster k are rows `first[k]:first[k + 1]`.
    radius : shape (m,)
        Assumed distance from the Sun at each detection, au: the test orbit's, or a multiple.
    distance : shape (m,)
        Distance from the observer near which the detection is sought, au: inside the Earth's orbit a line of sight
        meets the sphere twice, and the test orbit's side is taken.
    epochs : shape (c,)
        MJD TDB for which the states shall be.

    Returns
    -------
    states : shape (c, 6)
        Heliocentric ecliptic J2000, au and au/d.

    Notes
    -----
    Positions x_i = q_i + rho_i n_i as in range_and_shift (Moeyens et al. 2021, section 2.2), corrected for the Sun's
    pull at their mean; x = x_0 + v t by least squares at the mean time of emission, then two bodies to the epoch.
    """
    states = np.empty((len(epochs), 6))
    _first_states(rows, np.ascontiguousarray(first, dtype=np.int64), radius, distance, epochs, states)
    return states


@kernel
def _first_states(
    rows: FloatArray, first: IntArray, radius: FloatArray, distance: FloatArray, epochs: FloatArray, states: FloatArray
) -> None:
    longest = 0
    for k in range(states.shape[0]):
        longest = max(longest, first[k + 1] - first[k])
    positions = np.empty((longest, 3))
    times = np.empty(longest)
    at_mean = np.empty(6)
    for k in range(states.shape[0]):
        m = first[k + 1] - first[k]
        for i in range(m):
            j = first[k] + i
            rho = _range(rows[j], radius[j], distance[j])
            times[i] = rows[j, TIME] - rho / SPEED_OF_LIGHT
            for axis in range(3):
                positions[i, axis] = rows[j, OBSERVER + axis] + rho * rows[j, TOWARD + axis]
        mean_time = _line_through(positions[:m], times[:m], at_mean)
        propagate_state(at_mean, epochs[k] - mean_time, states[k])


@kernel
def _range(row: FloatArray, radius: float, distance: float) -> float:
    """Return the distance from the observer at which the line of sight is `radius` from the Sun, au.

    A line that passes farther from the Sun than that is taken at its closest point.
    """
    along, squared = 0.0, 0.0
    for axis in range(3):
        along += row[OBSERVER + axis] * row[TOWARD + axis]
        squared += row[OBSERVER + axis] ** 2
    root = math.sqrt(max(along * along + radius * radius - squared, 0.0))
    near, far = -along - root, -along + root
    rho = near if near > 0.0 and abs(near - distance) < abs(far - distance) else far
    return max(rho, 1e-3)


@kernel
def _line_through(positions: FloatArray, times: FloatArray, state: FloatArray) -> float:
    """Write the state at the mean time, which is returned, of a line bent by the Sun's pull."""
    m = times.size
    mean_time = 0.0
    for i in range(m):
        mean_time += times[i] / m
    mean = np.zeros(3)
    spread = 0.0
    for i in range(m):
        spread += (times[i] - mean_time) ** 2
        for axis in range(3):
            mean[axis] += positions[i, axis] / m
    r = math.sqrt(mean[0] ** 2 + mean[1] ** 2 + mean[2] ** 2)
    pull = MU_SUN / (r * r * r)
    for axis in range(3):
        slope = 0.0
        for i in range(m):
            dt = times[i] - mean_time
            slope += dt * (positions[i, axis] + 0.5 * pull * mean[axis] * dt * dt - mean[axis])
        # The parabola's mean is not its vertex: undo the mean of the pull's contribution.
        state[axis] = mean[axis] * (1.0 + 0.5 * pull * spread / m)
        state[axis + 3] = slope / max(spread, 1e-9)
    return mean_time
