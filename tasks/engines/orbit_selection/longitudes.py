"""Turns drawn orbits about the ecliptic pole, so that their bodies are seen where the survey looked.

A group that keeps no longitude is the same after any turn. Most that is drawn lies outside of a survey's fields, and of
what is near the Earth, where a degree about the Sun is many degrees of the sky, nearly everything; turned to where the
survey looked, little is drawn in vain. What that does to the frequency of a longitude is undone by a weight.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel
from tasks.engines.orbit_selection.footprint import Footprint, tile_numbers

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BIN_DEG = 2.0
"""Width of the bins in geocentric ecliptic longitude."""

PAD_BINS = 2
"""Bins on both sides of what was looked at: objects move in and out."""

FIELD_TILE_DEG = 2.0
"""Side of the tiles by which the fields are told on the sky."""

ANYWHERE = 0.15
"""Share of the objects that is turned to any longitude: fast ones come from far."""


class Longitudes:
    """Geocentric ecliptic longitudes at which a survey looked."""

    def __init__(self, footprint: Footprint) -> None:
        middle = int(np.argmin(np.abs(footprint.mjd_tdb - footprint.middle_mjd_tdb)))
        self._observer = footprint.observer_position[middle]
        self._observer_velocity = footprint.observer_velocity[middle]
        tile = tile_numbers(footprint.disc_centre, FIELD_TILE_DEG)
        _, first, owner = np.unique(tile, return_index=True, return_inverse=True)
        radius = np.zeros(len(first))
        np.maximum.at(radius, owner.ravel(), footprint.disc_radius)
        self._field_centre = footprint.disc_centre[first]
        self._field_chord = 2.0 * np.sin(0.5 * np.minimum(radius + np.radians(2.0 * FIELD_TILE_DEG), np.pi))
        self._half_span = 0.5 * float(footprint.mjd_tdb[-1] - footprint.mjd_tdb[0])
        bins = round(360.0 / BIN_DEG)
        covered = np.zeros(bins, dtype=np.bool_)
        x, y, _ = footprint.disc_centre.T
        flat = np.maximum(np.hypot(x, y), 1e-9)
        longitude = np.degrees(np.arctan2(y, x))
        # A disc near the pole holds every longitude.
        reach = np.degrees(np.minimum(footprint.disc_radius / flat, np.pi))
        for side in np.linspace(-1.0, 1.0, 9):
            covered[np.floor((longitude + side * reach) / BIN_DEG).astype(np.int64) % bins] = True
        for step in range(1, PAD_BINS + 1):
            covered |= np.roll(covered, step) | np.roll(covered, -step)
        self._covered = covered
        chance = np.where(covered, (1.0 - ANYWHERE) / covered.sum(), 0.0) + ANYWHERE / bins
        self._chance = chance / chance.sum()

    def near_fields(self, toward: FloatArray) -> BoolArray:
        """Tell which directions, (m, 3), lie where the survey looked or within a tile of it, `FIELD_TILE_DEG`."""
        near = np.zeros(len(toward), dtype=np.bool_)
        _near(toward, self._field_centre, self._field_chord, near)
        return near

    def turned(self, states: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Turn each state to where it is seen at a drawn longitude; return the weights, 0 where nothing is there.

        Parameters
        ----------
        states : shape (m, 6)
            Heliocentric ecliptic J2000 at the middle of the survey; longitudes evenly distributed.
        """
        count = len(states)
        bins = rng.choice(len(self._chance), size=count, p=self._chance)
        seen = np.radians((bins + rng.uniform(size=count)) * BIN_DEG)
        far = rng.uniform(size=count) < 0.5
        sun_side = np.arctan2(self._observer[1], self._observer[0])
        R = np.hypot(self._observer[0], self._observer[1])
        s = np.hypot(states[:, 0], states[:, 1])
        cosine, sine = np.cos(seen - sun_side), np.sin(seen - sun_side)
        radicand = s**2 - (R * sine) ** 2
        root = np.sqrt(np.maximum(radicand, 0.0))
        two = (radicand > 0.0) & (-R * cosine - root > 0.0)
        along = -R * cosine + np.where(two & ~far, -root, root)
        is_there = (radicand > 0.0) & (along > 0.0)
        about_sun = np.arctan2(along * sine, R + along * cosine)
        # Of the longitude about the Sun, that about the observer changes by this much.
        slope = np.abs(s**2 - s * R * np.cos(about_sun)) / np.maximum(along, 1e-12) ** 2
        density = self._chance[bins] / np.radians(BIN_DEG) * slope * np.where(two, 0.5, 1.0)
        weight = np.where(is_there & (density > 0.0), 1.0 / (2.0 * np.pi * np.maximum(density, 1e-300)), 0.0)
        return _about_pole(states, about_sun + sun_side - np.arctan2(states[:, 1], states[:, 0])), weight

    def may_hold(self, states: FloatArray) -> BoolArray:
        """Tell which objects are seen where the survey looked, or are so fast that they may have come there."""
        offset = states[:, :3] - self._observer
        longitude = np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
        bins = np.floor(longitude / BIN_DEG).astype(np.int64) % len(self._covered)
        flat = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), 1e-9)
        rate = np.linalg.norm(states[:, 3:] - self._observer_velocity, axis=1) / flat
        held: BoolArray = self._covered[bins] | (rate * self._half_span > np.radians(PAD_BINS * BIN_DEG))
        return held


@kernel
def _near(toward: FloatArray, centre: FloatArray, chord: FloatArray, near: BoolArray) -> None:
    for k in range(near.size):
        for d in range(chord.size):
            n, c = toward[k], centre[d]
            if (n[0] - c[0]) ** 2 + (n[1] - c[1]) ** 2 + (n[2] - c[2]) ** 2 <= chord[d] ** 2:
                near[k] = True
                break


def _about_pole(states: FloatArray, angle: FloatArray) -> FloatArray:
    """Turn positions and velocities about the pole of the ecliptic, radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = states.copy()
    for first in (0, 3):
        x, y = states[:, first], states[:, first + 1]
        turned[:, first], turned[:, first + 1] = cosine * x - sine * y, sine * x + cosine * y
    return turned
