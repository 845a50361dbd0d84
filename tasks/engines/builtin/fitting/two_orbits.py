"""Where on the sky an arc may be that of two orbits at different distances: towards the Sun, as Charlier found.

Of the roots of Lagrange's equation for the distance one is the observer's own orbit; towards the Sun two others may be
left, and chi^2 then has a minimum at each. A fit finds the one next to its start.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import EAST, OBSERVER, TOWARD

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TWO_ORBITS_ELONGATION_DEG = 180.0 - np.degrees(np.arctan(2.0))
"""Farther from the Sun on the sky than this, 116.565 deg, an arc has one orbit, but for objects next to the Earth:
the asymptote of the limiting curve of Charlier 1910, MNRAS 71, 120; Gronchi 2009, Celest. Mech. Dyn. Astr. 103, 301."""


def allow_two_orbits(rows: FloatArray, first: IntArray) -> BoolArray:
    """Return which of c arcs are seen, for a part of them at least, where two orbits may fit them, shape (c,).

    Parameters
    ----------
    rows : shape (m, 15)
        Astrometry, see `astrometry_rows`.
    first : shape (c + 1,)
        Detections of arc k are rows `first[k]:first[k + 1]`.
    """
    if len(first) == 1:
        return np.empty(0, np.bool_)
    observer, toward = rows[:, OBSERVER:TOWARD], rows[:, TOWARD:EAST]
    cosine = -np.einsum("ma,ma->m", observer, toward) / np.linalg.norm(observer, axis=1)
    allowed: BoolArray = np.maximum.reduceat(cosine, first[:-1]) > np.cos(np.radians(TWO_ORBITS_ELONGATION_DEG))
    return allowed
