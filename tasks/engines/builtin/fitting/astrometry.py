r"""Observed minus predicted places, and their partials with respect to the orbit.

A predicted place is compared in the plane that touches the sky at the detection: x = p.E / p.n and y = p.N / p.n for
the topocentric vector p at light emission, n toward the detection, E and N its local east and north. The observed
place is the origin. Partials follow by the chain rule, light time included.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.two_body import propagate_position_partials, propagate_state
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
IndexArray64 = NDArray[np.int64]

# Columns of a row of astrometry: all that the fit needs of one detection, side by side in memory.
TIME, OBSERVER, TOWARD, EAST, NORTH, WEIGHT_EAST, WEIGHT_NORTH, ROW_WIDTH = 0, 1, 4, 7, 10, 13, 14, 15


def astrometry_rows(survey: PreparedSurvey, obs_index: IndexArray) -> FloatArray:
    """Gather the detections' astrometry, shape (m, 15): the columns are named above.

    Time is MJD TDB of the exposure; observer heliocentric ecliptic, au; directions ecliptic; weights 1/sigma, 1/rad.
    """
    exposure = survey.exposure[obs_index]
    rows = np.empty((len(obs_index), ROW_WIDTH))
    rows[:, TIME] = survey.exposure_mjd_tdb[exposure]
    rows[:, OBSERVER:TOWARD] = survey.observer_position[exposure]
    rows[:, TOWARD:EAST] = survey.line_of_sight[obs_index]
    rows[:, EAST:NORTH] = survey.east[obs_index]
    rows[:, NORTH:WEIGHT_EAST] = survey.north[obs_index]
    rows[:, WEIGHT_EAST] = 1.0 / survey.sigma_ra_rad[obs_index]
    rows[:, WEIGHT_NORTH] = 1.0 / survey.sigma_dec_rad[obs_index]
    return rows


def light_times(rows: FloatArray, first: IndexArray64, states: FloatArray, epochs: FloatArray) -> FloatArray:
    """Return the light time of each detection, days, shape (m,); arguments as of `least_squares.fit_orbits`."""
    result = np.empty(len(rows))
    _light_times(rows, first, states, epochs, result)
    return result


@kernel
def _light_times(
    rows: FloatArray, first: IndexArray64, states: FloatArray, epochs: FloatArray, result: FloatArray
) -> None:
    place, shift = np.empty(3), np.zeros(3)
    for k in range(states.shape[0]):
        delay = 0.0
        for i in range(first[k], first[k + 1]):
            observer = rows[i, OBSERVER:TOWARD]
            delay = predicted_place(states[k], rows[i, TIME] - epochs[k], observer, shift, delay, place)
            result[i] = delay


@kernel
def residual_and_partials(
    state: FloatArray,
    epoch: float,
    row: FloatArray,
    shift: FloatArray,
    slope: FloatArray,
    light_time: float,
    residual: FloatArray,
    partials: FloatArray,
) -> float:
    """Write one detection's residual (2,) and its partials (2, 6), both in sigmas; return the light time, days.

    Parameters
    ----------
    state, epoch
        Orbit: heliocentric ecliptic state (6,), au and au/d, at the epoch, MJD TDB.
    row
        Of `astrometry_rows`.
    shift
        shape (3,), au: added to the 2-body position at emission (what the other bodies did).
    slope
        shape (3, 6): partials of the shift with respect to the state; shape (0, 6): negligible.
    light_time
        First guess, days, of the light time; its error enters at second order only.

    Notes
    -----
    The residual is observed minus predicted; the partials are those of the prediction. Returns nan where the
    prediction is 90 deg or more from the detection.
    """
    emitted = np.empty(6)
    motion = np.empty((3, 6))
    propagate_position_partials(state, row[TIME] - epoch - light_time, emitted, motion)
    for k in range(slope.shape[0]):
        for j in range(6):
            motion[k, j] += slope[k, j]
    p = np.empty(3)
    delay = _close_the_light_time(emitted, shift, row, light_time, p)
    distance = SPEED_OF_LIGHT * delay
    ahead, east, north, closing = 0.0, 0.0, 0.0, SPEED_OF_LIGHT
    for k in range(3):
        ahead += p[k] * row[TOWARD + k]
        east += p[k] * row[EAST + k]
        north += p[k] * row[NORTH + k]
        closing += p[k] / distance * emitted[3 + k]
    if not ahead > 0.0:
        return math.nan
    east /= ahead
    north /= ahead
    residual[0] = -east * row[WEIGHT_EAST]
    residual[1] = -north * row[WEIGHT_NORTH]
    _chain_rule(row, p, distance, emitted, motion, closing, ahead, east, north, partials)
    return delay


@kernel
def _chain_rule(
    row: FloatArray,
    p: FloatArray,
    distance: float,
    emitted: FloatArray,
    motion: FloatArray,
    closing: float,
    ahead: float,
    east: float,
    north: float,
    partials: FloatArray,
) -> None:
    """Chain: dp = d(r) - v d(tau), d(tau) = p_hat.d(r) / (c + p_hat.v); then dx = (E - x n).dp / (p.n)."""
    for j in range(6):
        longer = (p[0] * motion[0, j] + p[1] * motion[1, j] + p[2] * motion[2, j]) / (distance * closing)
        d_east, d_north = 0.0, 0.0
        for k in range(3):
            dp = motion[k, j] - emitted[3 + k] * longer
            d_east += dp * (row[EAST + k] - east * row[TOWARD + k])
            d_north += dp * (row[NORTH + k] - north * row[TOWARD + k])
        partials[0, j] = d_east / ahead * row[WEIGHT_EAST]
        partials[1, j] = d_north / ahead * row[WEIGHT_NORTH]


@kernel
def _close_the_light_time(
    emitted: FloatArray, shift: FloatArray, row: FloatArray, light_time: float, p: FloatArray
) -> float:
    """Write the topocentric vector at emission and return the light time, days.

    `emitted` is at `light_time` before reception; the rest of the way, short, is a parabola. Each round gains four
    digits (the ratio of velocity to that of light).
    """
    radius = math.sqrt(emitted[0] ** 2 + emitted[1] ** 2 + emitted[2] ** 2)
    half_pull = -0.5 * MU_SUN / (radius * radius * radius)
    delay = light_time
    for _ in range(8):
        rest = light_time - delay
        squared = 0.0
        for k in range(3):
            p[k] = emitted[k] * (1.0 + half_pull * rest * rest) + emitted[3 + k] * rest + shift[k] - row[OBSERVER + k]
            squared += p[k] * p[k]
        better = math.sqrt(squared) / SPEED_OF_LIGHT
        if abs(better - delay) < 1e-12:
            return better
        delay = better
    return delay


@kernel
def predicted_place(
    state: FloatArray, dt: float, observer: FloatArray, shift: FloatArray, light_time: float, place: FloatArray
) -> float:
    """Write the unit vector (3,) toward the orbit as seen dt days after its epoch; return the light time, days."""
    emitted = np.empty(6)
    propagate_state(state, dt - light_time, emitted)
    row = np.zeros(4)
    for k in range(3):
        row[OBSERVER + k] = observer[k]
    delay = _close_the_light_time(emitted, shift, row, light_time, place)
    for k in range(3):
        place[k] /= SPEED_OF_LIGHT * delay
    return delay
