"""Six linear equations: accumulated, solved, inverted. Symmetric and positive definite, scaled by their diagonal."""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@kernel
def copy_values(source: FloatArray, target: FloatArray) -> None:
    """Copy one row of numbers into another: by slices it would take numba seconds to compile, for an error message."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def accumulate(
    residuals: FloatArray, partials: FloatArray, used: BoolArray, normal: FloatArray, gradient: FloatArray
) -> float:
    """Write J^T J (6, 6) and J^T r (6,) of the detections in use, and return chi^2 = r^T r.

    residuals (m, 2) and partials (m, 2, 6) are in sigmas, so that all weights are one.
    """
    normal[:] = 0.0
    gradient[:] = 0.0
    chi2 = 0.0
    for i in range(residuals.shape[0]):
        if not used[i]:
            continue
        for axis in range(2):
            r = residuals[i, axis]
            chi2 += r * r
            for a in range(6):
                slope = partials[i, axis, a]
                gradient[a] += slope * r
                for b in range(a + 1):
                    normal[a, b] += slope * partials[i, axis, b]
    for a in range(6):
        for b in range(a):
            normal[b, a] = normal[a, b]
    return chi2


@kernel
def factorize(normal: FloatArray, damping: float, lower: FloatArray, scale: FloatArray) -> bool:
    """Write the Cholesky factor of the matrix scaled to a unit diagonal, which `damping` is added to; False: singular.

    The scale makes position and velocity comparable; without it the factor of a two-week arc loses all its digits.
    """
    for a in range(6):
        if not normal[a, a] > 0.0:
            return False
        scale[a] = 1.0 / math.sqrt(normal[a, a])
    for a in range(6):
        for b in range(a + 1):
            total = normal[a, b] * scale[a] * scale[b]
            if a == b:
                total += damping
            for k in range(b):
                total -= lower[a, k] * lower[b, k]
            if a == b:
                if not total > 0.0:
                    return False
                lower[a, a] = math.sqrt(total)
            else:
                lower[a, b] = total / lower[b, b]
    return True


@kernel
def solve(lower: FloatArray, scale: FloatArray, right: FloatArray, solution: FloatArray) -> None:
    """Write the solution (6,) for one right-hand side, given `factorize`'s factor and scale."""
    for a in range(6):
        total = right[a] * scale[a]
        for k in range(a):
            total -= lower[a, k] * solution[k]
        solution[a] = total / lower[a, a]
    for a in range(5, -1, -1):
        total = solution[a]
        for k in range(a + 1, 6):
            total -= lower[k, a] * solution[k]
        solution[a] = total / lower[a, a]
    for a in range(6):
        solution[a] *= scale[a]


@kernel
def invert(normal: FloatArray, inverse: FloatArray) -> bool:
    """Write the inverse (6, 6), the covariance; nan and False where the matrix is singular."""
    lower = np.zeros((6, 6))
    scale = np.empty(6)
    if not factorize(normal, 0.0, lower, scale):
        inverse[:] = math.nan
        return False
    column = np.empty(6)
    unit = np.zeros(6)
    for a in range(6):
        unit[a] = 1.0
        solve(lower, scale, unit, column)
        unit[a] = 0.0
        for b in range(6):
            inverse[b, a] = column[b]
    for a in range(6):
        for b in range(a):
            mean = 0.5 * (inverse[a, b] + inverse[b, a])
            inverse[a, b] = mean
            inverse[b, a] = mean
    return True
