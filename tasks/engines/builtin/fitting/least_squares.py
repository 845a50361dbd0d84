"""Differential correction of orbits by Levenberg-Marquardt, with rejection of detections that do not belong.

Sources: Press et al. 2007, Numerical Recipes (3rd ed.), section 15.5 (Levenberg-Marquardt); Milani & Gronchi 2010,
Theory of Orbit Determination, chapters 5-6; Carpino et al. 2003, Icarus 166, 248 (rejection and recovery by the
residual that a detection would have in the fit without it).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.fitting.astrometry import (
    OBSERVER,
    TIME,
    TOWARD,
    predicted_place,
    residual_and_partials,
)
from tasks.engines.builtin.fitting.fitted_orbits import AddedMotion, FitLimits, FittedOrbits, no_added_motion
from tasks.engines.builtin.fitting.normal_equations import accumulate, copy_values, factorize, invert, solve
from tasks.engines.builtin.fitting.velocity_prior import add_prior, prior_chi2
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Shifts = tuple[FloatArray, FloatArray, FloatArray]
"""Of one orbit: values (m, 3), slopes (m, 3, 6) or (0, 3, 6), and the origin (6,), as in `AddedMotion`."""

CLOSEST_TO_SUN, FARTHEST_FROM_SUN = 0.01, 1000.0
"""Heliocentric distances, au, between which a fit may wander. One that ends there has found no minimum, and says so."""

FASTEST, FASTEST_EXCESS = 2.0, 0.045
"""Escape velocities, or hyperbolic excess velocity (au/d) within `NEAR`, that a fit may reach on its way: a detection
that is grossly out would lead it anywhere. 3I/ATLAS, the fastest known, has an excess of 0.034 au/d."""

NEAR = 10.0
"""Beyond this distance, au, no interstellar object has been bright enough to be seen."""

FITS_OF_ONE_ORBIT = 4
"""An orbit with its rejections may take this many times the steps of one fit: the budget of an orbit."""

CONVERGED = 1e-6
"""A step that would lower chi^2 by less is not taken: the orbit is within a thousandth of its sigmas."""


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
        partials = np.empty((b - a, 2, 6))
        chi2[k], iterations[k], converged[k] = _fit_with_rejection(
            rows[a:b],
            (shifts.values[a:b], shifts.slopes[a:b], shifts.origins[k]),
            limits,
            epochs[k],
            states[k],
            normal,
            residuals[a:b],
            partials,
            used[a:b],
            light_time[a:b],
        )
        invert(normal, covariances[k])


@kernel
def _fit_with_rejection(
    rows: FloatArray,
    shifts: Shifts,
    limits: tuple[int, FloatArray, float, float, int],
    epoch: float,
    state: FloatArray,
    normal: FloatArray,
    residuals: FloatArray,
    partials: FloatArray,
    used: BoolArray,
    light_time: FloatArray,
) -> tuple[float, int, bool]:
    """Fit; while the fit is bad or a detection does not belong, leave out the worst and fit again.

    A rejected detection that fits the others after all is taken back: the first to go is not always the guilty one.
    """
    max_iterations, largest_chi2, outlier_chi2, max_fraction, min_observations = limits
    m = rows.shape[0]
    fewest = max(min_observations, m - int(max_fraction * m))
    _first_light_times(rows, shifts[0], epoch, state, light_time)
    chi2, iterations, converged = _fit(
        rows, shifts, max_iterations, epoch, state, normal, residuals, partials, used, light_time
    )
    # Each round leaves one out or takes one back; 2 m rounds are never needed but end a cycle of the two.
    for _ in range(2 * m):
        if not math.isfinite(chi2) or iterations > FITS_OF_ONE_ORBIT * max_iterations:
            break
        count = 0
        for i in range(m):
            count += used[i]
        bad_fit = chi2 > largest_chi2[count]
        worst, worst_chi2, best, best_chi2 = _extreme_detections(normal, residuals, partials, used)
        if worst >= 0 and count > fewest and (bad_fit or worst_chi2 > outlier_chi2):
            used[worst] = False
        elif best >= 0 and not bad_fit and best_chi2 < 0.8 * outlier_chi2:
            used[best] = True
        else:
            break
        chi2, more, converged = _fit(
            rows, shifts, max_iterations, epoch, state, normal, residuals, partials, used, light_time
        )
        iterations += more
    return chi2, iterations, converged


@kernel
def _first_light_times(
    rows: FloatArray, shifts: FloatArray, epoch: float, state: FloatArray, light_time: FloatArray
) -> None:
    """Write the light times of the starting orbit: partials taken at another time would falsify a weak direction."""
    place = np.empty(3)
    delay = 0.0
    for i in range(rows.shape[0]):
        observer = rows[i, OBSERVER:TOWARD]
        delay = predicted_place(state, rows[i, TIME] - epoch, observer, shifts[i], delay, place)
        light_time[i] = delay


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


@kernel
def _fit(
    rows: FloatArray,
    shifts: Shifts,
    max_iterations: int,
    epoch: float,
    state: FloatArray,
    normal: FloatArray,
    residuals: FloatArray,
    partials: FloatArray,
    used: BoolArray,
    light_time: FloatArray,
) -> tuple[float, int, bool]:
    """Correct the state in place; return chi^2, steps tried, and whether the minimum was reached.

    The minimum is that of the detections' chi^2 with the prior's (`velocity_prior`); returned is the detections' alone.

    Gauss-Newton steps as long as they help: the weakest direction of a short arc is 1e5 times weaker than the
    strongest, and any damping at the start would freeze it. Damping sets in when a step fails.
    """
    gradient, step, trial, scale = np.empty(6), np.empty(6), np.empty(6), np.empty(6)
    lower = np.zeros((6, 6))
    chi2 = evaluate(rows, shifts, epoch, state, residuals, partials, used, light_time)
    if not math.isfinite(chi2):
        normal[:] = 0.0
        return math.inf, 0, False
    total = chi2 + prior_chi2(state)
    accumulate(residuals, partials, used, normal, gradient)
    add_prior(state, normal, gradient)
    trial_residuals, trial_partials = residuals.copy(), partials.copy()
    trial_light_time = light_time.copy()
    damping = 0.0
    for iteration in range(max_iterations):
        solved = factorize(normal, damping, lower, scale)
        if solved:
            solve(lower, scale, gradient, step)
            gain = 0.0
            for k in range(6):
                gain += step[k] * gradient[k]
                trial[k] = state[k] + step[k]
            if gain < CONVERGED and damping < 1e-6:
                return chi2, iteration, True
            copy_values(light_time, trial_light_time)
            trial_chi2, trial_total = math.inf, math.inf
            if is_plausible(trial):
                trial_chi2 = evaluate(
                    rows, shifts, epoch, trial, trial_residuals, trial_partials, used, trial_light_time
                )
                trial_total = trial_chi2 + prior_chi2(trial)
            if trial_total < total:
                chi2, total = trial_chi2, trial_total
                copy_values(trial, state)
                copy_values(trial_light_time, light_time)
                _copy_fit(trial_residuals, trial_partials, residuals, partials)
                accumulate(residuals, partials, used, normal, gradient)
                add_prior(state, normal, gradient)
                damping = damping / 30.0 if damping > 1e-9 else 0.0
                continue
            if gain < 1e-9 * total + CONVERGED:
                return chi2, iteration, True
        damping = max(30.0 * damping, 1e-9)
        if damping > 1e6:
            return chi2, iteration, False
    return chi2, max_iterations, False


@kernel
def _copy_fit(residuals: FloatArray, partials: FloatArray, to_residuals: FloatArray, to_partials: FloatArray) -> None:
    for i in range(residuals.shape[0]):
        for axis in range(2):
            to_residuals[i, axis] = residuals[i, axis]
            for k in range(6):
                to_partials[i, axis, k] = partials[i, axis, k]


@kernel
def evaluate(
    rows: FloatArray,
    shifts: Shifts,
    epoch: float,
    state: FloatArray,
    residuals: FloatArray,
    partials: FloatArray,
    used: BoolArray,
    light_time: FloatArray,
) -> float:
    """Write residuals and partials of all detections, return chi^2 of those in use (inf: cannot be predicted)."""
    values, slopes, origin = shifts
    shift, slope = np.empty(3), np.empty((0, 6))
    chi2 = 0.0
    for i in range(rows.shape[0]):
        copy_values(values[i], shift)
        if slopes.shape[0] > 0:
            slope = slopes[i]
            for axis in range(3):
                for k in range(6):
                    shift[axis] += slope[axis, k] * (state[k] - origin[k])
        light_time[i] = residual_and_partials(
            state, epoch, rows[i], shift, slope, light_time[i], residuals[i], partials[i]
        )
        if not math.isfinite(light_time[i]):
            return math.inf
        if used[i]:
            chi2 += residuals[i, 0] ** 2 + residuals[i, 1] ** 2
    return chi2 if math.isfinite(chi2) else math.inf


@kernel
def is_plausible(state: FloatArray) -> bool:
    """Return whether the state is inside the Solar System, and not so fast that the fit has lost its way."""
    r = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
    if not CLOSEST_TO_SUN < r < FARTHEST_FROM_SUN:
        return False
    excess = state[3] ** 2 + state[4] ** 2 + state[5] ** 2 - 2.0 * MU_SUN / r
    return bool(prior_chi2(state) < FASTEST**2 or (r < NEAR and excess < FASTEST_EXCESS**2))
