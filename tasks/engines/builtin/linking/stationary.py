r"""Sources that stand still: stars that subtraction left over, hot pixels of a camera that comes back to its place.

A place on the sky that shows a detection on several nights, within the noise, while an object of the test orbit's cell
would have moved on. Each such place links to an orbit that goes along with the Earth, and to chance detections near by.

What an object does at its slowest bounds the time that it takes to be told from a star: even where its motion stands
still, the observer's acceleration A at distance rho bends its path, so that it leaves its place by a tau^2 / 2 on both
sides, with a of the order of A / rho. So a star shows itself within a day among main-belt objects, and within five days
at 60 au; until then it is kept, and so are slow objects. How far the noise reaches is said by the detections of the
place themselves: one uncertain detection elsewhere in the cell makes no star wait longer. What is kept and linked all
the same is told from an orbit once it has one (`fitting.still_sources`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.orbit_path import OrbitPath, basis_across
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

SAME_PLACE_SIGMAS = 3.5
"""Two detections of one star are closer than this many standard deviations of their difference, but for one in 500."""

LARGEST_REACH_RAD = math.radians(3.0 / 3600.0)
"""However uncertain detections say they are, farther apart is not one place."""

PLACES_LEFT = 3.0
"""An object must have had the time to get this many times as far as the noise reaches, before and after."""

SLOWEST_SHARE = 0.5
"""An object that seems to stand still is seen across some of the observer's acceleration: at least this share of it."""

_BAND = 4.0
"""Distance of two bands in the keys that detections are sorted by: coordinates within a band are from -1 to 1."""


def are_stationary(survey: PreparedSurvey, path: OrbitPath, obs_index: IndexArray, fewest_nights: int) -> BoolArray:
    """Return which detections are of sources that stand still, shape (m,).

    Parameters
    ----------
    path
        The test orbit at all exposures.
    obs_index : shape (m,)
        Detections of the test orbit's cell, rows of the survey.
    fewest_nights
        Nights on which a place must show a detection; 0: no place stands still.
    """
    if fewest_nights == 0 or len(obs_index) == 0:
        return np.zeros(len(obs_index), np.bool_)
    exposure = survey.exposure[obs_index]
    variance = 0.5 * (survey.sigma_ra_rad[obs_index] ** 2 + survey.sigma_dec_rad[obs_index] ** 2)
    reach = min(SAME_PLACE_SIGMAS * math.sqrt(2.0 * float(variance.max())), LARGEST_REACH_RAD)
    toward = survey.line_of_sight[obs_index]
    keys = _keys(toward, reach)
    span_of_radian = shortest_span_days(survey.observer_position, path.distance, 1.0)
    order = np.argsort(keys)
    found = np.zeros(len(order), np.bool_)
    _mark(
        keys[order],
        toward[order],
        variance[order],
        survey.exposure_night[exposure[order]],
        survey.exposure_mjd_tdb[exposure[order]],
        reach,
        fewest_nights,
        span_of_radian,
        found,
    )
    stationary = np.empty(len(order), np.bool_)
    stationary[order] = found
    return stationary


def shortest_span_days(observer_position: FloatArray, distance: FloatArray, reach_rad: float) -> float:
    """Return the time after which no object at the test orbit's distance is where it was, however slow it seems.

    Parameters
    ----------
    observer_position : shape (e, 3)
        Heliocentric, au.
    distance : shape (e,)
        From the observer to the test orbit, au.
    """
    pull = MU_SUN / float((observer_position**2).sum(axis=1).max())
    acceleration = SLOWEST_SHARE * pull / float(distance.max())
    return 2.0 * math.sqrt(2.0 * PLACES_LEFT * reach_rad / acceleration)


def _keys(toward: FloatArray, reach: float) -> FloatArray:
    """Return a number for each direction: bands of height `reach` across the sky, and the place along the band.

    Seen along the mean direction (orthographic), so that distances shrink but never grow, and nothing wraps around.
    """
    mean = toward.mean(axis=0)
    first, second = basis_across((mean / np.linalg.norm(mean))[None])
    keys: FloatArray = np.floor(toward @ second[0] / reach) * _BAND + toward @ first[0]
    return keys


@kernel
def _mark(
    keys: FloatArray,
    toward: FloatArray,
    variance: FloatArray,
    night: IndexArray,
    time: FloatArray,
    reach: float,
    fewest_nights: int,
    span_of_radian: float,
    found: BoolArray,
) -> None:
    """Mark the detections, sorted by key, with enough nights and time among the detections of their place.

    The time that is enough goes with the root of the noise's reach: that of this detection with the place's first and
    last one.
    """
    start = np.zeros(3, np.int64)
    seen = np.zeros(fewest_nights, np.int32)
    for i in range(keys.size):
        seen[0] = night[i]
        count = 1
        first, last = i, i
        for side in range(3):
            low = keys[i] + (side - 1) * _BAND - reach
            while start[side] < keys.size and keys[start[side]] < low:
                start[side] += 1
            j = start[side]
            while j < keys.size and keys[j] <= low + 2.0 * reach and not found[i]:
                if _same_place(toward[i], toward[j], variance[i] + variance[j], reach):
                    first = j if time[j] < time[first] else first
                    last = j if time[j] > time[last] else last
                    count = _with_night(night[j], seen, count)
                    own_reach = _reach(variance[i] + max(variance[first], variance[last]), reach)
                    enough = span_of_radian * math.sqrt(own_reach)
                    found[i] = count == fewest_nights and time[last] - time[first] >= enough
                j += 1


@kernel
def _same_place(a: FloatArray, b: FloatArray, variance: float, reach: float) -> bool:
    squared = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    return bool(squared <= _reach(variance, reach) ** 2)


@kernel
def _reach(variance: float, largest: float) -> float:
    """Return how far apart two detections of one place may be, radians, for the variance of their difference."""
    return min(SAME_PLACE_SIGMAS * math.sqrt(variance), largest)


@kernel
def _with_night(night: int, seen: IndexArray, count: int) -> int:
    """Add a night to the first `count` of `seen` where it is new and there is room; return their number."""
    for k in range(count):
        if seen[k] == night:
            return count
    if count < seen.size:
        seen[count] = night
        return count + 1
    return count
