"""The kernel of range and shift: cell, range, rotation and gnomonic projection of one block of exposures."""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import DEG_PER_RAD
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]


@kernel
def project_block(
    start: IndexArray,
    line_of_sight: FloatArray,
    sigma_rad: FloatArray,
    observer_position: FloatArray,
    states: FloatArray,
    rotations: FloatArray,
    distance: FloatArray,
    cell_axes: FloatArray,
    cell_covariance: FloatArray,
    cell_edge: float,
    high_phase_angle: bool,  # noqa: FBT001 (kernels take no keywords)
    rows: IndexArray,
    theta_deg: FloatArray,
) -> tuple[int, int]:
    r"""Write the rows in the cell and their plane coordinates; return how many, and how many were out of reach.

    Parameters are those of `range_and_shift.ExposureBlock`, then the outputs `rows` (n,) and `theta_deg` (n, 2).

    Notes
    -----
    With observer q, line of sight n and the test orbit's r, all heliocentric: x = q + rho n and |x| = |r| give
    rho = -q.n +- sqrt((q.n)^2 + |r|^2 - |q|^2) (Moeyens et al. 2021, eq. 3). Seen from inside the orbit only + is in
    front of the observer. From outside, a line of sight meets the sphere twice, and the root is taken that the test
    orbit itself has; a line that misses the sphere is out of reach, and so is what lies behind the observer.

    Where lines of sight meet that sphere at a high phase angle, positions on it, and what the noise does to them, grow
    without bound towards its rim. There the plane through the test orbit across the line of sight takes the place of
    the sphere: rotations lead to the frame of that plane, and its coordinates are in units of the test
    orbit's |r| as well.
    """
    kept = 0
    out_of_reach = 0
    for e in range(len(start) - 1):
        q = observer_position[e]
        axes = cell_axes[e]
        rotation = rotations[e]
        r_squared = _dot(states[e], states[e])
        q_squared = _dot(q, q)
        scale = DEG_PER_RAD * distance[e] / math.sqrt(r_squared) if high_phase_angle else DEG_PER_RAD
        # The sign of the root that gives the test orbit's own distance.
        side = 1.0 if r_squared >= q_squared or distance[e] + _dot(q, axes[0]) >= 0.0 else -1.0
        for i in range(start[e], start[e + 1]):
            n = line_of_sight[i]
            if not _in_cell(n, sigma_rad[i], axes, cell_covariance[e], cell_edge):
                continue
            if high_phase_angle:
                rho, x, y, z = 1.0, n[0], n[1], n[2]
            else:
                q_n = _dot(q, n)
                radicand = q_n * q_n + r_squared - q_squared
                rho = -q_n + side * math.sqrt(radicand) if radicand >= 0.0 else -1.0
                x, y, z = q[0] + rho * n[0], q[1] + rho * n[1], q[2] + rho * n[2]
            ahead = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            if rho <= 0.0 or ahead <= 0.0:
                out_of_reach += 1
                continue
            rows[kept] = i
            theta_deg[kept, 0] = (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) / ahead * scale
            theta_deg[kept, 1] = (rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z) / ahead * scale
            kept += 1
    return kept, out_of_reach


@kernel
def _dot(a: FloatArray, b: FloatArray) -> float:
    product: float = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


@kernel
def _in_cell(n: FloatArray, sigma: FloatArray, axes: FloatArray, covariance: FloatArray, edge: float) -> bool:
    """Compare with the cosine of the cell's radius (edge > 0), or with minus a squared Mahalanobis distance.

    A detection's two sigmas are taken as one, the larger: the axes across the line of sight are any two, not east
    and north.
    """
    toward = _dot(n, axes[0])
    if edge >= 0.0:
        return toward >= edge
    if toward <= 0.0:
        return False
    a, b = _dot(n, axes[1]) / toward, _dot(n, axes[2]) / toward
    own = max(sigma[0], sigma[1]) ** 2
    caa, cbb, cab = covariance[0, 0] + own, covariance[1, 1] + own, covariance[0, 1]
    squared: float = (cbb * a * a - 2.0 * cab * a * b + caa * b * b) / (caa * cbb - cab * cab)
    return squared <= -edge
