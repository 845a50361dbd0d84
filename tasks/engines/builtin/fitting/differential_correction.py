"""Differential correction of one orbit to its detections: from a start to the next minimum of chi^2.

Sources: Press et al. 2007, Numerical Recipes (3rd ed.), section 15.5 (Levenberg-Marquardt); Milani & Gronchi 2010,
Theory of Orbit Determination, chapters 5-6.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import OBSERVER, TOWARD, residual_and_partials
from tasks.engines.builtin.fitting.normal_equations import accumulate, copy_values, factorize, solve
from tasks.engines.builtin.fitting.velocity_prior import add_prior, prior_chi2
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CLOSEST_TO_SUN, FARTHEST_FROM_SUN = 0.01, 1000.0
"""Heliocentric distances, au, between which a fit may wander. One that ends there has found no minimum, and says so."""

CONVERGED = 1e-6
"""A step that would lower chi^2 by less is not taken: the orbit is within a thousandth of its sigmas."""

MOST_DAMPING = 1e6
"""Where a step fails that is damped more than this, none helps."""

ROUNDING = 1e-9
"""Share of chi^2 within which it is not known."""

MOST_STEPS_UPHILL = 4
"""Steps without damping after which chi^2 must be less than where they began: one along a bent valley ends beside it,
and the next leads back to its floor. Of 13 starts at 0.8 to 148 au, 2 of 13, 9 and all ended in the minimum of a short
arc with none, 2 and 4."""

NEARLY_CONVERGED = 1e-3
"""Where no step helps any more, rounding or the last bit of a bent valley is in the way, and the orbit is within a
thirtieth of its sigmas: a minimum. If the full step promises more than this, something else is in the way: a limit."""


class Arc(NamedTuple):
    """The detections of one orbit, and what the other bodies do to it."""

    #: shape (m, 15): astrometry, see `astrometry_rows`.
    rows: FloatArray
    #: shapes (m, 3), (m, 3, 6) or (0, 3, 6), and (6,): those of `AddedMotion` that are this orbit's.
    values: FloatArray
    slopes: FloatArray
    origin: FloatArray
    #: MJD TDB of the states.
    epoch: float
    #: shape (m,): only these count in chi^2; predictions are for all.
    used: BoolArray


class Point(NamedTuple):
    """A state with what it predicts."""

    #: shape (6,): heliocentric ecliptic J2000, au and au/d.
    state: FloatArray
    #: shapes (m, 2) and (m, 2, 6): in sigmas.
    residuals: FloatArray
    partials: FloatArray
    #: shape (m,): days; a first guess, before the state is evaluated.
    light_time: FloatArray


class Equations(NamedTuple):
    """The linear equations of a step, with the room to solve them."""

    #: shapes (6, 6) and (6,)
    normal: FloatArray
    gradient: FloatArray
    lower: FloatArray
    scale: FloatArray
    step: FloatArray


@kernel
def new_equations(normal: FloatArray) -> Equations:
    """Return equations around a normal matrix (6, 6), which they will be written to."""
    return Equations(normal, np.empty(6), np.zeros((6, 6)), np.empty(6), np.empty(6))


@kernel
def point_at(state: FloatArray, light_time: FloatArray) -> Point:
    """Return a point with room for its predictions; the state and the light times are written to."""
    m = light_time.size
    return Point(state, np.empty((m, 2)), np.empty((m, 2, 6)), light_time)


@kernel
def copy_point(source: Point, target: Point) -> None:
    """Copy a point into another."""
    copy_values(source.state, target.state)
    copy_values(source.light_time, target.light_time)
    for i in range(source.residuals.shape[0]):
        for axis in range(2):
            target.residuals[i, axis] = source.residuals[i, axis]
            for k in range(6):
                target.partials[i, axis, k] = source.partials[i, axis, k]


@kernel
def evaluate(arc: Arc, point: Point) -> float:
    """Write residuals and partials of all detections, return chi^2 of those in use (inf: cannot be predicted)."""
    shift, slope = np.empty(3), np.empty((0, 6))
    chi2 = 0.0
    for i in range(arc.rows.shape[0]):
        copy_values(arc.values[i], shift)
        if arc.slopes.shape[0] > 0:
            slope = arc.slopes[i]
            for axis in range(3):
                for k in range(6):
                    shift[axis] += slope[axis, k] * (point.state[k] - arc.origin[k])
        point.light_time[i] = residual_and_partials(
            point.state,
            arc.epoch,
            arc.rows[i],
            shift,
            slope,
            point.light_time[i],
            point.residuals[i],
            point.partials[i],
        )
        if not math.isfinite(point.light_time[i]):
            return math.inf
        if arc.used[i]:
            chi2 += point.residuals[i, 0] ** 2 + point.residuals[i, 1] ** 2
    return chi2 if math.isfinite(chi2) else math.inf


@kernel
def set_up(arc: Arc, point: Point, equations: Equations) -> None:
    """Write the equations of the next step from a point that was evaluated, with the prior of the velocity."""
    accumulate(point.residuals, point.partials, arc.used, equations.normal, equations.gradient)
    add_prior(point.state, equations.normal, equations.gradient)


@kernel
def promised_gain(equations: Equations, damping: float) -> float:
    """Write the step, and return by how much it would lower chi^2 if all were linear; inf: there is none."""
    if not factorize(equations.normal, damping, equations.lower, equations.scale):
        return math.inf
    solve(equations.lower, equations.scale, equations.gradient, equations.step)
    gain = 0.0
    for k in range(6):
        gain += equations.step[k] * equations.gradient[k]
    return gain


@kernel
def correct(arc: Arc, point: Point, normal: FloatArray, max_steps: int) -> tuple[float, int, bool]:
    """Correct the point in place; return chi^2, steps tried, and whether the minimum was reached.

    The minimum is that of the detections' chi^2 with the prior's (`velocity_prior`); returned is the detections' alone.
    `normal`, shape (6, 6), is written: the normal matrix at the end, with the prior's part.

    Gauss-Newton steps as long as they help: the weakest direction of a short arc is 1e5 times weaker than the
    strongest, and any damping at the start would freeze it. Damping sets in when steps fail. Whether the minimum was
    reached is judged by what the step without damping promises: with it, the weakest direction would have no say.
    """
    equations = new_equations(normal)
    chi2 = evaluate(arc, point)
    if not math.isfinite(chi2):
        normal[:] = 0.0
        return math.inf, 0, False
    total = chi2 + prior_chi2(point.state)
    trial = point_at(point.state.copy(), point.light_time.copy())
    damping, promised, enough = 0.0, math.inf, CONVERGED
    uphill, steps = 0, 0
    set_up(arc, point, equations)
    while damping < MOST_DAMPING:
        if uphill == 0:
            promised = promised_gain(equations, 0.0)
        if promised < enough or steps == max_steps:
            break
        steps += 1
        trial_chi2 = _step(arc, trial, equations, damping)
        trial_total = trial_chi2 + prior_chi2(trial.state)
        if trial_total < total:
            chi2, total = trial_chi2, trial_total
            copy_point(trial, point)
            damping = damping / 30.0 if damping > 1e-9 else 0.0
            uphill = 0
        elif math.isfinite(trial_total) and uphill < MOST_STEPS_UPHILL:
            uphill += 1
        else:
            copy_point(point, trial)
            damping = max(30.0 * damping, 1e-9)
            uphill, enough = 0, NEARLY_CONVERGED + ROUNDING * total
        set_up(arc, trial, equations)
    set_up(arc, point, equations)
    return chi2, steps, promised < NEARLY_CONVERGED + ROUNDING * total


@kernel
def _step(arc: Arc, point: Point, equations: Equations, damping: float) -> float:
    """Move the point by one step and evaluate it; return chi^2, inf: no such step, or none that can be predicted."""
    if not math.isfinite(promised_gain(equations, damping)):
        return math.inf
    move(point.state, equations.step, arc.rows[arc.rows.shape[0] // 2, OBSERVER:TOWARD])
    return evaluate(arc, point) if is_plausible(point.state) else math.inf


@kernel
def move(state: FloatArray, step: FloatArray, observer: FloatArray) -> None:
    """Move a state by a step, in such a way that a long step bends as the valley of a short arc does.

    Directions are nearly linear in 1 / rho, in the position across the line of sight over rho and in the velocity over
    rho, the parameters of Bernstein & Khushalani 2000, AJ 120, 3323: a straight step in these stays on the floor of
    the valley, where one in space leaves it at once. rho is the distance from the observer of the middle detection. For
    a small step both are the same. No step goes to less than a quarter of rho or to more than four times.
    """
    squared, along = 0.0, 0.0
    for axis in range(3):
        ahead = state[axis] - observer[axis]
        squared += ahead * ahead
        along += step[axis] * ahead
    farther = along / squared
    share = 1.0
    if farther > 0.75:
        share = 0.75 / farther
    elif farther < -3.0:
        share = -3.0 / farther
    farther *= share
    scale = 1.0 / (1.0 - farther)
    for axis in range(3):
        ahead = state[axis] - observer[axis]
        state[axis] = observer[axis] + scale * (ahead + share * step[axis] - farther * ahead)
        state[3 + axis] = scale * (state[3 + axis] + share * step[3 + axis] - farther * state[3 + axis])


@kernel
def is_plausible(state: FloatArray) -> bool:
    """Return whether the state is at a distance from the Sun where a fit may wander."""
    r = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
    return CLOSEST_TO_SUN < r < FARTHEST_FROM_SUN
