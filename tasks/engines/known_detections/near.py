"""Which orbits of a catalogue may pass through the exposures: by two bodies and a wide margin, for millions of orbits.

For each slot of time a map of the sky says how far from the nearest exposure each cell lies. An orbit is kept if in any
slot it is, by that map, within its margin.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.fitting.sky_index import SkyIndex
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CELL_RADIUS_DEG = 0.71
"""As far as a point may be from the centre of its cell, 1 deg in longitude and latitude: half the diagonal."""

SLOT_DAYS = 0.25
"""Exposures of one such slot are looked at with one prediction, of its middle."""

MARGIN_DEG, MARGIN_DEG_PER_YEAR = 1.0, 1.5
"""Two bodies lead an orbit 1 au away this far astray: near the epoch, with its motion in a slot; and each year more."""

STATES = ("x", "y", "z", "vx", "vy", "vz")


@dataclass(frozen=True)
class Slots:
    """Maps of s slots of time."""

    #: shape (s,), MJD TDB; shape (s, 3), heliocentric ecliptic J2000, au.
    mjd_tdb: FloatArray
    observer: FloatArray
    #: shape (s, 180, 360): distance of each cell of ecliptic latitude and longitude from the nearest exposure, deg.
    distance_deg: FloatArray


def slots_of_exposures(survey: PreparedSurvey, index: SkyIndex, exposures: slice) -> Slots:
    """Draw the maps of some exposures."""
    shown = exposures.start + np.flatnonzero(index.radius[exposures] >= 0.0)
    number = np.floor(survey.exposure_mjd_tdb / SLOT_DAYS)
    centres = _centres_of_cells()
    times, observers, maps = [], [], []
    for each in np.unique(number[shown]):
        rows = shown[number[shown] == each]
        times.append(survey.exposure_mjd_tdb[rows].mean())
        observers.append(survey.observer_position[rows].mean(axis=0))
        chord, _ = cKDTree(index.centre[rows]).query(centres)
        angle = np.degrees(2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))
        radius = np.degrees(2.0 * np.arcsin(np.clip(index.radius[rows].max() / 2.0, 0.0, 1.0)))
        maps.append((angle - radius - CELL_RADIUS_DEG).reshape(180, 360))
    return Slots(np.array(times), np.array(observers).reshape(-1, 3), np.array(maps).reshape(len(times), 180, 360))


def are_in_field(states: FloatArray, epochs_mjd_tdb: FloatArray, slots: Slots) -> BoolArray:
    """Return which orbits, shape (m, 6), may pass through the exposures of any slot."""
    near = np.zeros(len(states), np.bool_)
    if len(slots.mjd_tdb):
        _are_in_field(states, epochs_mjd_tdb, slots.mjd_tdb, slots.observer, slots.distance_deg, near)
    return near


def states_of(orbits: pa.Table) -> FloatArray:
    """Return the states of a table of orbits, shape (m, 6)."""
    return np.ascontiguousarray(np.column_stack([orbits[name].to_numpy() for name in STATES]))


def _centres_of_cells() -> FloatArray:
    latitude = np.radians(np.arange(180) - 89.5)
    longitude = np.radians(np.arange(360) + 0.5)
    latitudes, longitudes = (each.ravel() for each in np.meshgrid(latitude, longitude, indexing="ij"))
    across = np.cos(latitudes)
    return np.column_stack([across * np.cos(longitudes), across * np.sin(longitudes), np.sin(latitudes)])


@kernel
def _are_in_field(
    states: FloatArray,
    epochs: FloatArray,
    times: FloatArray,
    observers: FloatArray,
    distance_deg: FloatArray,
    near: BoolArray,
) -> None:
    """Mark the orbits that are within their margin in any slot."""
    state = np.empty(6)
    for k in range(states.shape[0]):
        for s in range(times.size):
            propagate_state(states[k], times[s] - epochs[k], state)
            x, y, z = state[0] - observers[s, 0], state[1] - observers[s, 1], state[2] - observers[s, 2]
            distance = math.sqrt(x * x + y * y + z * z)
            if not 0.0 < distance < math.inf:  # it cannot be propagated
                break
            margin = MARGIN_DEG + MARGIN_DEG_PER_YEAR * abs(times[s] - epochs[k]) / 365.25
            # A nearer orbit moves faster, and a small error of its place is a larger angle.
            margin *= max(1.0, 1.0 / distance)
            height = max(-1.0, min(1.0, z / distance))
            row = min(int(math.degrees(math.asin(height)) + 90.0), 179)
            column = min(int(math.degrees(math.atan2(y, x)) % 360.0), 359)
            if distance_deg[s, row, column] <= margin:
                near[k] = True
                break
