"""Absolute magnitudes in the H-G system."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SLOPE = 0.15
"""The slope parameter G where it is not known (Bowell et al. 1989)."""


def absolute_magnitude(
    mag: FloatArray,
    sun_distance: FloatArray,
    observer_distance: FloatArray,
    phase_rad: FloatArray,
    slope: float = SLOPE,
) -> FloatArray:
    r"""Return H of each apparent magnitude; distances in au.

    Notes
    -----
    H = m - 5 log10(r delta) + 2.5 log10((1 - G) phi_1 + G phi_2), phi_i = exp(-A_i tan(alpha / 2)^B_i), with
    A = (3.33, 1.87), B = (0.63, 1.22): Bowell et al. 1989, in Asteroids II, p. 524 (appendix A), the simple form.
    """
    half = np.tan(0.5 * phase_rad)
    phi_1 = np.exp(-3.33 * half**0.63)
    phi_2 = np.exp(-1.87 * half**1.22)
    reduced: FloatArray = mag - 5.0 * np.log10(sun_distance * observer_distance)
    return reduced + 2.5 * np.log10((1.0 - slope) * phi_1 + slope * phi_2)
