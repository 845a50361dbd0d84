r"""Motion under the Sun, the planets, the Moon, Pluto and relativity: what they add to two bodies, integrated.

Encke's method: the shift delta between the true and the two-body path obeys

    delta'' = -mu (r / r^3 - r2 / r2^3) + sum_p mu_p ((r_p - r) / |r_p - r|^3 - r_p / r_p^3) + relativity

with r = r2 + delta. It is solved segment by segment, outward from the epoch, by Picard's iteration on Chebyshev points:
the accelerations at the points of a segment, integrated twice as a polynomial, give the shifts there, and these the
next accelerations. Weeks of a main-belt orbit are one segment each way, and every orbit of a batch meets the planets at
the same places, which are looked up once.

Sources: Battin 1999, section 10.3 (Encke); Bai & Junkins 2011, J. Astronaut. Sci. 58, 583 (Picard on Chebyshev points);
Park et al. 2021, AJ 161, 105 (DE440; masses in its table 2); Moyer 2003, Formulation for Observed and Computed Values,
eq. 4-26 (relativity of the Sun alone, beta = gamma = 1).
"""

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.encke import POINTS, integrate_each, quadrature
from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.version import SOFTWARE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DESCRIPTION = f"n-body: Sun, planets, Moon, Pluto (DE440), relativity; {SOFTWARE}"
"""The force model, as the tables of orbits state it."""

KM_PER_AU = 149_597_870.7
SECONDS_PER_DAY = 86_400.0
MJD_OF_J2000 = 51_544.5

_GM_KM3_PER_S2 = {
    1: 22_031.868551,  # Mercury
    2: 324_858.592,  # Venus
    399: 398_600.435507,  # Earth
    301: 4_902.800118,  # Moon
    4: 42_828.375816,  # Mars and its moons, as all that follow
    5: 126_712_764.1,
    6: 37_940_584.8418,
    7: 5_794_556.4,
    8: 6_836_527.10058,
    9: 975.5,
}
"""By NAIF's numbers; DE440."""

_GM = np.array(list(_GM_KM3_PER_S2.values())) * SECONDS_PER_DAY**2 / KM_PER_AU**3

LONGEST_SEGMENT_DAYS = 16.0
SHORTEST_SEGMENT_DAYS = 1.0 / 64.0
"""No passage, however close, costs more than 64 segments a day,"""

STRETCH_DAYS = 1024.0
"""and what comes close once pays for it in one stretch of this length, from the epoch on, alone."""

MOST_SEGMENTS = 16_384
"""The budget of an orbit on each side of its epoch, two CPU seconds: what stays beside a planet has 256 days; 700 years
of the main belt need no more."""

SEGMENTS_AT_ONCE = 1_024
"""Segments for which the planets are held in memory: 3 MB, whatever the span."""

_FRACTION_OF_DYNAMICAL_TIME = 0.25
"""Longest segment in units of sqrt(r^3 / mu): Picard's iteration gains a factor 60 a round."""

_FRACTION_OF_PASSAGE = 0.5
"""Longest segment in units of a planet's distance over its relative speed: its pull is analytic four half-segments
wide."""


def planetary_shifts(states: FloatArray, epoch_mjd_tdb: float, times_mjd_tdb: FloatArray) -> FloatArray:
    """Return n-body minus 2-body states of m orbits of one epoch at k times.

    Parameters
    ----------
    states : shape (m, 6)
        Heliocentric ecliptic J2000 positions, au, and velocities, au/d, all at the epoch.
    times_mjd_tdb : shape (k,)
        In any order.

    Returns
    -------
    shifts : shape (m, k, 6)
        au, au/d; nan for an orbit that is not finite, and from where it does not converge (it hits the Sun or a planet)
        or has used up `MOST_SEGMENTS`.
    """
    dt = np.ascontiguousarray(times_mjd_tdb, dtype=np.float64) - epoch_mjd_tdb
    states = np.ascontiguousarray(states, dtype=np.float64)
    shifts = np.full((len(states), len(dt), 6), np.nan)
    usable = np.flatnonzero(np.isfinite(states).all(axis=1))
    if len(usable) == 0 or len(dt) == 0:
        return shifts
    part = np.full((len(usable), len(dt), 6), np.nan)
    part[:, dt == 0.0] = 0.0
    reaches = (max(float(dt.max()), 0.0), min(float(dt.min()), 0.0))
    # Near the epoch both sides have one length.
    high, low = (float(np.clip(reach, -STRETCH_DAYS, STRETCH_DAYS)) for reach in reaches)
    near = _segment_lengths(states[usable], epoch_mjd_tdb, low, high)
    for reach in reaches:
        if reach != 0.0:
            _shift_one_side(states[usable], epoch_mjd_tdb, dt, reach, near, part)
    shifts[usable] = part
    return shifts


def _shift_one_side(
    states: FloatArray, epoch: float, dt: FloatArray, reach: float, near: FloatArray, shifts: FloatArray
) -> None:
    """Write the shifts from the epoch to `reach` days after it (negative: before), stretch by stretch."""
    starts, used = np.zeros((len(states), 6)), np.zeros(len(states), np.int64)
    stretches = math.ceil(abs(reach) / STRETCH_DAYS)
    edges = [math.copysign(STRETCH_DAYS * number, reach) for number in range(stretches)] + [reach]
    for begin, end in itertools.pairwise(edges):
        lengths = near if begin == 0.0 else _segment_lengths(states, epoch, begin, end)
        going_on = np.isfinite(starts).all(axis=1)
        if not going_on.any():
            return
        for longest in np.unique(lengths[going_on]):
            orbits = np.flatnonzero(going_on & (lengths == longest))
            _shift_one_stretch(states, orbits, epoch, dt, (begin, end, float(longest)), starts, used, shifts)


def _shift_one_stretch(
    states: FloatArray,
    orbits: IntArray,
    epoch: float,
    dt: FloatArray,
    stretch: tuple[float, float, float],
    starts: FloatArray,
    used: IntArray,
    shifts: FloatArray,
) -> None:
    """Write the shifts of some orbits in a stretch (begin, end, longest segment) and, to `starts`, those at its end.

    Nan to `starts` of an orbit that ends here.
    """
    begin, end, longest = stretch
    count = math.ceil(abs(end - begin) / longest)
    length = (end - begin) / count
    for first in range(0, count, SEGMENTS_AT_ONCE):
        number = min(SEGMENTS_AT_ONCE, count - first)
        used[orbits] += number
        starts[orbits[used[orbits] > MOST_SEGMENTS]] = np.nan
        orbits = orbits[np.isfinite(starts[orbits]).all(axis=1)]
        if len(orbits) == 0:
            return
        begin_here = begin + first * length
        place = (dt - begin_here) / length
        rows = np.flatnonzero((place > -1.0) & (place < number + 1.0))
        own_starts, part = starts[orbits], np.ascontiguousarray(shifts[orbits][:, rows])
        planets = _planets_on_the_way(epoch + begin_here, length, number)
        integrate_each(states[orbits], dt[rows], begin_here, length, planets, _GM, quadrature(), own_starts, part)
        starts[orbits] = own_starts
        shifts[orbits[:, None], rows] = part


def planet_positions(times_mjd_tdb: FloatArray) -> FloatArray:
    """Return where the ten bodies are, shape (k, 10, 3), heliocentric ecliptic J2000, au (JPL DE440 by adam-core)."""
    return _planets_at(np.asarray(times_mjd_tdb, dtype=np.float64).tobytes())


@functools.lru_cache(maxsize=32)
def _planets_at(times: bytes) -> FloatArray:
    """Look the planets up; kept, because orbits of one epoch ask for the same times again and again."""
    # adam-core takes a second to import; whoever only needs two bodies shall not pay for it.
    from adam_core.utils.spice import get_backend, setup_SPICE  # noqa: PLC0415

    setup_SPICE()
    seconds = (np.frombuffer(times) - MJD_OF_J2000) * SECONDS_PER_DAY
    backend = get_backend()
    positions = np.stack(
        [backend.spkez_batch(body, 10, "ECLIPJ2000", seconds)[:, :3] / KM_PER_AU for body in _GM_KM3_PER_S2], axis=1
    )
    positions.flags.writeable = False
    return positions


def planetary_tides(states: FloatArray, epoch_mjd_tdb: float, times_mjd_tdb: FloatArray) -> FloatArray:
    """Return how strongly planets stretch each orbit at most, shape (m,), 1 / d^2: the sum of mu_p / |r_p - r|^3.

    Two neighbouring orbits part by this times their distance. Orbits (m, 6), of one epoch, are taken as two bodies.
    """
    dt = np.ascontiguousarray(times_mjd_tdb, dtype=np.float64) - epoch_mjd_tdb
    tides = np.empty(len(states))
    _largest_tides(np.ascontiguousarray(states), dt, planet_positions(times_mjd_tdb), _GM, tides)
    return tides


def _planets_on_the_way(begin_mjd_tdb: float, length: float, count: int) -> FloatArray:
    """Return the planets at the points of segments of that length, days, shape (count, POINTS, 10, 3).

    Of negative length they go backward.
    """
    offsets = (np.arange(count)[:, None] + 0.5 * (1.0 + quadrature().points)) * length
    return planet_positions(begin_mjd_tdb + offsets.ravel()).reshape(count, POINTS, len(_GM), 3)


def _segment_lengths(states: FloatArray, epoch: float, begin: float, end: float) -> FloatArray:
    """Return each orbit's length of a segment, days: a power of two, so that few lengths serve all orbits.

    From `begin` to `end`, days after the epoch in any order.
    """
    samples = np.linspace(begin, end, math.ceil(abs(end - begin)) + 2)
    step = 0.01
    planets = planet_positions(epoch + np.concatenate([samples, samples + step]))
    velocities = (planets[len(samples) :] - planets[: len(samples)]) / step
    longest = np.empty(len(states))
    _longest_segments(states, samples, planets[: len(samples)], velocities, longest)
    powers = np.floor(np.log2(np.clip(longest, SHORTEST_SEGMENT_DAYS, LONGEST_SEGMENT_DAYS)))
    lengths: FloatArray = 2.0**powers
    return lengths


@kernel
def _longest_segments(
    states: FloatArray, samples: FloatArray, planets: FloatArray, velocities: FloatArray, longest: FloatArray
) -> None:
    """Write the longest segment that each orbit allows, judged on its two-body path."""
    state = np.empty(6)
    for k in range(states.shape[0]):
        longest[k] = LONGEST_SEGMENT_DAYS
        for i in range(samples.size):
            propagate_state(states[k], samples[i], state)
            r = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
            longest[k] = min(longest[k], _FRACTION_OF_DYNAMICAL_TIME * r * math.sqrt(r / MU_SUN))
            for p in range(planets.shape[1]):
                gap, speed = 0.0, 0.0
                for axis in range(3):
                    gap += (state[axis] - planets[i, p, axis]) ** 2
                    speed += (state[axis + 3] - velocities[i, p, axis]) ** 2
                longest[k] = min(longest[k], _FRACTION_OF_PASSAGE * math.sqrt(gap / speed))


@kernel
def _largest_tides(states: FloatArray, dt: FloatArray, planets: FloatArray, gm: FloatArray, tides: FloatArray) -> None:
    """Write the largest tide that each orbit meets."""
    state = np.empty(6)
    for k in range(states.shape[0]):
        tides[k] = 0.0
        for i in range(dt.size):
            propagate_state(states[k], dt[i], state)
            tide = 0.0
            for p in range(gm.size):
                gap = 0.0
                for axis in range(3):
                    gap += (state[axis] - planets[i, p, axis]) ** 2
                tide += gm[p] / (gap * math.sqrt(gap))
            tides[k] = max(tides[k], tide)
