"""Fits of many orbits by differential correction, with rejection of detections that do not belong.

Source: Carpino et al. 2003, Icarus 166, 248 (rejection and recovery by the residual that a detection would have in the
fit without it).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import OBSERVER, TIME, TOWARD, predicted_place
from tasks.engines.builtin.fitting.differential_correction import (
    Arc,
    Point,
    correct,
    evaluate,
    new_equations,
    point_at,
    promised_gain,
    set_up,
)
from tasks.engines.builtin.fitting.fitted_orbits import AddedMotion, FitLimits, FittedOrbits, no_added_motion
from tasks.engines.builtin.fitting.normal_equations import factorize, invert, solve
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

GROSSLY_OUT = 100.0
"""A detection is grossly out whose chi^2 against the others is this multiple of all of theirs: no orbit will do for
both, and a fit that tries would wander off to where the others no longer tell which of them is wrong."""

FITS_OF_ONE_ORBIT = 4
"""An orbit with its rejections may take this many times the steps of one fit: the budget of an orbit."""


def fit_orbits(
    rows: FloatArray,
    first: IntArray,
    states: FloatArray,
    epochs: FloatArray,
    limits: FitLimits,
    shifts: AddedMotion | None = None,
    used: BoolArray | None = None,
) -> FittedOrbits:
    """Fit c orbits, each to its own detections.

    Parameters
    ----------
    rows : shape (m, 15)
        Astrometry, see `astrometry_rows`.
    first : shape (c + 1,)
        Detections of orbit k are rows `first[k]:first[k + 1]`.
    states, epochs : shapes (c, 6) and (c,)
        Where the fits start.
    shifts
        Added to the 2-body positions; None: nothing.
    used : shape (m,)
        Detections in use at the start; None: all.
    """
    c, m = len(states), len(rows)
    result = FittedOrbits(
        epoch=np.array(epochs, dtype=np.float64),
        state=np.array(states, dtype=np.float64),
        covariance=np.empty((c, 6, 6)),
        chi2=np.empty(c),
        iterations=np.zeros(c, np.int64),
        converged=np.zeros(c, np.bool_),
        residuals=np.empty((m, 2)),
        used=np.ones(m, np.bool_) if used is None else used.copy(),
        light_time=np.empty(m),
    )
    _fit_each(
        rows,
        np.ascontiguousarray(first, dtype=np.int64),
        no_added_motion(c, m) if shifts is None else shifts,
        (
            limits.max_iterations,
            limits.largest_chi2(int(np.diff(first).max(initial=0))),
            limits.outlier_chi2,
            limits.max_outlier_fraction,
            limits.min_observations,
        ),
        result.epoch,
        result.state,
        result.covariance,
        result.chi2,
        result.iterations,
        result.converged,
        result.residuals,
        result.used,
        result.light_time,
    )
    return result


@kernel
def _fit_each(
    rows: FloatArray,
    first: IntArray,
    shifts: AddedMotion,
    limits: tuple[int, FloatArray, float, float, int],
    epochs: FloatArray,
    states: FloatArray,
    covariances: FloatArray,
    chi2: FloatArray,
    iterations: IntArray,
    converged: BoolArray,
    residuals: FloatArray,
    used: BoolArray,
    light_time: FloatArray,
) -> None:
    normal = np.empty((6, 6))
    for k in range(states.shape[0]):
        a, b = first[k], first[k + 1]
        arc = Arc(rows[a:b], shifts.values[a:b], shifts.slopes[a:b], shifts.origins[k], epochs[k], used[a:b])
        point = Point(states[k], residuals[a:b], np.empty((b - a, 2, 6)), light_time[a:b])
        chi2[k], iterations[k], converged[k] = _fit_with_rejection(arc, point, normal, limits)
        invert(normal, covariances[k])


@kernel
def _fit_with_rejection(
    arc: Arc, point: Point, normal: FloatArray, limits: tuple[int, FloatArray, float, float, int]
) -> tuple[float, int, bool]:
    """Fit; while the fit is bad or a detection does not belong, leave out the worst and fit again.

    A rejected detection that fits the others after all is taken back: the first to go is not always the guilty one.
    """
    max_iterations, largest_chi2, outlier_chi2, max_fraction, min_observations = limits
    m = arc.rows.shape[0]
    fewest = max(min_observations, m - int(max_fraction * m))
    _first_light_times(arc, point)
    _reject_grossly_out(arc, point, normal, largest_chi2, fewest)
    chi2, iterations, converged = correct(arc, point, normal, max_iterations)
    # Each round leaves one out or takes one back; 2 m rounds are never needed but end a cycle of the two.
    for _ in range(2 * m):
        if not math.isfinite(chi2) or iterations > FITS_OF_ONE_ORBIT * max_iterations:
            break
        count = arc.used.sum()
        bad_fit = chi2 > largest_chi2[count]
        worst, worst_chi2, best, best_chi2 = _extreme_detections(normal, point.residuals, point.partials, arc.used)
        if worst >= 0 and count > fewest and (bad_fit or worst_chi2 > outlier_chi2):
            arc.used[worst] = False
        elif best >= 0 and not bad_fit and best_chi2 < 0.8 * outlier_chi2:
            arc.used[best] = True
        else:
            break
        chi2, more, converged = correct(arc, point, normal, max_iterations)
        iterations += more
    return chi2, iterations, converged


@kernel
def _first_light_times(arc: Arc, point: Point) -> None:
    """Write the light times of the starting orbit: partials taken at another time would falsify a weak direction."""
    place = np.empty(3)
    delay = 0.0
    for i in range(arc.rows.shape[0]):
        observer = arc.rows[i, OBSERVER:TOWARD]
        delay = predicted_place(point.state, arc.rows[i, TIME] - arc.epoch, observer, arc.values[i], delay, place)
        point.light_time[i] = delay


@kernel
def _reject_grossly_out(arc: Arc, start: Point, normal: FloatArray, largest_chi2: FloatArray, fewest: int) -> None:
    """Leave out, before the fit, what the linear fit about its start says is grossly out; the state stays."""
    count = arc.used.sum()
    if count <= fewest:
        return
    equations = new_equations(normal)
    begun = point_at(start.state, start.light_time.copy())
    if not math.isfinite(evaluate(arc, begun)):
        return
    left = np.empty_like(begun.residuals)
    while count > fewest:
        set_up(arc, begun, equations)
        if not math.isfinite(promised_gain(equations, 0.0)):
            return
        chi2 = _residuals_after(begun, equations.step, arc.used, left)
        worst, worst_chi2, _, _ = _extreme_detections(normal, left, begun.partials, arc.used)
        if worst < 0 or worst_chi2 < GROSSLY_OUT * max(chi2 - worst_chi2, largest_chi2[count - 1]):
            return
        arc.used[worst] = False
        count -= 1


@kernel
def _residuals_after(point: Point, step: FloatArray, used: BoolArray, left: FloatArray) -> float:
    """Write the residuals (m, 2) that a step would leave if all were linear; return chi^2 of those in use."""
    chi2 = 0.0
    for i in range(left.shape[0]):
        for axis in range(2):
            left[i, axis] = point.residuals[i, axis]
            for k in range(6):
                left[i, axis] -= point.partials[i, axis, k] * step[k]
            if used[i]:
                chi2 += left[i, axis] ** 2
    return chi2


@kernel
def _extreme_detections(
    normal: FloatArray, residuals: FloatArray, partials: FloatArray, used: BoolArray
) -> tuple[int, float, int, float]:
    """Find the used detection that fits worst and the rejected one that fits best, each against the fit without it.

    For a detection in use, r^T (I - H)^-1 r with H = J C J^T is by how much chi^2 falls when it is left out; for a
    rejected one, r^T (I + H)^-1 r by how much it grows when taken back (Carpino et al. 2003, eq. 7-8). Returns both
    indices (-1: none) and both chi^2.
    """
    lower = np.zeros((6, 6))
    scale = np.empty(6)
    if not factorize(normal, 0.0, lower, scale):
        return -1, 0.0, -1, 0.0
    worst, best = -1, -1
    worst_chi2, best_chi2 = 0.0, math.inf
    x, y = np.empty(6), np.empty(6)
    for i in range(residuals.shape[0]):
        solve(lower, scale, partials[i, 0], x)
        solve(lower, scale, partials[i, 1], y)
        sign = -1.0 if used[i] else 1.0
        exx, exy, eyy = 1.0, 0.0, 1.0
        for k in range(6):
            exx += sign * partials[i, 0, k] * x[k]
            exy += sign * partials[i, 1, k] * x[k]
            eyy += sign * partials[i, 1, k] * y[k]
        # A detection that alone determines a direction of the orbit has H = I: what it says cannot be checked.
        determinant = max(exx * eyy - exy * exy, 1e-6)
        east, north = residuals[i, 0], residuals[i, 1]
        chi2 = (eyy * east * east - 2.0 * exy * east * north + exx * north * north) / determinant
        if used[i] and chi2 > worst_chi2:
            worst, worst_chi2 = i, chi2
        if not used[i] and chi2 < best_chi2:
            best, best_chi2 = i, chi2
    return worst, worst_chi2, best, best_chi2
