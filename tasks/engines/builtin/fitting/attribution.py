"""Which detections lie where an orbit is predicted: in each exposure that shows the place, the nearest one."""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.fitting.astrometry import predicted_place
from tasks.engines.builtin.fitting.members import Members, members_from_owners
from tasks.engines.builtin.fitting.n_body_shifts import Shifts, interpolate
from tasks.engines.builtin.fitting.sky_index import SkyIndex
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]

LARGEST_RADIUS = 10.0
"""Sigmas differ between detections: this multiple of the common radius is as far as any of them is looked for."""

FASTEST_OBSERVER = 0.019
"""More than the Earth's speed about the Sun and its rotation, au/d."""


def attribute(
    survey: PreparedSurvey,
    index: SkyIndex,
    states: FloatArray,
    epochs: FloatArray,
    shifts: Shifts,
    low: FloatArray,
    high: FloatArray,
    radius_rad: float,
    radius_sigmas: float,
) -> Members:
    """Find the detections near the predictions of c orbits.

    Parameters
    ----------
    states, epochs : shapes (c, 6) and (c,)
        Heliocentric ecliptic J2000, au and au/d, MJD TDB.
    shifts
        n-body minus 2-body positions; their spans hold `low` to `high` less the light time.
    low, high : shape (c,)
        MJD TDB between which each orbit is sought.
    radius_rad, radius_sigmas
        The larger of the two is the radius about the prediction.

    Returns
    -------
    members
        At most one detection of each exposure for each orbit, in order of time.
    """
    capacity = 64 * len(states) + 1024
    while True:
        owner = np.empty(capacity, np.int64)
        found = np.empty(capacity, np.int32)
        count = _attribute(
            states,
            epochs,
            (shifts.low, shifts.high, shifts.values),
            (low, high),
            (survey.exposure_mjd_tdb, survey.observer_position, survey.exposure_start),
            (index.obs_index, index.toward, index.centre, index.radius),
            (survey.sigma_ra_rad, survey.sigma_dec_rad),
            radius_rad,
            radius_sigmas,
            owner,
            found,
        )
        if count <= capacity:
            return members_from_owners(owner[:count], found[:count].copy(), len(states))
        capacity = count


@kernel
def _attribute(
    states: FloatArray,
    epochs: FloatArray,
    shifts: tuple[FloatArray, FloatArray, FloatArray],
    windows: tuple[FloatArray, FloatArray],
    exposures: tuple[FloatArray, FloatArray, IndexArray],
    sky: tuple[IndexArray, FloatArray, FloatArray, FloatArray],
    sigmas: tuple[FloatArray, FloatArray],
    radius_rad: float,
    radius_sigmas: float,
    owner: IntArray,
    found: IndexArray,
) -> int:
    """Write owner and detection of each attribution; return their number, which may exceed the room."""
    mjd, observers, start = exposures
    obs_index, toward, centre, field_radius = sky
    place, shift = np.empty(3), np.empty(3)
    count = 0
    for k in range(states.shape[0]):
        fastest = fastest_speed(states[k]) + FASTEST_OBSERVER
        delay, when = 0.0, -math.inf
        for e in range(mjd.size):
            if mjd[e] < windows[0][k] or mjd[e] > windows[1][k] or field_radius[e] < 0.0:
                continue
            reach = field_radius[e] + LARGEST_RADIUS * radius_rad
            # The last prediction tells of most exposures that the orbit cannot have got there since.
            moved = fastest * (mjd[e] - when)
            nearest_possible = SPEED_OF_LIGHT * delay - moved
            if nearest_possible > 0.0:
                outside = math.sqrt(squared_chord(place, centre[e])) - reach
                if outside > moved / nearest_possible:
                    continue
            when = mjd[e]
            interpolate(shifts[0][k], shifts[1][k], shifts[2][k], mjd[e] - delay, shift)
            delay = predicted_place(states[k], mjd[e] - epochs[k], observers[e], shift, delay, place)
            if squared_chord(place, centre[e]) > reach * reach:
                continue
            nearest = _nearest(place, toward, obs_index, start[e], start[e + 1], sigmas, radius_rad, radius_sigmas)
            if nearest >= 0:
                if count < owner.size:
                    owner[count] = k
                    found[count] = nearest
                count += 1
    return count


@kernel
def fastest_speed(state: FloatArray) -> float:
    """Return the largest speed on the orbit, au/d: that at perihelion, h / q."""
    x, y, z, vx, vy, vz = state
    h_squared = (y * vz - z * vy) ** 2 + (z * vx - x * vz) ** 2 + (x * vy - y * vx) ** 2
    alpha = 2.0 / math.sqrt(x * x + y * y + z * z) - (vx * vx + vy * vy + vz * vz) / MU_SUN
    p = h_squared / MU_SUN
    q = p / (1.0 + math.sqrt(max(1.0 - alpha * p, 0.0)))
    return math.sqrt(h_squared) / q if q > 0.0 else math.inf


@kernel
def _nearest(
    place: FloatArray,
    toward: FloatArray,
    obs_index: IndexArray,
    begin: int,
    end: int,
    sigmas: tuple[FloatArray, FloatArray],
    radius_rad: float,
    radius_sigmas: float,
) -> int:
    """Return the detection nearest to the place within its radius, -1: none."""
    largest = radius_rad
    band = LARGEST_RADIUS * radius_rad
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if toward[middle, 2] < place[2] - band:
            low = middle + 1
        else:
            high = middle
    best, best_squared = -1, np.inf
    while low < end and toward[low, 2] <= place[2] + band:
        squared = squared_chord(place, toward[low])
        i = obs_index[low]
        largest = max(radius_rad, min(radius_sigmas * max(sigmas[0][i], sigmas[1][i]), band))
        if squared <= largest * largest and squared < best_squared:
            best, best_squared = i, squared
        low += 1
    return best


@kernel
def squared_chord(a: FloatArray, b: FloatArray) -> float:
    """Return the square of the distance of two unit vectors."""
    squared: float = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    return squared
