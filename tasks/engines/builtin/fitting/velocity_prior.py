r"""What is known of a body's velocity before it is seen: it hardly ever is much faster than what the Sun can hold.

Short arcs of slow objects leave the distance open, and with it the velocity: an orbit far out that goes along with the
Earth fits as well as the true one. A limit on the velocity would be a wall, on which such fits end, and say nothing of
how uncertain they are. So each component of the heliocentric velocity is taken as one more measurement, of zero, with
the escape velocity v_e = sqrt(2 mu / r) as its sigma: chi^2 grows by (v / v_e)^2. That is less than 1 for all that is
bound, 1.1 for 1I/'Oumuamua and 3.6 for 3I/ATLAS at their perihelia, where it is (1 + e) / 2, and 70 for an orbit
that goes along with the Earth at 148 au. Where the arc says more, as it does after some nights, the prior has no say.

chi^2 in the tables is that of the detections alone. Source of a prior as added observations: Milani & Gronchi 2010,
Theory of Orbit Determination, section 6.1 (a priori observations).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]


@kernel
def prior_chi2(state: FloatArray) -> float:
    """Return the square of the velocity over the escape velocity."""
    r = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
    squared: float = (state[3] ** 2 + state[4] ** 2 + state[5] ** 2) * r / (2.0 * MU_SUN)
    return squared


@kernel
def add_prior(state: FloatArray, normal: FloatArray, gradient: FloatArray) -> None:
    """Add the three measurements to the normal matrix (6, 6) and the gradient (6,) of the detections."""
    r_squared = state[0] ** 2 + state[1] ** 2 + state[2] ** 2
    weight = math.sqrt(math.sqrt(r_squared) / (2.0 * MU_SUN))
    slope = np.zeros(6)
    for component in range(3):
        value = state[3 + component] * weight
        for axis in range(3):
            slope[axis] = 0.5 * value * state[axis] / r_squared
            slope[3 + axis] = 0.0
        slope[3 + component] = weight
        for a in range(6):
            gradient[a] -= slope[a] * value
            for b in range(6):
                normal[a, b] += slope[a] * slope[b]
