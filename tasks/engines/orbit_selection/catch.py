"""Which objects a test orbit would catch: those whose detections make a track that the engine's windows let through.

The windows are the engine's own: the cell's radius, `distance_spread` about the test orbit's distance, the plane, and
the bounds of speed and acceleration (`builtin.linking.bounds`), together with what makes a cluster (observations,
nights, arc). Every sighting counts as a detection. Noise and false detections play no part; among few of them the
engine links objects from beyond its `distance_spread`, too, which is not counted on here.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import DEG_PER_RAD, rotations_to_test_orbit
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.bounds import TrackBounds, bounds_of_path
from tasks.engines.builtin.linking.orbit_path import OrbitPath
from tasks.engines.orbit_selection.footprint import Footprint
from tasks.engines.orbit_selection.sightings import Sightings, path_of_state
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate:
    """A state that could be a test orbit, heliocentric ecliptic J2000."""

    #: shape (6,): au, au/d.
    state: FloatArray
    epoch_mjd_tdb: float


def could_find(footprint: Footprint, settings: ClusterAndLinkSettings) -> bool:
    """Tell whether an object that is in every pointing would make a cluster."""
    return bool(
        _makes_cluster(
            footprint.mjd_tdb,
            footprint.night,
            settings.min_observations,
            settings.min_nights,
            settings.min_arc_days,
            settings.max_gap_days,
        )
    )


def findable(sightings: Sightings, footprint: Footprint, settings: ClusterAndLinkSettings) -> BoolArray:
    """Tell which objects are seen often enough to make a cluster, shape (m,)."""
    found = np.zeros(len(sightings.start) - 1, dtype=np.bool_)
    _often_enough(
        sightings.start,
        sightings.pointing,
        footprint.mjd_tdb,
        footprint.night,
        settings.min_observations,
        settings.min_nights,
        settings.min_arc_days,
        settings.max_gap_days,
        found,
    )
    return found


def caught(candidate: Candidate, sightings: Sightings, footprint: Footprint, settings: EngineSettings) -> BoolArray:
    """Tell which objects the engine would link with this test orbit, shape (m,).

    Parameters
    ----------
    sightings
        Of m objects at the pointings of `footprint`.
    settings
        Those of the job: cell radius, spreads and limits of a cluster.
    """
    found = np.zeros(len(sightings.start) - 1, dtype=np.bool_)
    states, lines, distances = path_of_state(candidate.state, candidate.epoch_mjd_tdb, footprint)
    radius = math.radians(settings.range_and_shift.cell_radius_deg)
    bounds = _bounds(OrbitPath(states, lines, distances, footprint.mjd_tdb), footprint, radius, settings)
    if bounds is None or not np.isfinite(states).all():
        return found
    linking = settings.cluster_and_link
    _catch(
        sightings.start,
        sightings.pointing,
        sightings.direction,
        sightings.distance,
        footprint.mjd_tdb,
        footprint.night,
        footprint.observer_position,
        states,
        lines,
        distances,
        rotations_to_test_orbit(states),
        math.cos(radius),
        linking.distance_spread,
        bounds.speed,
        bounds.acceleration,
        linking.min_observations,
        linking.min_nights,
        linking.min_arc_days,
        linking.max_gap_days,
        found,
    )
    return found


def _bounds(path: OrbitPath, footprint: Footprint, radius_rad: float, settings: EngineSettings) -> TrackBounds | None:
    """Bound the tracks as the engine does: by the pointings that the cell meets; None: it meets none."""
    discs = np.repeat(np.arange(len(footprint)), np.diff(footprint.disc_start))
    chord = np.linalg.norm(path.line_of_sight[discs] - footprint.disc_centre, axis=1)
    meets = 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)) <= radius_rad + footprint.disc_radius
    met = np.unique(discs[meets])
    if not met.size:
        return None
    return bounds_of_path(
        path.at(met), footprint.observer_position[met], footprint.observer_velocity[met], settings.cluster_and_link
    )


@kernel
def _often_enough(
    start: IndexArray,
    pointing: IndexArray,
    times: FloatArray,
    nights: IndexArray,
    min_observations: int,
    min_nights: int,
    min_arc: float,
    max_gap: float,
    found: BoolArray,
) -> None:
    for k in range(found.size):
        rows = pointing[start[k] : start[k + 1]]
        found[k] = _makes_cluster(times[rows], nights[rows], min_observations, min_nights, min_arc, max_gap)


@kernel
def _makes_cluster(
    t: FloatArray, night: IndexArray, min_observations: int, min_nights: int, min_arc: float, max_gap: float
) -> bool:
    """Tell whether detections at these ascending times are a cluster, two of neighbouring nights near each other."""
    if t.size < min_observations or t[-1] - t[0] < min_arc:
        return False
    n_nights = 1
    near = False
    for i in range(1, t.size):
        if night[i] != night[i - 1]:
            n_nights += 1
            near = near or t[i] - t[i - 1] <= max_gap
    return n_nights >= min_nights and near


@kernel
def _catch(
    start: IndexArray,
    pointing: IndexArray,
    direction: FloatArray,
    object_distance: FloatArray,
    times: FloatArray,
    nights: IndexArray,
    observers: FloatArray,
    states: FloatArray,
    lines: FloatArray,
    distances: FloatArray,
    rotations: FloatArray,
    cell_edge: float,
    distance_spread: float,
    max_speed: float,
    max_acceleration: float,
    min_observations: int,
    min_nights: int,
    min_arc: float,
    max_gap: float,
    found: BoolArray,
) -> None:
    longest = 0
    for k in range(found.size):
        longest = max(longest, start[k + 1] - start[k])
    rows = np.empty(longest, dtype=np.int64)
    x, y = np.empty(longest), np.empty(longest)
    place = np.empty(2)
    for k in range(found.size):
        middle = (start[k] + start[k + 1]) // 2
        if middle == start[k + 1]:
            continue
        # The kappa of `builtin.linking.bounds`, in mid-arc.
        if abs(distances[pointing[middle]] / object_distance[middle] - 1.0) > distance_spread:
            continue
        kept = 0
        for s in range(start[k], start[k + 1]):
            j = pointing[s]
            if _dot(direction[s], lines[j]) >= cell_edge and _project(
                direction[s], observers[j], states[j], lines[j], distances[j], rotations[j], place
            ):
                rows[kept], x[kept], y[kept] = j, place[0], place[1]
                kept += 1
        t = times[rows[:kept]]
        if _makes_cluster(t, nights[rows[:kept]], min_observations, min_nights, min_arc, max_gap):
            found[k] = _is_within(t, x[:kept], y[:kept], max_speed, max_acceleration)


@kernel
def _dot(a: FloatArray, b: FloatArray) -> float:
    product: float = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


@kernel
def _project(
    n: FloatArray,
    q: FloatArray,
    state: FloatArray,
    line: FloatArray,
    distance: float,
    rotation: FloatArray,
    place: FloatArray,
) -> bool:
    """Write the place in the test orbit's plane, deg; the range is that of `builtin.linking.projection`."""
    r_squared, q_squared, q_n = _dot(state, state), _dot(q, q), _dot(q, n)
    side = 1.0 if r_squared >= q_squared or distance + _dot(q, line) >= 0.0 else -1.0
    radicand = q_n * q_n + r_squared - q_squared
    rho = -q_n + side * math.sqrt(radicand) if radicand >= 0.0 else -1.0
    x, y, z = q[0] + rho * n[0], q[1] + rho * n[1], q[2] + rho * n[2]
    ahead = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
    if rho <= 0.0 or ahead <= 0.0:
        return False
    place[0] = (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) / ahead * DEG_PER_RAD
    place[1] = (rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z) / ahead * DEG_PER_RAD
    return True


@kernel
def _is_within(t: FloatArray, x: FloatArray, y: FloatArray, max_speed: float, max_acceleration: float) -> bool:
    """Compare the parabola through a track, its speed in mid-arc and its acceleration, with the largest allowed.

    Least squares in polynomials that are orthogonal on the times themselves (Forsythe 1957, J. SIAM 5, 74).
    """
    middle = t.mean()
    p1 = t - middle
    squares = (p1 * p1).sum()
    shift = (p1 * p1 * p1).sum() / squares
    p2 = p1 * p1 - shift * p1 - squares / t.size
    curved = (p2 * p2).sum()
    ax = (p2 * x).sum() / curved if curved > 0.0 else 0.0
    ay = (p2 * y).sum() / curved if curved > 0.0 else 0.0
    vx = (p1 * x).sum() / squares - ax * shift
    vy = (p1 * y).sum() / squares - ay * shift
    return math.hypot(vx, vy) <= max_speed and 2.0 * math.hypot(ax, ay) <= max_acceleration
