r"""Whether a set of detections is of a source that stands still: a star, which no orbit fits clearly better.

A star that varies is seen on some nights only, so that the few detections of it may span too little time to be told
from a slow object by their place alone (`linking.stationary`). An orbit can go along with the Earth and fit them. But
then a place that does not move fits them about as well, with fewer parameters; an object that moves leaves it by
hundreds of sigmas.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import (
    EAST,
    NORTH,
    OBSERVER,
    TOWARD,
    WEIGHT_EAST,
    WEIGHT_NORTH,
    astrometry_rows,
)
from tasks.engines.builtin.fitting.differential_correction import FARTHEST_FROM_SUN
from tasks.engines.builtin.fitting.fitted_orbits import FittedOrbits
from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLEARLY_BETTER_CHI2 = 50.0
"""An orbit has at most four parameters more than a place. Chance lets chi^2 fall by as much for them once in 3e9."""

CLEARLY_BETTER_RATIO = 0.25
"""And sigmas may be told too small: so chi^2 must fall to this share as well."""


def are_still(survey: PreparedSurvey, members: Members, fitted: FittedOrbits) -> BoolArray:
    """Return which of c orbits fit their detections not clearly better than a place that stands still, shape (c,)."""
    still = chi2_of_places(astrometry_rows(survey, members.obs_index), members.first, fitted.used)
    moves = (fitted.chi2 < still - CLEARLY_BETTER_CHI2) & (fitted.chi2 < CLEARLY_BETTER_RATIO * still)
    return ~moves


def chi2_of_places(rows: FloatArray, first: IntArray, used: BoolArray) -> FloatArray:
    """Return the least chi^2 of a place that stands still in space, for each of c sets of detections.

    Parameters
    ----------
    rows : shape (m, 15)
        Astrometry, see `astrometry_rows`.
    first : shape (c + 1,)
        Detections of set k are rows `first[k]:first[k + 1]`.
    used : shape (m,)
        Only these detections count.

    Notes
    -----
    In the plane that touches the sky at the first detection a place with parallax p (1/au) is seen at
    x = x_0 - p q_x, q the observer's position: linear in x_0, y_0 and p. p is from 0 (a star) to that of the farthest
    distance at which an orbit may be.
    """
    chi2 = np.empty(len(first) - 1)
    _chi2_of_places(rows, np.ascontiguousarray(first, dtype=np.int64), used, chi2)
    return chi2


@kernel
def _chi2_of_places(rows: FloatArray, first: IntArray, used: BoolArray, chi2: FloatArray) -> None:
    for k in range(chi2.size):
        constant, linear, quadratic = 0.0, 0.0, 0.0
        reference = rows[first[k]]
        for direction, weight_column in ((EAST, WEIGHT_EAST), (NORTH, WEIGHT_NORTH)):
            w, wx, wq, wxx, wxq, wqq = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(first[k], first[k + 1]):
                if not used[i]:
                    continue
                ahead, x, q = 0.0, 0.0, 0.0
                for axis in range(3):
                    ahead += rows[i, TOWARD + axis] * reference[TOWARD + axis]
                    x += rows[i, TOWARD + axis] * reference[direction + axis]
                    q -= (rows[i, OBSERVER + axis] - reference[OBSERVER + axis]) * reference[direction + axis]
                x /= max(ahead, 1e-3)
                weight = rows[i, weight_column] ** 2
                w += weight
                wx += weight * x
                wq += weight * q
                wxx += weight * x * x
                wxq += weight * x * q
                wqq += weight * q * q
            if w > 0.0:
                constant += wxx - wx * wx / w
                linear += wxq - wx * wq / w
                quadratic += wqq - wq * wq / w
        parallax = min(max(linear / max(quadratic, 1e-300), 0.0), 1.0 / FARTHEST_FROM_SUN)
        chi2[k] = max(constant - 2.0 * parallax * linear + parallax * parallax * quadratic, 0.0)
