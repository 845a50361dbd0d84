"""Encke's method through given segments: shifts between perturbed and two-body paths, one orbit after another.

What the segments are, and why, is said in `planets`; formulas and sources are there, too.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

POINTS = 12
"""Chebyshev points of a segment. With the lengths below the polynomials are good to 1e-10 of the accelerations."""

_MAX_ROUNDS = 40

_STILL_AU = 1e-13
"""Change of a shift, au (15 mm), below which a round was the last."""


class Quadrature(NamedTuple):
    """Chebyshev points of a segment, and what integrates and interpolates a function by its values there."""

    #: shape (POINTS,): from -1 to 1, and their barycentric weights.
    points: FloatArray
    weights: FloatArray
    #: shape (POINTS, POINTS): row j, applied to the values, is the integral from -1 to point j; the
    #: second is the double integral.
    once: FloatArray
    twice: FloatArray


@functools.cache
def quadrature() -> Quadrature:
    """Return the one for `POINTS` points."""
    points: FloatArray = -np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
    weights: FloatArray = np.where(np.arange(POINTS) % 2 == 0, 1.0, -1.0)
    weights[[0, -1]] *= 0.5
    coefficients = np.linalg.inv(chebyshev.chebvander(points, POINTS - 1))
    once = chebyshev.chebint(coefficients, lbnd=-1.0)
    twice = chebyshev.chebint(once, lbnd=-1.0)
    integral: FloatArray = np.ascontiguousarray(chebyshev.chebvander(points, POINTS) @ once)
    double_integral: FloatArray = np.ascontiguousarray(chebyshev.chebvander(points, POINTS + 1) @ twice)
    return Quadrature(points, weights, integral, double_integral)


@kernel
def integrate_each(
    states: FloatArray,
    dt: FloatArray,
    begin: float,
    length: float,
    planets: FloatArray,
    gm: FloatArray,
    rule: Quadrature,
    starts: FloatArray,
    out: FloatArray,
) -> None:
    """Integrate each orbit from `begin` on (a negative length: backward), where its shift is its row of `starts`.

    Write the times within the segments, and the shifts at their end to `starts`: nan where one does not converge.
    """
    paths = np.empty((POINTS, 6))
    shifts = np.empty((POINTS, 6))
    for k in range(states.shape[0]):
        _integrate(states[k], dt, begin, length, planets, gm, rule, paths, shifts, starts[k], out[k])


@kernel
def _integrate(
    state: FloatArray,
    dt: FloatArray,
    begin: float,
    length: float,
    planets: FloatArray,
    gm: FloatArray,
    rule: Quadrature,
    paths: FloatArray,
    shifts: FloatArray,
    start: FloatArray,
    out: FloatArray,
) -> None:
    accelerations = np.empty((POINTS, 3))
    half = 0.5 * length
    for s in range(planets.shape[0]):
        here = begin + s * length
        for j in range(POINTS):
            propagate_state(state, here + half * (1.0 + rule.points[j]), paths[j])
            for axis in range(3):
                shifts[j, axis] = start[axis] + start[axis + 3] * half * (1.0 + rule.points[j])
                shifts[j, axis + 3] = start[axis + 3]
        if not _picard(paths, planets[s], gm, half, rule, start, accelerations, shifts):
            start[:] = np.nan
            return
        for i in range(dt.size):
            place = (dt[i] - begin) / length - s
            # The last time may lie a rounding beyond the last segment.
            if 0.0 < place <= 1.0 or (s == planets.shape[0] - 1 and 1.0 < place < 1.0 + 1e-9):
                _interpolate(rule, shifts, 2.0 * place - 1.0, out[i])
        for axis in range(6):
            start[axis] = shifts[POINTS - 1, axis]


@kernel
def _picard(
    paths: FloatArray,
    planets: FloatArray,
    gm: FloatArray,
    half: float,
    rule: Quadrature,
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
                    velocity += rule.once[j, l] * accelerations[l, axis]
                    position += rule.twice[j, l] * accelerations[l, axis]
                new = start[axis] + half * (start[axis + 3] * (1.0 + rule.points[j]) + half * position)
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
def _interpolate(rule: Quadrature, values: FloatArray, x: float, out: FloatArray) -> None:
    """Write the polynomial through values (POINTS, 6) at x (Berrut & Trefethen 2004, SIAM Review 46, 501, eq. 4.2)."""
    total = 0.0
    out[:] = 0.0
    for j in range(POINTS):
        gap = x - rule.points[j]
        if abs(gap) < 1e-14:
            for axis in range(6):
                out[axis] = values[j, axis]
            return
        weight = rule.weights[j] / gap
        total += weight
        for axis in range(6):
            out[axis] += weight * values[j, axis]
    for axis in range(6):
        out[axis] /= total
