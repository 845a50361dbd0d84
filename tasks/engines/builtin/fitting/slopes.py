"""How the shifts of some orbits change with the orbit: of those that a planet stretches.

Far from planets a shift is the same for all orbits that a fit may come to. Near one it is not: the tide changes the
very directions in which short arcs say little, so that a fit with two-body partials creeps, and claims to know too
much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Slopes:
    """Partials of the shifts of c orbits with respect to their states; s of the orbits have any."""

    #: shape (c,): row in `values`; -1: negligible.
    row: IntArray
    #: shape (s, k, 3, 6): at the Chebyshev points of the shifts.
    values: FloatArray

    def of(self, orbits: IntArray) -> "Slopes":
        """Return those of some orbits."""
        rows = self.row[orbits]
        return Slopes(_renumbered(rows), self.values[rows[rows >= 0]])

    def joined(self, other: "Slopes") -> "Slopes":
        """Return these, then the others."""
        moved = np.where(other.row >= 0, other.row + len(self.values), -1)
        return Slopes(np.concatenate([self.row, moved]), np.concatenate([self.values, other.values]))

    def with_replaced(self, orbits: IntArray, part: "Slopes") -> "Slopes":
        """Return these, with those of some orbits as in the part."""
        both = self.joined(part)
        place = np.arange(len(self.row))
        place[orbits] = len(self.row) + np.arange(len(orbits))
        return both.of(place)


def no_slopes(orbits: int, n_times: int) -> Slopes:
    """Return those of orbits none of which needs any."""
    return Slopes(np.full(orbits, -1), np.zeros((0, n_times, 3, 6)))


def _renumbered(rows: IntArray) -> IntArray:
    numbers: IntArray = np.where(rows >= 0, np.cumsum(rows >= 0) - 1, -1)
    return numbers
