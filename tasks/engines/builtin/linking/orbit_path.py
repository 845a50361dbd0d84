"""The test orbit as the observers see it: where it was when its light left, at each exposure."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.planets import planetary_shifts
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body, propagate_two_body_partials
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.errors import EngineInputError

FloatArray = NDArray[np.float64]

_LIGHT_TIME_ITERATIONS = 4
"""Each gains a factor v/c of 1e-4: from a light time of a day to less than a nanosecond."""

_LONGEST_N_BODY_DAYS = 36_525.0
"""From the epoch of the test orbit, a century; further away it goes on on two bodies. By then even a good orbit is
wrong by more than that."""

_ROWS, _COLUMNS = np.tril_indices(6)


@dataclass(frozen=True)
class OrbitState:
    """One test orbit, heliocentric ecliptic J2000."""

    orbit_id: str
    epoch_mjd_tdb: float
    #: shape (6,): au, au/d.
    state: FloatArray
    #: shape (6, 6), or None where the orbit has no covariance.
    covariance: FloatArray | None


@dataclass(frozen=True)
class OrbitPath:
    """The test orbit at each of e exposures, light-time corrected."""

    #: shape (e, 6): heliocentric ecliptic J2000, au and au/d, at `emission_mjd_tdb`.
    states: FloatArray
    #: shape (e, 3): unit vector from the observer to it.
    line_of_sight: FloatArray
    #: shape (e,): its distance from the observer, au.
    distance: FloatArray
    #: shape (e,): MJD TDB when the light left.
    emission_mjd_tdb: FloatArray

    def at(self, exposures: NDArray[np.integer[Any]]) -> "OrbitPath":
        """Return the path at some of the exposures."""
        return OrbitPath(
            self.states[exposures],
            self.line_of_sight[exposures],
            self.distance[exposures],
            self.emission_mjd_tdb[exposures],
        )


def orbit_from_table(table: pa.Table) -> OrbitState:
    """Read the one row of `tables.TEST_ORBITS`.

    Raises
    ------
    EngineInputError
        If there is not exactly one row, or it is not an orbit about the Sun.
    """
    if len(table) != 1:
        raise EngineInputError(f"A problem has {len(table)} test orbits: expected exactly one.")
    row = table.to_pylist()[0]
    state = np.array([row[name] for name in ("x", "y", "z", "vx", "vy", "vz")], dtype=np.float64)
    spin = np.linalg.norm(np.cross(state[:3], state[3:]))
    if not (np.isfinite(state).all() and np.isfinite(row["epoch"]) and spin > 0.0):
        raise EngineInputError(
            f"Test orbit {row['orbit_id']!r} is not usable: state {state.tolist()!r}, epoch {row['epoch']!r}; expected "
            "finite numbers, a position that is not the Sun's, and a velocity that does not point along it."
        )
    triangle = row.get("covariance")
    return OrbitState(row["orbit_id"], row["epoch"], state, None if triangle is None else _symmetric(triangle))


def _symmetric(triangle: list[float]) -> FloatArray:
    matrix = np.zeros((6, 6))
    matrix[_ROWS, _COLUMNS] = triangle
    matrix[_COLUMNS, _ROWS] = triangle
    return matrix


def path_of_orbit(orbit: OrbitState, survey: PreparedSurvey) -> OrbitPath:
    """Compute the test orbit's light-time corrected state at each exposure, the planets' pull included.

    Raises
    ------
    EngineInputError
        If the orbit cannot be propagated to the survey's time.
    """
    times = survey.exposure_mjd_tdb - orbit.epoch_mjd_tdb
    perturbed, _ = _perturbations(orbit.state.tobytes(), orbit.epoch_mjd_tdb, survey.exposure_mjd_tdb.tobytes())
    light_time = np.zeros(len(times))
    states = propagate_two_body(orbit.state, times) + perturbed
    for _ in range(_LIGHT_TIME_ITERATIONS):
        light_time = np.linalg.norm(states[:, :3] - survey.observer_position, axis=1) / SPEED_OF_LIGHT
        states = propagate_two_body(orbit.state, times - light_time) + perturbed
        states[:, :3] -= perturbed[:, 3:] * light_time[:, None]
    to_object = states[:, :3] - survey.observer_position
    distance = np.linalg.norm(to_object, axis=1)
    if not np.isfinite(states).all():
        raise EngineInputError(
            f"Test orbit {orbit.orbit_id!r} cannot be propagated from MJD {orbit.epoch_mjd_tdb} to the observations, "
            f"MJD {survey.exposure_mjd_tdb[0]:.1f} to {survey.exposure_mjd_tdb[-1]:.1f}. Check its state and epoch."
        )
    return OrbitPath(states, to_object / distance[:, None], distance, survey.exposure_mjd_tdb - light_time)


def count_on_two_bodies(orbit: OrbitState, survey: PreparedSurvey) -> int:
    """Return at how many exposures the test orbit moves on two bodies: see `planets.MOST_SEGMENTS`."""
    _, followed = _perturbations(orbit.state.tobytes(), orbit.epoch_mjd_tdb, survey.exposure_mjd_tdb.tobytes())
    return int((~followed).sum())


@lru_cache(maxsize=4)
def _perturbations(state: bytes, epoch_mjd_tdb: float, times: bytes) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return what the planets add to two bodies, shape (e, 6), and where they were followed so far, shape (e,).

    Further from the epoch it goes on from there on two bodies, without a jump: any smooth path is a frame to link in.
    Kept, because the stages ask one after the other, and decades take tenths of a second.
    """
    unique, inverse = np.unique(np.frombuffer(times), return_inverse=True)
    dt = unique - epoch_mjd_tdb
    shifts = np.full((len(dt), 6), np.nan)
    near = np.abs(dt) <= _LONGEST_N_BODY_DAYS
    shifts[near] = planetary_shifts(np.frombuffer(state)[None], epoch_mjd_tdb, unique[near])[0]
    followed = np.isfinite(shifts).all(axis=1)
    for side in (dt >= 0.0, dt < 0.0):
        _carry_on(np.frombuffer(state), dt, shifts, np.flatnonzero(side & followed), np.flatnonzero(side & ~followed))
    added = shifts[inverse]
    added.flags.writeable = False
    return added, followed[inverse]


def _carry_on(
    state: FloatArray, dt: FloatArray, shifts: FloatArray, followed: NDArray[np.intp], beyond: NDArray[np.intp]
) -> None:
    """Write the shifts beyond on one side: from the last that was followed on two bodies; none, from the epoch."""
    if len(beyond) == 0:
        return
    shifts[beyond] = 0.0
    if len(followed) == 0:
        return
    last = followed[np.argmax(np.abs(dt[followed]))]
    there = propagate_two_body(state, dt[[last]])[0] + shifts[last]
    carried = propagate_two_body(there, dt[beyond] - dt[last]) - propagate_two_body(state, dt[beyond])
    # One that was thrown into the Sun goes on as if it were not.
    shifts[beyond] = np.nan_to_num(carried)


def sky_covariances(orbit: OrbitState, path: OrbitPath, east: FloatArray, north: FloatArray) -> FloatArray:
    r"""Return the covariance of the test orbit's place on the sky at each exposure, shape (e, 2, 2), radians^2.

    Parameters
    ----------
    east, north : shape (e, 3)
        Two directions on the sky, perpendicular to each other and to the path's line of sight.

    Notes
    -----
    C = J P J^T with J = [east; north] / rho . d(position) / d(state at the epoch); the light time's own change, of
    order v/c, is left out.
    """
    if orbit.covariance is None:
        raise ValueError(f"test orbit {orbit.orbit_id!r} has no covariance")
    _, transition = propagate_two_body_partials(orbit.state, path.emission_mjd_tdb - orbit.epoch_mjd_tdb)
    basis = np.stack([east, north], axis=1) / path.distance[:, None, None]
    partials = basis @ transition[:, :3, :]
    covariances: FloatArray = partials @ orbit.covariance @ partials.transpose(0, 2, 1)
    return covariances


def rotations_across(path: OrbitPath) -> FloatArray:
    """Return the rotations, shape (e, 3, 3), that take each line of sight to +x.

    +z is as near as can be to one fixed direction, the ecliptic axis that is farthest from the lines of sight: the
    frames turn with the line of sight and no more.
    """
    toward = path.line_of_sight
    axis = np.eye(3)[np.argmin(np.abs(toward).max(axis=0))]
    beside = np.cross(axis, toward)
    beside /= np.linalg.norm(beside, axis=1)[:, None]
    return np.stack([toward, beside, np.cross(toward, beside)], axis=1)


def basis_across(line_of_sight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return two unit vectors, each shape (e, 3), perpendicular to each line of sight and to one another."""
    # The axis to which the line is least parallel: never a degenerate cross product.
    axis = np.eye(3)[np.argmin(np.abs(line_of_sight), axis=1)]
    first = np.cross(axis, line_of_sight)
    first /= np.linalg.norm(first, axis=1)[:, None]
    return first, np.cross(line_of_sight, first)
