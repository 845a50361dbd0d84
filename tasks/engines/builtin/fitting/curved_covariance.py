r"""Covariances of orbits whose uncertainty is bent: short arcs, seen over a few nights.

There the detections fix the direction and leave the distance open. The region that they allow is a thin curve, the line
of variations, and a covariance taken from its tangent claims to exclude the curve's own ends. So the curve is followed,
and the covariance is the second moment about the fitted orbit of what the detections allow along it.

Source of the curve: Milani & Gronchi 2010, Theory of Orbit Determination, section 10.2 (constrained corrections).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.differential_correction import (
    Arc,
    evaluate,
    is_plausible,
    new_equations,
    point_at,
    set_up,
)
from tasks.engines.builtin.fitting.fitted_orbits import AddedMotion, FittedOrbits
from tasks.engines.builtin.fitting.normal_equations import copy_values, factorize, solve
from tasks.engines.builtin.fitting.velocity_prior import prior_chi2
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STRAIGHT = 0.02
"""Where one sigma along the tangent raises chi^2 by 1 within this, on both sides, the tangent will do."""

_STEP, _EVEN_STEPS, _GROWTH, _MOST_STEPS = 0.7, 6, 1.3, 20
"""The curve is sampled every 0.7 sigmas of the tangent out to 4.2 (where the sum over a normal distribution is exact to
1e-4), and beyond, where the detections still allow it, with growing steps."""

_NEGLIGIBLE_RISE = 18.0
"""Rise of chi^2 beyond which a point of the curve has no weight, exp(-9)."""

_CORRECTIONS = 6


def with_curved_covariances(
    rows: FloatArray, first: IntArray, fitted: FittedOrbits, shifts: AddedMotion
) -> FittedOrbits:
    """Return the fits with covariances that follow the bend where there is one; arguments as of `fit_orbits`."""
    known = np.flatnonzero(np.isfinite(fitted.covariance).all(axis=(1, 2)))
    covariance = fitted.covariance.copy()
    scale = np.sqrt(np.einsum("cii->ci", covariance[known]))
    correlation = covariance[known] / scale[:, :, None] / scale[:, None, :]
    values, vectors = np.linalg.eigh(correlation)
    weakest = vectors[:, :, -1]
    tangents = scale * weakest * np.sqrt(values[:, -1:])
    _follow_each(
        rows,
        first,
        shifts,
        known,
        fitted.epoch,
        fitted.state,
        fitted.used,
        fitted.light_time,
        fitted.chi2,
        scale,
        np.ascontiguousarray(weakest),
        np.ascontiguousarray(tangents),
        covariance,
    )
    return fitted.with_covariance(covariance)


@kernel
def _follow_each(
    rows: FloatArray,
    first: IntArray,
    shifts: AddedMotion,
    known: IntArray,
    epochs: FloatArray,
    states: FloatArray,
    used: BoolArray,
    light_time: FloatArray,
    chi2: FloatArray,
    scale: FloatArray,
    weakest: FloatArray,
    tangents: FloatArray,
    covariance: FloatArray,
) -> None:
    for i in range(known.size):
        k = known[i]
        a, b = first[k], first[k + 1]
        arc = Arc(rows[a:b], shifts.values[a:b], shifts.slopes[a:b], shifts.origins[k], epochs[k], used[a:b])
        delays = light_time[a:b].copy()
        total = chi2[k] + prior_chi2(states[k])
        if _is_straight(arc, delays, states[k], total, tangents[i]):
            continue
        _second_moment(arc, delays, states[k], total, scale[i], weakest[i], tangents[i], covariance[k])


@kernel
def _is_straight(arc: Arc, light_time: FloatArray, state: FloatArray, chi2: float, tangent: FloatArray) -> bool:
    point = point_at(np.empty(6), light_time)
    for side in (1.0, -1.0):
        for axis in range(6):
            point.state[axis] = state[axis] + side * tangent[axis]
        raised = evaluate(arc, point) + prior_chi2(point.state)
        if not abs(raised - chi2 - 1.0) < STRAIGHT:
            return False
    return True


@kernel
def _second_moment(
    arc: Arc,
    light_time: FloatArray,
    state: FloatArray,
    chi2: float,
    scale: FloatArray,
    weakest: FloatArray,
    tangent: FloatArray,
    covariance: FloatArray,
) -> None:
    """Replace the tangent's part of a covariance by the curve's, weighted with how well each point fits."""
    total = _STEP
    moment = np.zeros((6, 6))
    point = np.empty(6)
    for side in (1.0, -1.0):
        copy_values(state, point)
        reached, step = 0.0, _STEP
        for n in range(_MOST_STEPS):
            if n >= _EVEN_STEPS:
                step *= _GROWTH
            reached += step
            for axis in range(6):
                point[axis] += side * step * tangent[axis]
            raised = _correct_across(arc, light_time, scale, weakest, point) - chi2
            if not math.isfinite(raised):
                # The curve was lost: from here on the tangent must do.
                raised = reached * reached
                for axis in range(6):
                    point[axis] = state[axis] + side * reached * tangent[axis]
            weight = step * math.exp(-0.5 * max(raised, -2.0))
            total += weight
            _add_square(point, state, weight, moment)
            if raised > _NEGLIGIBLE_RISE:
                break
    for a in range(6):
        for b in range(6):
            covariance[a, b] += moment[a, b] / total - tangent[a] * tangent[b]


@kernel
def _add_square(point: FloatArray, state: FloatArray, weight: float, moment: FloatArray) -> None:
    for a in range(6):
        for b in range(6):
            moment[a, b] += weight * (point[a] - state[a]) * (point[b] - state[b])


@kernel
def _correct_across(
    arc: Arc, light_time: FloatArray, scale: FloatArray, weakest: FloatArray, state: FloatArray
) -> float:
    """Move a state to the least chi^2 of all with its place along the weakest direction; return chi^2, inf: none."""
    point = point_at(state, light_time)
    equations = new_equations(np.empty((6, 6)))
    ones, step = np.empty(6), np.empty(6)
    for _ in range(_CORRECTIONS):
        if not is_plausible(state):
            return math.inf
        chi2 = evaluate(arc, point) + prior_chi2(state)
        if not math.isfinite(chi2):
            return math.inf
        set_up(arc, point, equations)
        _hold(equations.normal, equations.gradient, scale, weakest)
        if not factorize(equations.normal, 0.0, equations.lower, ones):
            return math.inf
        solve(equations.lower, ones, equations.gradient, step)
        gain = 0.0
        for axis in range(6):
            gain += step[axis] * equations.gradient[axis]
        if gain < 1e-3:
            return chi2
        for axis in range(6):
            state[axis] += scale[axis] * step[axis]
    return math.inf


@kernel
def _hold(normal: FloatArray, gradient: FloatArray, scale: FloatArray, weakest: FloatArray) -> None:
    """Scale the equations, and project them so that their solution is perpendicular to the weakest direction."""
    along = 0.0
    for a in range(6):
        gradient[a] *= scale[a]
        along += gradient[a] * weakest[a]
        for b in range(6):
            normal[a, b] *= scale[a] * scale[b]
    row = np.zeros(6)
    corner = 0.0
    for a in range(6):
        for b in range(6):
            row[a] += normal[a, b] * weakest[b]
        corner += row[a] * weakest[a]
    for a in range(6):
        gradient[a] -= along * weakest[a]
        for b in range(6):
            normal[a, b] += (corner + 1.0) * weakest[a] * weakest[b] - row[a] * weakest[b] - weakest[a] * row[b]
