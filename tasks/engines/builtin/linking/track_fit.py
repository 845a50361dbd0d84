r"""A track in the plane: cubic polynomials of time in x and y, with prior bounds on their higher terms.

theta(t) = c0 + c1 tau + c2 tau^2 + c3 tau^3, tau = t - t_ref, by weighted least squares. The priors c1 ~ N(0, v^2),
c2 ~ N(0, (a/8)^2) and c3 ~ N(0, (j/18)^2) make the fit meaningful from two detections on, and say how far off a
prediction may be: the bounds v, a, j count as one, four and three standard deviations. x and y have one normal
matrix.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

TERMS = 4


TRACK_FIT = np.dtype(
    [
        #: Sums of w tau^k, of w x tau^k, and of w y tau^k.
        ("sums", np.float64, (2 * TERMS - 1,)),
        ("sums_x", np.float64, (TERMS,)),
        ("sums_y", np.float64, (TERMS,)),
        #: Prior weights of the terms.
        ("prior", np.float64, (TERMS,)),
        #: Cholesky factor of the normal matrix, with the reciprocals of its diagonal.
        ("factor", np.float64, (TERMS, TERMS)),
        #: Coefficients of x and of y.
        ("x", np.float64, (TERMS,)),
        ("y", np.float64, (TERMS,)),
    ]
)
"""Working memory of a fit, one record: the kernels below write to it."""

TrackFit = Any


def new_track_fit(speed: float, acceleration: float, jerk: float) -> TrackFit:
    """Return working memory, shape (1,) of TRACK_FIT, with priors from the bounds, deg and days."""
    fit = np.zeros(1, dtype=TRACK_FIT)
    fit["prior"] = np.array([0.0, 1.0 / speed, 8.0 / acceleration, 18.0 / jerk]) ** 2
    return fit


@kernel
def clear_fit(fit: TrackFit) -> None:
    """Forget all detections."""
    for k in range(TERMS):
        fit.sums_x[k] = 0.0
        fit.sums_y[k] = 0.0
    for k in range(2 * TERMS - 1):
        fit.sums[k] = 0.0


@kernel
def add_to_fit(fit: TrackFit, tau: float, x: float, y: float, variance: float) -> None:
    """Take one detection in: its time from the reference, place and variance of a coordinate."""
    power = 1.0 / variance
    for k in range(TERMS):
        fit.sums[k] += power
        fit.sums_x[k] += power * x
        fit.sums_y[k] += power * y
        power *= tau
    for k in range(TERMS, 2 * TERMS - 1):
        fit.sums[k] += power
        power *= tau


@kernel
def solve_fit(fit: TrackFit) -> None:
    """Factor the normal matrix (Cholesky) and solve for the coefficients.

    The priors make it positive definite as soon as one detection is in.
    """
    L = fit.factor
    for i in range(TERMS):
        for j in range(i):
            s = fit.sums[i + j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = s * L[j, j]
        s = fit.sums[2 * i] + fit.prior[i]
        for k in range(i):
            s -= L[i, k] * L[i, k]
        # What is left of a term is never less than its prior; rounding may say otherwise.
        L[i, i] = 1.0 / math.sqrt(max(s, 0.5 * fit.prior[i]))
    _substitute(L, fit.sums_x, fit.x)
    _substitute(L, fit.sums_y, fit.y)


@kernel
def _substitute(L: FloatArray, right: FloatArray, out: FloatArray) -> None:
    for i in range(TERMS):
        s = right[i]
        for k in range(i):
            s -= L[i, k] * out[k]
        out[i] = s * L[i, i]
    for i in range(TERMS - 1, -1, -1):
        s = out[i]
        for k in range(i + 1, TERMS):
            s -= L[k, i] * out[k]
        out[i] = s * L[i, i]


@kernel
def place_at(fit: TrackFit, tau: float) -> tuple[float, float]:
    """Evaluate the track, deg."""
    x = fit.x[0] + tau * (fit.x[1] + tau * (fit.x[2] + tau * fit.x[3]))
    y = fit.y[0] + tau * (fit.y[1] + tau * (fit.y[2] + tau * fit.y[3]))
    return x, y


@kernel
def rate_at(fit: TrackFit, tau: float) -> tuple[float, float]:
    """Evaluate its velocity, deg / d."""
    u = fit.x[1] + tau * (2.0 * fit.x[2] + tau * 3.0 * fit.x[3])
    v = fit.y[1] + tau * (2.0 * fit.y[2] + tau * 3.0 * fit.y[3])
    return u, v


@kernel
def variance_at(fit: TrackFit, tau: float) -> float:
    """Return the variance of a predicted coordinate, deg^2: p^T N^-1 p with p = (1, tau, tau^2, tau^3)."""
    L = fit.factor
    z0 = L[0, 0]
    z1 = (tau - L[1, 0] * z0) * L[1, 1]
    z2 = (tau * tau - L[2, 0] * z0 - L[2, 1] * z1) * L[2, 2]
    z3 = (tau * tau * tau - L[3, 0] * z0 - L[3, 1] * z1 - L[3, 2] * z2) * L[3, 3]
    total: float = z0 * z0 + z1 * z1 + z2 * z2 + z3 * z3
    return total
