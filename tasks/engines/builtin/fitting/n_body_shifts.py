r"""What the other bodies add to an orbit's two-body positions, as a polynomial in time for each orbit.

Over weeks the shift is smooth and small (for a main-belt asteroid 2e-6 au after a week), and nearly the same for
neighbouring orbits. So it is integrated once or twice per orbit and taken at few times, and a polynomial does the rest:
the fit itself moves in two bodies.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics import assist, planets
from tasks.engines.builtin.astrodynamics.n_body import ForceModel
from tasks.engines.builtin.astrodynamics.two_body import positions_of_many
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TOO_CLOSE_TO_ASTEROID_AU = 0.02
"""An orbit this close to one of ASSIST's asteroids may be that asteroid, and would be attracted by itself. Its shift
is computed this far away instead, where the asteroid's own pull is below 1e-9 au in two weeks, and that of the
planets is the same to one percent."""


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

    def at(self, owner: IntArray, mjd_tdb: FloatArray) -> FloatArray:
        """Return the shifts, shape (m, 3), of orbits `owner` at the times of light emission, within their spans."""
        shifts = np.empty((len(mjd_tdb), 3))
        _interpolate_many(self.low, self.high, self.values, owner, mjd_tdb, shifts)
        return shifts

    def of(self, orbits: IntArray) -> "Shifts":
        """Return those of some orbits."""
        return Shifts(self.low[orbits], self.high[orbits], self.values[orbits], self.is_n_body[orbits])

    def joined(self, other: "Shifts") -> "Shifts":
        """Return these, then the others."""
        return Shifts(*(np.concatenate([getattr(self, each.name), getattr(other, each.name)]) for each in fields(self)))

    def with_replaced(self, orbits: IntArray, part: "Shifts") -> "Shifts":
        """Return these, with those of some orbits as in the part."""
        changed = Shifts(self.low.copy(), self.high.copy(), self.values.copy(), self.is_n_body.copy())
        changed.low[orbits], changed.high[orbits] = part.low, part.high
        changed.values[orbits], changed.is_n_body[orbits] = part.values, part.is_n_body
        return changed


def n_body_shifts(
    states: FloatArray, epochs: FloatArray, low: FloatArray, high: FloatArray, model: ForceModel, n_times: int
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
    """
    shifts = Shifts(low.copy(), high.copy(), np.zeros((len(low), n_times, 3)), np.zeros(len(low), np.bool_))
    if model == "2-body":
        return shifts
    for epoch in np.unique(epochs):
        orbits = np.flatnonzero(epochs == epoch)
        shifts.low[orbits], shifts.high[orbits] = low[orbits].min(), high[orbits].max()
        points = chebyshev_points(low[orbits].min(), high[orbits].max(), n_times)
        moved = _SHIFTS_OF[model](states[orbits], epoch, points)
        shifts.is_n_body[orbits] = np.isfinite(moved).all(axis=(1, 2))
        moved[~shifts.is_n_body[orbits]] = 0.0
        shifts.values[orbits] = moved
    return shifts


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
    """Write the polynomial through values (k, 3) at the Chebyshev points from low to high, at a time.

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
            for axis in range(3):
                out[axis] = values[j, axis]
            return
        weight = (1.0 if j % 2 == 0 else -1.0) / gap
        if j in (0, k - 1):
            weight *= 0.5
        total += weight
        for axis in range(3):
            out[axis] += weight * values[j, axis]
    for axis in range(3):
        out[axis] /= total


@kernel
def _interpolate_many(
    low: FloatArray, high: FloatArray, values: FloatArray, owner: IntArray, times: FloatArray, out: FloatArray
) -> None:
    for row in range(times.size):
        k = owner[row]
        interpolate(low[k], high[k], values[k], times[row], out[row])


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
