r"""What the other bodies add to an orbit's two-body positions, as a polynomial in time for each orbit.

Over weeks the shift is smooth and small (for a main-belt asteroid 2e-6 au after a week), and nearly the same for
neighbouring orbits. So it is integrated once or twice per orbit and taken at few times, and a polynomial does the rest:
the fit itself moves in two bodies.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics import assist, planets
from tasks.engines.builtin.astrodynamics.n_body import ForceModel
from tasks.engines.builtin.astrodynamics.two_body import positions_of_many
from tasks.engines.builtin.fitting.fitted_orbits import AddedMotion
from tasks.engines.builtin.fitting.slopes import Slopes, no_slopes
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TOO_CLOSE_TO_ASTEROID_AU = 0.02
"""An orbit this close to one of ASSIST's asteroids may be that asteroid, and would be attracted by itself. Its shift
is computed this far away instead, where the asteroid's own pull is below 1e-9 au in two weeks, and that of the
planets is the same to one percent."""


STEEP = 5e-6
"""Largest tide, times half the square of `_STEEP_DAYS`, up to which partials need no slopes: a week's arc tells the
directions of an orbit apart to 1e-5 of each other. Jupiter passes it within 1.1 au, the Earth within 0.16."""

_STEEP_DAYS = 7.0
"""The arc for which `STEEP` is said; a longer one tells more, as its tides do more."""

_SLOPE_STEP = 1e-4
"""Relative change of the state from which slopes are taken: a thousandth of the distance to a planet, at most."""


@dataclass(frozen=True)
class Shifts:
    """n-body minus 2-body positions of c orbits: polynomials through k Chebyshev points of a span of time."""

    #: shape (c,): the span, MJD TDB.
    low: FloatArray
    high: FloatArray
    #: shape (c, k, 3): au, at the Chebyshev points from low to high; zero for an orbit that ASSIST refuses.
    values: FloatArray
    #: shape (c,): False for those.
    is_n_body: BoolArray
    #: How they change with the orbit, where they do.
    slopes: Slopes
    #: shape (c, 6): the states that they were computed for.
    origins: FloatArray

    def at(self, owner: IntArray, mjd_tdb: FloatArray) -> AddedMotion:
        """Return the shifts of orbits `owner`, shape (m,), at the times of light emission, within their spans."""
        shifts = np.empty((len(mjd_tdb), 3))
        _interpolate_many(self.low[owner], self.high[owner], self.values, owner, mjd_tdb, shifts)
        slopes = np.zeros((len(mjd_tdb) if len(self.slopes.values) > 0 else 0, 18))
        if len(slopes) > 0:
            steep = np.flatnonzero(self.slopes.row[owner] >= 0)
            values = np.ascontiguousarray(self.slopes.values.reshape(*self.slopes.values.shape[:2], 18))
            part = np.empty((len(steep), 18))
            low, high = self.low[owner[steep]], self.high[owner[steep]]
            _interpolate_many(low, high, values, self.slopes.row[owner[steep]], mjd_tdb[steep], part)
            slopes[steep] = part
        return AddedMotion(shifts, slopes.reshape(-1, 3, 6), self.origins)

    def of(self, orbits: IntArray) -> "Shifts":
        """Return those of some orbits."""
        return Shifts(
            self.low[orbits],
            self.high[orbits],
            self.values[orbits],
            self.is_n_body[orbits],
            self.slopes.of(orbits),
            self.origins[orbits],
        )

    def joined(self, other: "Shifts") -> "Shifts":
        """Return these, then the others."""
        return Shifts(
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.is_n_body, other.is_n_body]),
            self.slopes.joined(other.slopes),
            np.concatenate([self.origins, other.origins]),
        )

    def with_replaced(self, orbits: IntArray, part: "Shifts") -> "Shifts":
        """Return these, with those of some orbits as in the part."""
        place = np.arange(len(self.low))
        place[orbits] = len(self.low) + np.arange(len(orbits))
        return self.joined(part).of(place)


def n_body_shifts(
    states: FloatArray,
    epochs: FloatArray,
    low: FloatArray,
    high: FloatArray,
    model: ForceModel,
    n_times: int,
    *,
    with_slopes: bool = True,
) -> Shifts:
    """Compute the shifts of c orbits over their spans.

    Parameters
    ----------
    states, epochs : shapes (c, 6) and (c,)
        Heliocentric ecliptic J2000, au and au/d, MJD TDB. Few distinct epochs make it fast.
    low, high : shape (c,)
        MJD TDB; orbits of one epoch get the span that they cover together.
    model
        n-body or assist; with 2-body there are none.
    n_times : int
        Times at which the shifts are computed.
    with_slopes
        Whether also to compute how they change with the orbit, where they do: six times the work.
    """
    shifts = Shifts(
        low.copy(),
        high.copy(),
        np.zeros((len(low), n_times, 3)),
        np.zeros(len(low), np.bool_),
        no_slopes(len(low), n_times),
        np.array(states),
    )
    if model == "2-body":
        return shifts
    steep, slopes = [], [shifts.slopes.values]
    for epoch in np.unique(epochs):
        orbits = np.flatnonzero(epochs == epoch)
        shifts.low[orbits], shifts.high[orbits] = low[orbits].min(), high[orbits].max()
        points = chebyshev_points(low[orbits].min(), high[orbits].max(), n_times)
        moved = _SHIFTS_OF[model](states[orbits], epoch, points)
        shifts.is_n_body[orbits] = np.isfinite(moved).all(axis=(1, 2))
        moved[~shifts.is_n_body[orbits]] = 0.0
        shifts.values[orbits] = moved
        if not with_slopes:
            continue
        stretched = orbits[shifts.is_n_body[orbits] & _are_steep(states[orbits], epoch, points)]
        steep.append(stretched)
        slopes.append(_slopes(states[stretched], epoch, points, shifts.values[stretched], model))
    shifts.slopes.row[np.concatenate([np.empty(0, np.int64), *steep])] = np.arange(sum(map(len, steep)))
    return replace(shifts, slopes=Slopes(shifts.slopes.row, np.concatenate(slopes)))


def are_stretched(states: FloatArray, epochs: FloatArray) -> BoolArray:
    """Return which orbits, within a week of their epochs, a planet stretches so much that two bodies will not do."""
    stretched = np.zeros(len(states), np.bool_)
    for epoch in np.unique(epochs):
        orbits = np.flatnonzero(epochs == epoch)
        points = chebyshev_points(epoch - _STEEP_DAYS, epoch + _STEEP_DAYS, 15)
        stretched[orbits] = _are_steep(states[orbits], epoch, points)
    return stretched


def _are_steep(states: FloatArray, epoch: float, points: FloatArray) -> BoolArray:
    """Return which orbits a planet stretches so much that their partials must know of it."""
    steep: BoolArray = 0.5 * _STEEP_DAYS**2 * planets.planetary_tides(states, epoch, points) > STEEP
    return steep


def _slopes(states: FloatArray, epoch: float, points: FloatArray, values: FloatArray, model: ForceModel) -> FloatArray:
    """Return the partials of the shifts with respect to the states, shape (s, k, 3, 6), by differences."""
    slopes = np.empty((*values.shape, 6))
    for part in (slice(0, 3), slice(3, 6)):
        step = _SLOPE_STEP * np.linalg.norm(states[:, part], axis=1)
        for axis in range(part.start, part.stop):
            beside = states.copy()
            beside[:, axis] += step
            slopes[..., axis] = (_SHIFTS_OF[model](beside, epoch, points) - values) / step[:, None, None]
    return np.nan_to_num(slopes)


def _planetary_shifts(states: FloatArray, epoch: float, times: FloatArray) -> FloatArray:
    return planets.planetary_shifts(states, epoch, times)[:, :, :3]


def _shifts_by_assist(states: FloatArray, epoch: float, times: FloatArray) -> FloatArray:
    away = _away_from_asteroids(states, epoch)
    return assist.propagate(away, epoch, times)[:, :, :3] - positions_of_many(away, times - epoch)


_SHIFTS_OF = {"n-body": _planetary_shifts, "assist": _shifts_by_assist}


def chebyshev_points(low: float, high: float, count: int) -> FloatArray:
    """Return the extrema of the Chebyshev polynomial of degree count - 1, ascending from low to high."""
    cosines = np.cos(np.pi * np.arange(count - 1, -1, -1) / (count - 1))
    points: FloatArray = 0.5 * (low + high) + 0.5 * (high - low) * cosines
    return points


@kernel
def interpolate(low: float, high: float, values: FloatArray, time: float, out: FloatArray) -> None:
    """Write the polynomial through values (k, w) at the Chebyshev points from low to high, at a time.

    Barycentric formula with the weights of the Chebyshev extrema (Berrut & Trefethen 2004, SIAM Review 46, 501,
    eq. 4.2 and 5.4): stable at any degree.
    """
    k = values.shape[0]
    x = (2.0 * time - low - high) / (high - low)
    total = 0.0
    out[:] = 0.0
    for j in range(k):
        gap = x + np.cos(np.pi * j / (k - 1))
        if abs(gap) < 1e-14:
            for axis in range(out.size):
                out[axis] = values[j, axis]
            return
        weight = (1.0 if j % 2 == 0 else -1.0) / gap
        if j in (0, k - 1):
            weight *= 0.5
        total += weight
        for axis in range(out.size):
            out[axis] += weight * values[j, axis]
    for axis in range(out.size):
        out[axis] /= total


@kernel
def _interpolate_many(
    low: FloatArray, high: FloatArray, values: FloatArray, owner: IntArray, times: FloatArray, out: FloatArray
) -> None:
    """Do so for many times; low and high (m,) are of each, values (c, k, w) of their owners."""
    for row in range(times.size):
        interpolate(low[row], high[row], values[owner[row]], times[row], out[row])


def _away_from_asteroids(states: FloatArray, epoch: float) -> FloatArray:
    """Move the states that are too close to one of ASSIST's asteroids outward, keeping their velocities."""
    asteroids = assist.asteroid_positions(epoch)
    gaps = states[:, None, :3] - asteroids[None]
    distances = np.linalg.norm(gaps, axis=2)
    nearest = distances.argmin(axis=1)
    too_close = np.flatnonzero(distances.min(axis=1) < TOO_CLOSE_TO_ASTEROID_AU)
    if len(too_close) == 0:
        return states
    moved = states.copy()
    for row in too_close:
        # Along the orbit normal: there the orbit itself leads neither towards the asteroid nor away from it.
        normal = np.cross(states[row, :3], states[row, 3:])
        normal /= np.linalg.norm(normal)
        side = 1.0 if gaps[row, nearest[row]] @ normal >= 0.0 else -1.0
        moved[row, :3] += side * TOO_CLOSE_TO_ASTEROID_AU * normal
    return moved
