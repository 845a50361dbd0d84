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
import math

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
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

POINTS = 12
"""Chebyshev points of a segment. With the lengths below the polynomials are good to 1e-10 of the accelerations."""

LONGEST_SEGMENT_DAYS = 16.0
SHORTEST_SEGMENT_DAYS = 1.0 / 64.0
"""The budget of an orbit: no passage, however close, costs more than 64 segments a day."""

_FRACTION_OF_DYNAMICAL_TIME = 0.25
"""Longest segment in units of sqrt(r^3 / mu): Picard's iteration gains a factor 60 a round."""

_FRACTION_OF_PASSAGE = 0.5
"""Longest segment in units of a planet's distance over its relative speed: its pull is analytic four half-segments
wide."""

_MAX_ROUNDS = 40

_STILL_AU = 1e-13
"""Change of a shift, au (15 mm), below which a round was the last."""


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
        au, au/d; nan for an orbit that is not finite or does not converge (it hits the Sun or a planet).
    """
    dt = np.ascontiguousarray(times_mjd_tdb, dtype=np.float64) - epoch_mjd_tdb
    states = np.ascontiguousarray(states, dtype=np.float64)
    shifts = np.full((len(states), len(dt), 6), np.nan)
    usable = np.flatnonzero(np.isfinite(states).all(axis=1))
    if len(usable) == 0 or len(dt) == 0:
        return shifts
    lengths = _segment_lengths(states[usable], epoch_mjd_tdb, dt)
    for longest in np.unique(lengths):
        orbits = usable[lengths == longest]
        part = np.full((len(orbits), len(dt), 6), np.nan)
        part[:, dt == 0.0] = 0.0
        for reach in (max(float(dt.max()), 0.0), min(float(dt.min()), 0.0)):
            if reach != 0.0:
                length, planets = _planets_on_the_way(epoch_mjd_tdb, reach, longest)
                _integrate_each(states[orbits], dt, length, planets, _GM, *_chebyshev_integrals(), part)
        shifts[orbits] = part
    return shifts


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


@functools.cache
def _chebyshev_integrals() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the points from -1 to 1, barycentric weights, and the matrices of the integral and the double integral.

    Row j of a matrix, applied to the values of a function at the points, is its integral from -1 to point j.
    """
    points: FloatArray = -np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
    weights: FloatArray = np.where(np.arange(POINTS) % 2 == 0, 1.0, -1.0)
    weights[[0, -1]] *= 0.5
    coefficients = np.linalg.inv(chebyshev.chebvander(points, POINTS - 1))
    once = chebyshev.chebint(coefficients, lbnd=-1.0)
    twice = chebyshev.chebint(once, lbnd=-1.0)
    integral: FloatArray = np.ascontiguousarray(chebyshev.chebvander(points, POINTS) @ once)
    double_integral: FloatArray = np.ascontiguousarray(chebyshev.chebvander(points, POINTS + 1) @ twice)
    return points, weights, integral, double_integral


def _planets_on_the_way(epoch: float, reach: float, longest: float) -> tuple[float, FloatArray]:
    """Cut the way from the epoch to `reach` days after it (negative: before) into segments no longer than `longest`.

    Returns their length, days, with the sign of `reach`, and the planets at their points, shape (s, POINTS, 10, 3).
    """
    count = math.ceil(abs(reach) / longest)
    length = reach / count
    offsets = (np.arange(count)[:, None] + 0.5 * (1.0 + _chebyshev_integrals()[0])) * length
    return length, planet_positions(epoch + offsets.ravel()).reshape(count, POINTS, len(_GM), 3)


def _segment_lengths(states: FloatArray, epoch: float, dt: FloatArray) -> FloatArray:
    """Return each orbit's length of a segment, days: a power of two, so that few lengths serve all orbits."""
    low, high = min(float(dt.min()), 0.0), max(float(dt.max()), 0.0)
    samples = np.linspace(low, high, math.ceil(high - low) + 2)
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


@kernel
def _integrate_each(
    states: FloatArray,
    dt: FloatArray,
    length: float,
    planets: FloatArray,
    gm: FloatArray,
    points: FloatArray,
    weights: FloatArray,
    once: FloatArray,
    twice: FloatArray,
    out: FloatArray,
) -> None:
    """Integrate each orbit from the epoch to one side (a negative length: backward); write the times on that side."""
    paths = np.empty((POINTS, 6))
    shifts = np.empty((POINTS, 6))
    for k in range(states.shape[0]):
        _integrate(states[k], dt, length, planets, gm, points, weights, once, twice, paths, shifts, out[k])


@kernel
def _integrate(
    state: FloatArray,
    dt: FloatArray,
    length: float,
    planets: FloatArray,
    gm: FloatArray,
    points: FloatArray,
    weights: FloatArray,
    once: FloatArray,
    twice: FloatArray,
    paths: FloatArray,
    shifts: FloatArray,
    out: FloatArray,
) -> None:
    start = np.zeros(6)
    accelerations = np.empty((POINTS, 3))
    half = 0.5 * length
    for s in range(planets.shape[0]):
        begin = s * length
        for j in range(POINTS):
            propagate_state(state, begin + half * (1.0 + points[j]), paths[j])
            for axis in range(3):
                shifts[j, axis] = start[axis] + start[axis + 3] * half * (1.0 + points[j])
                shifts[j, axis + 3] = start[axis + 3]
        if not _picard(paths, planets[s], gm, half, points, once, twice, start, accelerations, shifts):
            return
        for i in range(dt.size):
            place = dt[i] / length - s
            # The last time may lie a rounding beyond the last segment.
            if 0.0 < place <= 1.0 or (s == planets.shape[0] - 1 and 1.0 < place < 1.0 + 1e-9):
                _interpolate(points, weights, shifts, 2.0 * place - 1.0, out[i])
        for axis in range(6):
            start[axis] = shifts[POINTS - 1, axis]


@kernel
def _picard(
    paths: FloatArray,
    planets: FloatArray,
    gm: FloatArray,
    half: float,
    points: FloatArray,
    once: FloatArray,
    twice: FloatArray,
    start: FloatArray,
    accelerations: FloatArray,
    shifts: FloatArray,
) -> bool:
    """Iterate the shifts of one segment until they stand still; False: they do not."""
    for _ in range(_MAX_ROUNDS):
        for j in range(POINTS):
            _acceleration(paths[j], shifts[j], planets[j], gm, accelerations[j])
        change, size = 0.0, 0.0
        for j in range(POINTS):
            for axis in range(3):
                velocity, position = 0.0, 0.0
                for l in range(POINTS):
                    velocity += once[j, l] * accelerations[l, axis]
                    position += twice[j, l] * accelerations[l, axis]
                new = start[axis] + half * (start[axis + 3] * (1.0 + points[j]) + half * position)
                change = max(change, abs(new - shifts[j, axis]))
                size = max(size, abs(new))
                shifts[j, axis] = new
                shifts[j, axis + 3] = start[axis + 3] + half * velocity
        if not math.isfinite(size):
            return False
        if change <= _STILL_AU + 1e-12 * size:
            return True
    return False


@kernel
def _acceleration(path: FloatArray, shift: FloatArray, planets: FloatArray, gm: FloatArray, out: FloatArray) -> None:
    """Write delta'' (3,), au/d^2, for a two-body state and its shift, both (6,)."""
    r = np.empty(3)
    v = np.empty(3)
    r_squared, path_squared, v_squared, r_dot_v = 0.0, 0.0, 0.0, 0.0
    for axis in range(3):
        r[axis] = path[axis] + shift[axis]
        v[axis] = path[axis + 3] + shift[axis + 3]
        r_squared += r[axis] * r[axis]
        path_squared += path[axis] * path[axis]
        v_squared += v[axis] * v[axis]
        r_dot_v += r[axis] * v[axis]
    pull = MU_SUN / (r_squared * math.sqrt(r_squared))
    path_pull = MU_SUN / (path_squared * math.sqrt(path_squared))
    bend = pull / (SPEED_OF_LIGHT * SPEED_OF_LIGHT)
    potential = 4.0 * MU_SUN / math.sqrt(r_squared) - v_squared
    for axis in range(3):
        out[axis] = path_pull * path[axis] - pull * r[axis] + bend * (potential * r[axis] + 4.0 * r_dot_v * v[axis])
    for p in range(planets.shape[0]):
        gap_squared, sun_squared = 0.0, 0.0
        for axis in range(3):
            gap_squared += (planets[p, axis] - r[axis]) ** 2
            sun_squared += planets[p, axis] ** 2
        direct = gm[p] / (gap_squared * math.sqrt(gap_squared))
        indirect = gm[p] / (sun_squared * math.sqrt(sun_squared))
        for axis in range(3):
            out[axis] += direct * (planets[p, axis] - r[axis]) - indirect * planets[p, axis]


@kernel
def _interpolate(points: FloatArray, weights: FloatArray, values: FloatArray, x: float, out: FloatArray) -> None:
    """Write the polynomial through values (POINTS, 6) at x (Berrut & Trefethen 2004, SIAM Review 46, 501, eq. 4.2)."""
    total = 0.0
    out[:] = 0.0
    for j in range(POINTS):
        gap = x - points[j]
        if abs(gap) < 1e-14:
            for axis in range(6):
                out[axis] = values[j, axis]
            return
        weight = weights[j] / gap
        total += weight
        for axis in range(6):
            out[axis] += weight * values[j, axis]
    for axis in range(6):
        out[axis] /= total
