"""What a survey would see of a population: each object at each pointing that holds it. Two bodies, light time."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.orbit_path import OrbitPath
from tasks.engines.orbit_selection.footprint import Footprint

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

SLACK_RAD = math.radians(2.0)
"""An object is not propagated to a pointing that lies further from it than its motion, half as much again, and this."""

_NO_ROWS = np.zeros(0, dtype=np.int64)
_FIRST_ROW = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class Sightings:
    """Where m objects are seen: those of object k are rows start[k] to start[k + 1], in order of time."""

    #: shape (m + 1,)
    start: IndexArray
    #: shape (s,): the pointing.
    pointing: IndexArray
    #: shape (s, 3): unit vector from the observer, heliocentric ecliptic J2000 axes.
    direction: FloatArray
    #: shape (s,): distance from the observer, au.
    distance: FloatArray

    @cached_property
    def by_pointing(self) -> IndexArray:
        """Rows in order of pointing, shape (s,)."""
        return np.argsort(self.pointing, kind="stable")

    def where(self, kept: NDArray[np.bool_]) -> "Sightings":
        """Return those that are kept, shape (s,); an object may lose all."""
        start = np.concatenate([_FIRST_ROW, np.cumsum(kept)])[self.start]
        return Sightings(start, self.pointing[kept], self.direction[kept], self.distance[kept])

    def of_objects(self, rows: IndexArray) -> "Sightings":
        """Return those of some of the objects, in that order."""
        counts = np.diff(self.start)[rows]
        start = np.concatenate([[0], np.cumsum(counts)])
        taken = np.repeat(self.start[rows] - start[:-1], counts) + np.arange(start[-1])
        return Sightings(start, self.pointing[taken], self.direction[taken], self.distance[taken])


def sightings_of_states(states: FloatArray, epoch_mjd_tdb: float, footprint: Footprint) -> Sightings:
    """Return where objects are seen; states (m, 6) at one epoch, heliocentric ecliptic J2000, au and au/d."""
    times = footprint.mjd_tdb - epoch_mjd_tdb
    middle = int(np.argmin(np.abs(times)))
    offset = states[:, :3] - footprint.observer_position[middle]
    distance = np.linalg.norm(offset, axis=1)
    relative = np.linalg.norm(states[:, 3:] - footprint.observer_velocity[middle], axis=1)
    near = offset / distance[:, None]
    arguments = (
        np.ascontiguousarray(states),
        times,
        footprint.observer_position,
        footprint.disc_start,
        footprint.disc_centre,
        2.0 * np.sin(0.5 * footprint.disc_radius),
        footprint.disc_radius,
        near,
        relative / distance,
    )
    counts = np.zeros(len(states), dtype=np.int64)
    _see(*arguments, counts, _NO_ROWS, _NO_ROWS, np.zeros((0, 3)), np.zeros(0))
    start = np.concatenate([_FIRST_ROW, np.cumsum(counts)])
    seen = Sightings(start, np.empty(start[-1], np.int64), np.empty((start[-1], 3)), np.empty(start[-1]))
    # Only those that were seen are propagated again.
    _see(*arguments, counts, start, seen.pointing, seen.direction, seen.distance)
    return seen


@kernel
def _see(
    states: FloatArray,
    times: FloatArray,
    observers: FloatArray,
    disc_start: IndexArray,
    disc_centre: FloatArray,
    disc_chord: FloatArray,
    disc_radius: FloatArray,
    near: FloatArray,
    rate: FloatArray,
    counts: IndexArray,
    start: IndexArray,
    pointing: IndexArray,
    direction: FloatArray,
    distance: FloatArray,
) -> None:
    """Count the sightings of each object where `start` is empty; otherwise write those of objects that have any."""
    counting = start.size == 0
    state, toward = np.empty(6), np.empty(3)
    for k in range(states.shape[0]):
        if not counting and counts[k] == 0:
            continue
        seen = 0
        for j in range(times.size):
            reach = SLACK_RAD + 1.5 * rate[k] * abs(times[j])
            if not _may_meet(near[k], reach, disc_start[j], disc_start[j + 1], disc_centre, disc_radius):
                continue
            rho = _look(states[k], times[j], observers[j], state, toward)
            if not _is_inside(toward, disc_start[j], disc_start[j + 1], disc_centre, disc_chord):
                continue
            if not counting:
                pointing[start[k] + seen] = j
                direction[start[k] + seen] = toward
                distance[start[k] + seen] = rho
            seen += 1
        counts[k] = seen


@kernel
def _may_meet(near: FloatArray, reach: float, first: int, last: int, centre: FloatArray, radius: FloatArray) -> bool:
    """Tell whether a disc lies within `reach`, radians; chords are shorter than arcs, so none is missed."""
    for d in range(first, last):
        limit = reach + radius[d]
        if _squared_distance(near, centre[d]) <= limit * limit:
            return True
    return False


@kernel
def _is_inside(toward: FloatArray, first: int, last: int, centre: FloatArray, chord: FloatArray) -> bool:
    for d in range(first, last):  # noqa: SIM110 (numba has no generators)
        if _squared_distance(toward, centre[d]) <= chord[d] * chord[d]:
            return True
    return False


@kernel
def _squared_distance(a: FloatArray, b: FloatArray) -> float:
    squared: float = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    return squared


@kernel
def _look(state: FloatArray, dt: float, observer: FloatArray, seen: FloatArray, toward: FloatArray) -> float:
    """Write the state when its light left, after about dt days, and the unit vector to it; return its distance, au.

    One step of light time: the second would move it by the square of v/c.
    """
    light_time = 0.0
    distance = 0.0
    for _ in range(2):
        propagate_state(state, dt - light_time, seen)
        distance = math.sqrt(_squared_distance(seen[:3], observer))
        light_time = distance / SPEED_OF_LIGHT
    for a in range(3):
        toward[a] = (seen[a] - observer[a]) / distance
    return distance


def path_of_state(state: FloatArray, epoch_mjd_tdb: float, footprint: Footprint) -> OrbitPath:
    """Return a test orbit at each pointing, on two bodies."""
    count = len(footprint)
    states, lines, distances = np.empty((count, 6)), np.empty((count, 3)), np.empty(count)
    _path(
        np.ascontiguousarray(state),
        footprint.mjd_tdb - epoch_mjd_tdb,
        footprint.observer_position,
        states,
        lines,
        distances,
    )
    return OrbitPath(states, lines, distances, footprint.mjd_tdb - distances / SPEED_OF_LIGHT)


@kernel
def _path(
    state: FloatArray,
    times: FloatArray,
    observers: FloatArray,
    states: FloatArray,
    lines: FloatArray,
    distances: FloatArray,
) -> None:
    for j in range(times.size):
        distances[j] = _look(state, times[j], observers[j], states[j], lines[j])
