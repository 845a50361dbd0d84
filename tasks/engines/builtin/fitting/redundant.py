"""Which clusters say nothing new: their detections belong to orbits that fit well already.

One object is found from many pairs, and its detections also fall into tracks that are half of it and half of chance.
To fit them all, from several starts, was most of the work of the engine. In the end each detection has one orbit, and
one that is left with too few gives way (`assignment`): the same is asked here, before the work is done.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.assignment import ranking
from tasks.engines.builtin.fitting.fitted_orbits import FittedOrbits
from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.fitting.orbit_tables import reduced_chi2, sky_nights
from tasks.engines.builtin.fitting.still_sources import are_still
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.settings import EngineSettings

IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MORE_OBSERVATIONS, MORE_NIGHTS = 2, 1
"""An orbit is trusted that has so many more detections and nights of the sky than it must have."""


def are_redundant(
    survey: PreparedSurvey, members: Members, fitted: FittedOrbits, settings: EngineSettings
) -> BoolArray:
    """Return which of c fitted clusters would give way to trusted orbits, shape (c,).

    An orbit is trusted where its reduced chi^2 would pass the gate of orbit_determination and it has more detections
    and nights than the fewest. A cluster gives way where those of trusted orbits before it, best first, leave it with
    too few detections and with less than the part that it must keep.
    """
    linking = settings.cluster_and_link
    count = np.bincount(members.owner[fitted.used], minlength=len(members))
    rchi2 = reduced_chi2(members, fitted)
    trusted = (
        (rchi2 <= settings.orbit_determination.max_reduced_chi2)
        & (count >= linking.min_observations + MORE_OBSERVATIONS)
        & (sky_nights(survey, members, fitted.used) >= linking.min_nights + MORE_NIGHTS)
    )
    trusted &= ~are_still(survey, members, fitted)
    order = ranking(
        np.where(trusted, count, 0), np.where(trusted, fitted.chi2, 0.0), members.obs_index[members.first[:-1]]
    )
    redundant = np.zeros(len(members), np.bool_)
    _mark(
        members.obs_index,
        members.first,
        fitted.used,
        order,
        trusted,
        np.zeros(survey.n_detections, np.bool_),
        linking.min_observations,
        settings.merge_and_extend.min_kept_fraction,
        redundant,
    )
    return redundant


@kernel
def _mark(
    obs_index: IndexArray,
    first: IntArray,
    used: BoolArray,
    order: IntArray,
    trusted: BoolArray,
    taken: BoolArray,
    fewest: int,
    min_kept_fraction: float,
    redundant: BoolArray,
) -> None:
    for k in order:
        left = 0
        for i in range(first[k], first[k + 1]):
            left += not taken[obs_index[i]]
        redundant[k] = left < fewest and left < min_kept_fraction * (first[k + 1] - first[k])
        if trusted[k] and not redundant[k]:
            for i in range(first[k], first[k + 1]):
                if used[i]:
                    taken[obs_index[i]] = True
