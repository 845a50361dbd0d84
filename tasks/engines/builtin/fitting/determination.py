"""Orbits with the full force model: two-body fits with n-body shifts, computed anew where a fit has moved its orbit."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.n_body import TWO_BODY, description, force_model_named
from tasks.engines.builtin.fitting.astrometry import TIME, WEIGHT_EAST, light_times
from tasks.engines.builtin.fitting.curved_covariance import with_curved_covariances
from tasks.engines.builtin.fitting.fitted_orbits import FitLimits, FittedOrbits, with_replaced
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tasks.engines.builtin.fitting.members import members_of
from tasks.engines.builtin.fitting.n_body_shifts import Shifts, n_body_shifts
from tasks.engines.settings import OrbitDeterminationSettings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NEGLIGIBLE_SIGMAS = 0.02
"""A change of the shifts by less than this many sigmas of a detection does not ask for another pass."""


@dataclass(frozen=True)
class FitStart:
    """Where c fits start."""

    #: shapes (c, 6) and (c,)
    states: FloatArray
    epochs: FloatArray
    #: shape (m,): detections in use; None: all.
    used: BoolArray | None = None
    #: shape (c,): span of the shifts beyond the arcs, MJD TDB; None: the arcs.
    low: FloatArray | None = None
    high: FloatArray | None = None
    #: Shifts that are there already; None: none.
    shifts: Shifts | None = None
    #: Whether a fit beside a planet knows how the shifts change with the orbit.
    with_slopes: bool = True


@dataclass(frozen=True)
class DeterminedOrbits:
    """Fits with the force model that made each."""

    fitted: FittedOrbits
    #: n-body minus 2-body positions, over the spans that were asked for.
    shifts: Shifts
    #: shape (c, 7): state and chi^2 of the best other minimum that is known, see `other_minima`; nan: none.
    rivals: FloatArray

    def only(self, orbits: IntArray, members: IntArray) -> "DeterminedOrbits":
        """Return some orbits with their detections, given by their rows."""
        return DeterminedOrbits(self.fitted.only(orbits, members), self.shifts.of(orbits), self.rivals[orbits])

    def joined(self, other: "DeterminedOrbits") -> "DeterminedOrbits":
        """Return these orbits, then the others."""
        rivals = np.concatenate([self.rivals, other.rivals])
        return DeterminedOrbits(self.fitted.joined(other.fitted), self.shifts.joined(other.shifts), rivals)

    def force_models(self, settings: OrbitDeterminationSettings) -> list[str]:
        """Describe each orbit's force model."""
        model = description(force_model_named(settings.force_model))
        return [model if each else TWO_BODY for each in self.shifts.is_n_body]


def no_rivals(count: int) -> FloatArray:
    """Return those of orbits of which no other minimum is known."""
    return np.full((count, 7), np.nan)


def with_honest_covariances(rows: FloatArray, first: IntArray, determined: DeterminedOrbits) -> DeterminedOrbits:
    """Return the orbits with covariances that follow the bend of short arcs, see `curved_covariance`.

    One that ended on a limit of the fit, not in a minimum, has none: what is allowed beyond is not known.
    """
    fitted = determined.fitted
    owner = np.repeat(np.arange(len(fitted.state)), np.diff(first))
    shifts = determined.shifts.at(owner, rows[:, TIME] - fitted.light_time)
    known = fitted.with_covariance(np.where(fitted.converged[:, None, None], fitted.covariance, np.nan))
    return replace(determined, fitted=with_curved_covariances(rows, first, known, shifts))


def determination_limits(settings: OrbitDeterminationSettings, min_observations: int) -> FitLimits:
    """Collect the limits of the fits, and of the gate, from the settings."""
    return FitLimits(
        max_iterations=settings.max_iterations,
        max_reduced_chi2=settings.max_reduced_chi2,
        min_probability=settings.min_probability,
        outlier_chi2=settings.outlier_chi2,
        max_outlier_fraction=settings.max_outlier_fraction,
        min_observations=min_observations,
    )


def determine_orbits(
    rows: FloatArray,
    first: IntArray,
    start: FitStart,
    settings: OrbitDeterminationSettings,
    *,
    min_observations: int,
) -> DeterminedOrbits:
    """Fit c orbits, each to its own detections, with the force model of the settings.

    Gauss-Newton with n-body residuals and 2-body partials. Where a fit moves its orbit so far that the shifts it was
    made with are no longer right, shifts and fit are made anew.

    Parameters
    ----------
    rows : shape (m, 15)
        Astrometry, see `astrometry_rows`.
    first : shape (c + 1,)
        Detections of orbit k are rows `first[k]:first[k + 1]`.
    """
    limits = determination_limits(settings, min_observations)
    shifts = start.shifts if start.shifts is not None else _shifts(rows, first, start, settings)
    owner = np.repeat(np.arange(len(start.states)), np.diff(first))
    emission = rows[:, TIME] - light_times(rows, first, start.states, start.epochs)
    fitted = fit_orbits(rows, first, start.states, start.epochs, limits, shifts.at(owner, emission), start.used)
    for _ in range(settings.max_n_body_passes - 1):
        moving = np.flatnonzero(_still_moving(rows, first, fitted, shifts))
        if len(moving) == 0:
            break
        members, own_first = members_of(first, moving)
        again = FitStart(
            fitted.state[moving], fitted.epoch[moving], fitted.used[members], shifts.low[moving], shifts.high[moving]
        )
        own_shifts = _shifts(rows[members], own_first, again, settings)
        shifts = shifts.with_replaced(moving, own_shifts)
        emission = rows[members, TIME] - fitted.light_time[members]
        at_members = own_shifts.at(np.repeat(np.arange(len(moving)), np.diff(own_first)), emission)
        part = fit_orbits(rows[members], own_first, again.states, again.epochs, limits, at_members, again.used)
        fitted = with_replaced(fitted, part, moving, members)
    return DeterminedOrbits(fitted, shifts, no_rivals(len(fitted.state)))


def _shifts(rows: FloatArray, first: IntArray, start: FitStart, settings: OrbitDeterminationSettings) -> Shifts:
    """Compute the shifts over the spans that are asked for, and at least over the arcs."""
    low = np.minimum.reduceat(rows[:, TIME], first[:-1])
    high = np.maximum.reduceat(rows[:, TIME], first[:-1])
    if start.low is not None and start.high is not None:
        low, high = np.minimum(low, start.low), np.maximum(high, start.high)
    # Light left earlier than it came: by a day at 170 au.
    distance = np.linalg.norm(start.states[:, :3], axis=1) + 2.0
    low = low - distance / SPEED_OF_LIGHT
    model = force_model_named(settings.force_model)
    times, slopes = settings.n_body_times, start.with_slopes
    return n_body_shifts(start.states, start.epochs, low, high, model, times, with_slopes=slopes)


def _still_moving(rows: FloatArray, first: IntArray, fitted: FittedOrbits, shifts: Shifts) -> BoolArray:
    """Return which orbits moved so far that their shifts would change by more than `NEGLIGIBLE_SIGMAS`.

    A shift is a tide: moving the orbit by d changes it by about d over the distance to what raises it. That is taken
    as 1 au, or the distance from the observer where it is less, and twice as much for safety. Where a planet is near,
    the slopes say it.
    """
    starts = first[:-1]
    step = fitted.state - shifts.origins
    span = np.maximum.reduceat(np.abs(rows[:, TIME] - np.repeat(fitted.epoch, np.diff(first))), starts)
    moved = np.linalg.norm(step[:, :3], axis=1) + span * np.linalg.norm(step[:, 3:], axis=1)
    closest = np.minimum.reduceat(fitted.light_time, starts) * SPEED_OF_LIGHT
    largest = np.linalg.norm(shifts.values, axis=2).max(axis=1)
    weight = np.maximum.reduceat(rows[:, WEIGHT_EAST], starts)
    change = 2.0 * largest * moved / np.minimum(closest, 1.0)
    steep = np.flatnonzero(shifts.slopes.row >= 0)
    by_slopes = np.einsum("stak,sk->sta", shifts.slopes.values[shifts.slopes.row[steep]], step[steep])
    change[steep] = np.maximum(change[steep], np.linalg.norm(by_slopes, axis=2).max(axis=1))
    moving: BoolArray = (change / closest * weight > NEGLIGIBLE_SIGMAS) & np.isfinite(fitted.chi2)
    return moving
