"""Which objects a test orbit would catch: those whose detections make a track that the engine's windows let through.

The windows are the engine's own: the cell's radius, the plane, and the bounds of speed and acceleration
(`builtin.linking.bounds`), together with what makes a cluster (observations, nights, arc). Every sighting counts as a
detection; noise and false detections play no part. `distance_spread` is not a window: it widens the bounds, and what is
farther from the test orbit's distance is linked as well, while its track stays within them (`DISTANCE_FACTOR`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import rotations_to_test_orbit
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.bounds import bounds_of_path, has_high_phase_angle
from tasks.engines.builtin.linking.orbit_path import OrbitPath, basis_across, rotations_across
from tasks.engines.builtin.linking.projection import project_block
from tasks.engines.orbit_selection.footprint import Footprint
from tasks.engines.orbit_selection.sightings import Sightings, path_of_state
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


DISTANCE_FACTOR = 2.5
"""An object may be this many times as far from the observer as the test orbit, or as near. Measured, on a survey of
three cameras with nine false detections of ten: of the pairs of test orbit and object within all windows the engine
links 98 % while the distances are within 1.7 of each other, 93 % up to 3; beyond, ever fewer."""


SKY_SPEED, DENSITY = 1.9, 14.0
"""Largest speed, deg / d on the sky, and detections of an exposure in a square degree, at which pairs take as much time
as everything else. Measured on the same survey: a task takes 1 s at 3 au, 4 s at 0.3 au, 16 s at 0.11 au and 27 s at
0.09 au from the Earth."""


WORK_BEFORE_FITS, SHARE_OF_FITS = 0.3, 0.5
"""Of a task that catches half of all drawn objects, three tenths of the time are spent even if it catches none."""


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


def faintest_margins(
    sightings: Sightings, margins: FloatArray, footprint: Footprint, settings: ClusterAndLinkSettings
) -> FloatArray:
    """Return the largest H with which each object still makes a cluster, shape (m,); -inf: it makes none.

    Parameters
    ----------
    margins : shape (s,)
        The H at which each sighting is at the limit.
    """
    faintest = np.empty(len(sightings.start) - 1)
    _faintest(
        sightings.start,
        sightings.pointing,
        margins,
        footprint.mjd_tdb,
        footprint.night,
        settings.min_observations,
        settings.min_nights,
        settings.min_arc_days,
        settings.max_gap_days,
        faintest,
    )
    return faintest


class Reach(NamedTuple):
    """What a test orbit would do in a survey."""

    #: shape (m,): objects that the engine would link.
    detectable: BoolArray
    #: The work of a task, in pointings: those that its cell meets; more where it links fast tracks among many.
    effort: float


def detectable(candidate: Candidate, sightings: Sightings, footprint: Footprint, settings: EngineSettings) -> BoolArray:
    """Tell which objects the engine would link with this test orbit, shape (m,); see `reach_of`."""
    return reach_of(candidate, sightings, footprint, settings).detectable


def reach_of(candidate: Candidate, sightings: Sightings, footprint: Footprint, settings: EngineSettings) -> Reach:
    """Tell which objects the engine would link with this test orbit, and how much of the survey it would work on.

    Parameters
    ----------
    sightings
        Of m objects at the pointings of `footprint`.
    settings
        Those of the job: cell radius, spreads and limits of a cluster.
    """
    found = np.zeros(len(sightings.start) - 1, dtype=np.bool_)
    path = path_of_state(candidate.state, candidate.epoch_mjd_tdb, footprint)
    met = _met(path, footprint, math.radians(settings.range_and_shift.cell_radius_deg))
    if not met.size or not np.isfinite(path.states).all():
        return Reach(found, 0.0)
    near = path.at(met)
    linking = settings.cluster_and_link
    in_reach = np.zeros(len(sightings.pointing), dtype=np.bool_)
    _reach(
        sightings.start,
        sightings.pointing,
        sightings.direction,
        sightings.distance,
        path.line_of_sight,
        path.distance,
        math.cos(math.radians(settings.range_and_shift.cell_radius_deg)),
        linking.min_observations,
        in_reach,
    )
    if not in_reach.any():
        return Reach(found, WORK_BEFORE_FITS * len(met))
    bounds = bounds_of_path(near, footprint.observer_position[met], footprint.observer_velocity[met], linking)
    _catch(
        sightings.start,
        sightings.pointing,
        _places(path, sightings, in_reach, footprint, settings, high_phase_angle=has_high_phase_angle(near)),
        footprint.mjd_tdb,
        footprint.night,
        bounds.speed,
        bounds.acceleration,
        linking.min_observations,
        linking.min_nights,
        linking.min_arc_days,
        linking.max_gap_days,
        found,
    )
    fits = WORK_BEFORE_FITS + float(found.mean()) / SHARE_OF_FITS
    return Reach(found, len(met) * (fits + _work_by_pairs(near, bounds.speed, footprint.density)))


def _work_by_pairs(near: OrbitPath, speed_deg_per_day: float, density: float) -> float:
    """Return the work of a task's linking over all that of one whose tracks are slow.

    Pairs of detections are tried within the largest speed; it is one about the Sun, on the sky r / rho times that.
    """
    nearest = float((np.linalg.norm(near.states[:, :3], axis=1) / near.distance).max())
    return density / DENSITY * (speed_deg_per_day * nearest / SKY_SPEED) ** 2


def _met(path: OrbitPath, footprint: Footprint, radius_rad: float) -> IndexArray:
    """Return the pointings that the cell meets: by these the engine bounds the tracks."""
    discs = np.repeat(np.arange(len(footprint)), np.diff(footprint.disc_start))
    chord = np.linalg.norm(path.line_of_sight[discs] - footprint.disc_centre, axis=1)
    meets = 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)) <= radius_rad + footprint.disc_radius
    return np.unique(discs[meets])


def _places(
    path: OrbitPath,
    sightings: Sightings,
    wanted: BoolArray,
    footprint: Footprint,
    settings: EngineSettings,
    *,
    high_phase_angle: bool,
) -> FloatArray:
    """Return the place of each wanted sighting in the test orbit's plane, deg, shape (s, 2); nan: not wanted, outside.

    By the engine's own kernel, to which a pointing is an exposure.
    """
    order = sightings.by_pointing[wanted[sightings.by_pointing]]
    rows, theta_deg = np.empty(len(order), np.int32), np.empty((len(order), 2))
    across = basis_across(path.line_of_sight)
    kept, _ = project_block(
        np.searchsorted(sightings.pointing[order], np.arange(len(footprint) + 1)).astype(np.int32),
        sightings.direction[order],
        np.zeros((len(order), 2)),
        footprint.observer_position,
        path.states,
        rotations_across(path) if high_phase_angle else rotations_to_test_orbit(path.states),
        path.distance,
        np.stack([path.line_of_sight, *across], axis=1),
        np.zeros((len(footprint), 2, 2)),
        math.cos(math.radians(settings.range_and_shift.cell_radius_deg)),
        high_phase_angle,
        rows,
        theta_deg,
    )
    places = np.full((len(sightings.pointing), 2), np.nan)
    places[order[rows[:kept]]] = theta_deg[:kept]
    return places


@kernel
def _reach(
    start: IndexArray,
    pointing: IndexArray,
    direction: FloatArray,
    distance: FloatArray,
    line_of_sight: FloatArray,
    path_distance: FloatArray,
    edge: float,
    min_observations: int,
    in_reach: BoolArray,
) -> None:
    """Mark the sightings in the cell of objects that have enough there, at about the test orbit's distance.

    Of the few that remain the place is computed: of what a survey has, a cell holds little.
    """
    farthest = math.log(DISTANCE_FACTOR)
    for k in range(start.size - 1):
        middle = (start[k] + start[k + 1]) // 2
        if middle == start[k + 1]:
            continue
        if abs(math.log(path_distance[pointing[middle]] / distance[middle])) > farthest:
            continue
        inside = 0
        for s in range(start[k], start[k + 1]):
            n, centre = direction[s], line_of_sight[pointing[s]]
            in_reach[s] = n[0] * centre[0] + n[1] * centre[1] + n[2] * centre[2] >= edge
            inside += in_reach[s]
        if inside < min_observations:
            in_reach[start[k] : start[k + 1]] = False


@kernel
def _faintest(
    start: IndexArray,
    pointing: IndexArray,
    margins: FloatArray,
    times: FloatArray,
    nights: IndexArray,
    min_observations: int,
    min_nights: int,
    min_arc: float,
    max_gap: float,
    faintest: FloatArray,
) -> None:
    """Halve the sorted margins: with fewer sightings an object is found no more easily."""
    for k in range(faintest.size):
        own = margins[start[k] : start[k + 1]]
        rows = pointing[start[k] : start[k + 1]]
        faintest[k] = -np.inf
        if own.size < min_observations:
            continue
        ordered = np.sort(own)
        # Sightings from `low` on, in this order, make a cluster; those from `high` on do not.
        low, high = -1, own.size - min_observations + 1
        while high - low > 1:
            middle = (low + high) // 2
            bright = rows[own >= ordered[middle]]
            if _makes_cluster(times[bright], nights[bright], min_observations, min_nights, min_arc, max_gap):
                low = middle
            else:
                high = middle
        if low >= 0:
            faintest[k] = ordered[low]


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
    near = False
    for i in range(1, t.size):
        near = near or (night[i] != night[i - 1] and t[i] - t[i - 1] <= max_gap)
    return near and _are_of_nights(night, min_nights)


@kernel
def _are_of_nights(night: IndexArray, fewest: int) -> bool:
    """Tell whether there are so many different nights: those of two observatories may take turns."""
    met = np.empty(fewest, dtype=np.int64)
    count = 0
    for i in range(night.size):
        if count == fewest:
            break
        is_new = True
        for k in range(count):
            is_new = is_new and met[k] != night[i]
        if is_new:
            met[count] = night[i]
            count += 1
    return count >= fewest


@kernel
def _catch(
    start: IndexArray,
    pointing: IndexArray,
    places: FloatArray,
    times: FloatArray,
    nights: IndexArray,
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
    for k in range(found.size):
        kept = 0
        for s in range(start[k], start[k + 1]):
            if not math.isnan(places[s, 0]):
                rows[kept], x[kept], y[kept] = pointing[s], places[s, 0], places[s, 1]
                kept += 1
        t = times[rows[:kept]]
        if _makes_cluster(t, nights[rows[:kept]], min_observations, min_nights, min_arc, max_gap):
            found[k] = _is_within(t, x[:kept], y[:kept], max_speed, max_acceleration)


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
