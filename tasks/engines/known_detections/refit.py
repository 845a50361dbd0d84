"""Orbits that got more detections are fitted again, from where they are, with the full force model."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import astrometry_rows
from tasks.engines.builtin.fitting.determination import FitStart, determination_limits, determine_orbits
from tasks.engines.builtin.fitting.members import ids_from_members, members_from_owners, merged_members
from tasks.engines.builtin.fitting.orbit_tables import determined_orbits_table, members_table, states_from_table
from tasks.engines.builtin.fitting.track_limits import are_orbits
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Refitted:
    """Fits of c orbits, row for row those that were given."""

    #: Rows of `RECOVERED_ORBITS` and of `RECOVERED_ORBIT_MEMBERS`, whose `obs_index` are rows of the observations.
    orbits: pa.Table
    members: pa.Table
    #: shape (c,): whether it is an orbit still, by the limits of the engine.
    is_orbit: BoolArray


def refitted(
    orbits: pa.Table, observations: pa.Table, owner: IntArray, is_new: BoolArray, settings: EngineSettings
) -> Refitted:
    """Fit orbits (rows of `RECOVERED_ORBITS`) to their detections.

    Parameters
    ----------
    observations
        Rows of `tables.OBSERVATIONS`, each of one orbit.
    owner, is_new : shape (n,)
        Row of each observation's orbit, ascending; whether it came to it just now. Of two in one exposure the old one
        counts.
    """
    survey = prepare_survey(observations, settings)
    index = np.arange(len(owner), dtype=np.int32)
    old, new = (members_from_owners(owner[kept], index[kept], len(orbits)) for kept in (~is_new, is_new))
    members = merged_members(old, new, survey.exposure)
    states, epochs = states_from_table(orbits)
    rows = astrometry_rows(survey, members.obs_index)
    fewest = settings.cluster_and_link.min_observations
    determined = determine_orbits(
        rows, members.first, FitStart(states, epochs), settings.orbit_determination, min_observations=fewest
    )
    accepted = are_orbits(
        survey,
        members,
        determined.fitted,
        settings.cluster_and_link,
        determination_limits(settings.orbit_determination, fewest),
    )
    ids = ids_from_members(survey.obs_ids, members, "r")
    names = {
        "orbit_id": ids,
        "cluster_id": orbits["cluster_id"].to_pylist(),
        "force_model": determined.force_models(settings.orbit_determination),
    }
    return Refitted(
        determined_orbits_table(survey, members, determined, names, RECOVERED_ORBITS),
        members_table(survey, members, determined.fitted, ids, RECOVERED_ORBIT_MEMBERS),
        accepted,
    )
