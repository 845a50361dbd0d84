"""What a fit is asked for and what it gives: limits, and orbits with their residuals and covariances, as arrays."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class AddedMotion(NamedTuple):
    """What is added to the two-body positions of c orbits at m detections: what the other bodies did."""

    #: shape (m, 3): au, for the orbits' own origins.
    values: FloatArray
    #: shape (m, 3, 6): their partials with respect to the state; shape (0, 3, 6) where no orbit needs them.
    slopes: FloatArray
    #: shape (c, 6): the states for which the values are.
    origins: FloatArray


def no_added_motion(orbits: int, detections: int) -> AddedMotion:
    """Return that of two bodies."""
    return AddedMotion(np.zeros((detections, 3)), np.zeros((0, 3, 6)), np.zeros((orbits, 6)))


@dataclass(frozen=True)
class FitLimits:
    """When a detection is rejected, and when a fit stops."""

    #: Steps of one fit, accepted or not.
    max_iterations: int
    #: Reduced chi^2 above which the worst detection is rejected,
    max_reduced_chi2: float
    #: unless chance gives a chi^2 as large more often than this.
    min_probability: float
    #: chi^2 (2 degrees of freedom) of a detection against the fit without it, above which it is rejected.
    outlier_chi2: float
    #: Largest fraction of an orbit's detections that may be rejected.
    max_outlier_fraction: float
    #: Fewest detections left.
    min_observations: int

    def largest_chi2(self, most_detections: int) -> FloatArray:
        """Return the largest chi^2 of a good fit to n detections, for n from 0 to the most, shape (most + 1,).

        Few degrees of freedom scatter widely: with 6 detections a reduced chi^2 above 3 befalls one true orbit in 160.
        """
        freedom = np.maximum(2.0 * np.arange(most_detections + 1) - 6.0, 1.0)
        by_chance = chdtri(freedom, self.min_probability) if self.min_probability > 0.0 else 0.0
        largest: FloatArray = np.maximum(self.max_reduced_chi2 * freedom, by_chance)
        return largest


@dataclass(frozen=True)
class FittedOrbits:
    """c orbits fitted to m detections in all; detections of orbit k are rows `first[k]:first[k + 1]`."""

    #: shape (c,): MJD TDB of the states.
    epoch: FloatArray
    #: shape (c, 6): heliocentric ecliptic J2000, au and au/d.
    state: FloatArray
    #: shape (c, 6, 6): nan where it cannot be had.
    covariance: FloatArray
    #: shape (c,): of the detections in use; inf where the fit failed.
    chi2: FloatArray
    #: shape (c,)
    iterations: IntArray
    #: shape (c,)
    converged: BoolArray
    #: shape (m, 2): observed minus predicted, east and north, in sigmas.
    residuals: FloatArray
    #: shape (m,): False: rejected.
    used: BoolArray
    #: shape (m,): days.
    light_time: FloatArray

    def only(self, orbits: IntArray, members: IntArray) -> "FittedOrbits":
        """Return some orbits with their detections, given by their rows."""
        return FittedOrbits(
            **{
                field.name: getattr(self, field.name)[orbits if field.name in _PER_ORBIT else members]
                for field in fields(self)
            }
        )

    def with_covariance(self, covariance: FloatArray) -> "FittedOrbits":
        """Return these fits with other covariances, shape (c, 6, 6)."""
        return replace(self, covariance=covariance)

    def joined(self, other: "FittedOrbits") -> "FittedOrbits":
        """Return these orbits, then the others."""
        return FittedOrbits(
            **{
                field.name: np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            }
        )


_PER_ORBIT = ("epoch", "state", "covariance", "chi2", "iterations", "converged")


def with_replaced(whole: FittedOrbits, part: FittedOrbits, orbits: IntArray, members: IntArray) -> FittedOrbits:
    """Return the whole with some orbits (rows `orbits`) and their detections (rows `members`) as in the part."""
    changed = {}
    for name in (field.name for field in fields(FittedOrbits)):
        values = getattr(whole, name).copy()
        values[orbits if name in _PER_ORBIT else members] = getattr(part, name)
        changed[name] = values
    changed["iterations"][orbits] += whole.iterations[orbits]
    return FittedOrbits(**changed)
