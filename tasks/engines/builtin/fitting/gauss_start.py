"""Starts by Gauss's method, for clusters that no start at an assumed distance fits. The one user of adam-core's IOD."""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body
from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_ROOTS = 3
"""Gauss's equation of degree eight has at most three roots that are distances."""


def gauss_triplet(survey: PreparedSurvey, obs_index: NDArray[np.int32]) -> IntArray:
    """Choose the first detection, the last, and the one nearest the middle of the time between, by their positions."""
    times = survey.exposure_mjd_tdb[survey.exposure[obs_index]]
    middle = np.abs(times - 0.5 * (times[0] + times[-1]))[1:-1].argmin() + 1
    return np.array([0, middle, len(times) - 1])


def gauss_states(survey: PreparedSurvey, members: Members, orbits: IntArray, epochs: FloatArray) -> FloatArray:
    """Return Gauss's orbits for some clusters, shape (f, 3, 6), at their epochs, shape (c,); nan: no such root.

    Notes
    -----
    The velocity is by Gibbs: adam-core's velocity_method "gauss" has a wrong series for g.
    """
    # adam-core takes a second to import, and hardly any cluster comes here.
    from adam_core.orbit_determination.gauss import gaussIOD  # noqa: PLC0415

    states = np.full((len(orbits), MOST_ROOTS, 6), np.nan)
    for row, orbit in enumerate(orbits):
        own = members.obs_index[members.first[orbit] : members.first[orbit + 1]]
        three = own[gauss_triplet(survey, own)]
        exposure = survey.exposure[three]
        found = gaussIOD(
            np.column_stack([survey.ra_deg[three], survey.dec_deg[three]]),
            survey.exposure_mjd_tdb[exposure],
            survey.observer_position[exposure],
            velocity_method="gibbs",
        )
        times = found.coordinates.time.mjd().to_numpy(zero_copy_only=False)
        for root, (time, state) in enumerate(zip(times[:MOST_ROOTS], found.coordinates.values, strict=False)):
            states[row, root] = propagate_two_body(state, np.array([epochs[orbit] - time]))[0]
    return states
