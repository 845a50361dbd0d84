"""Whether a set of detections is a track, and whether an orbit fits it."""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.fitted_orbits import FitLimits, FittedOrbits
from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.fitting.orbit_tables import nights_and_arcs, sky_nights
from tasks.engines.builtin.fitting.still_sources import are_still
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.settings import ClusterAndLinkSettings

BoolArray = NDArray[np.bool_]


def are_tracks(
    survey: PreparedSurvey, members: Members, used: BoolArray, settings: ClusterAndLinkSettings
) -> BoolArray:
    """Return which orbits have enough detections in use, nights of the sky and arc, shape (c,)."""
    _, low, high = nights_and_arcs(survey, members, used)
    nights = sky_nights(survey, members, used)
    count = np.bincount(members.owner[used], minlength=len(members))
    with np.errstate(invalid="ignore"):
        long_enough = high - low >= settings.min_arc_days
    tracks: BoolArray = (count >= settings.min_observations) & (nights >= settings.min_nights) & long_enough
    return tracks


def are_orbits(
    survey: PreparedSurvey,
    members: Members,
    fitted: FittedOrbits,
    settings: ClusterAndLinkSettings,
    limits: FitLimits,
) -> BoolArray:
    """Return which orbits fit their detections, no star does, and have a track left after rejections, shape (c,)."""
    count = np.bincount(members.owner[fitted.used], minlength=len(members))
    fits: BoolArray = fitted.chi2 <= limits.largest_chi2(int(count.max(initial=0)))[count]
    tracks = are_tracks(survey, members, fitted.used, settings)
    return fits & tracks & ~are_still(survey, members, fitted)
