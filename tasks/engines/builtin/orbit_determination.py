"""Stage 4: orbits with the full force model and their covariances; the gate between real and false clusters."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import astrometry_rows
from tasks.engines.builtin.fitting.determination import (
    DeterminedOrbits,
    FitStart,
    determination_limits,
    determine_orbits,
    with_honest_covariances,
)
from tasks.engines.builtin.fitting.members import Members, members_of
from tasks.engines.builtin.fitting.orbit_tables import (
    determined_orbits_table,
    members_from_table,
    members_table,
    reduced_chi2,
    states_from_table,
    used_from_table,
)
from tasks.engines.builtin.fitting.track_limits import are_orbits
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.interface import LinkingProblem, StageResult, Tables
from tasks.engines.tables import OD_ORBIT_MEMBERS, OD_ORBITS

BoolArray = NDArray[np.bool_]


def orbit_determination(problem: LinkingProblem, tables: Tables) -> StageResult:
    """Correct the first orbits and drop those that do not fit; see `tasks.engines.interface.Engine`."""
    survey: PreparedSurvey = problem.survey
    settings = problem.settings.orbit_determination
    cluster_settings = problem.settings.cluster_and_link
    first_orbits, first_members = tables["iod_orbits"], tables["iod_orbit_members"]
    members = members_from_table(first_members, "orbit_index", len(first_orbits))
    states, epochs = states_from_table(first_orbits)
    determined = determine_orbits(
        astrometry_rows(survey, members.obs_index),
        members.first,
        FitStart(states, epochs, used_from_table(first_members)),
        settings,
        min_observations=cluster_settings.min_observations,
    )
    limits = determination_limits(settings, cluster_settings.min_observations)
    accepted = are_orbits(survey, members, determined.fitted, cluster_settings, limits)
    good = np.flatnonzero(accepted)
    determined, members = determined.only(good, members_of(members.first, good)[0]), members.of(good)
    rows = astrometry_rows(survey, members.obs_index)
    determined = with_honest_covariances(rows, members.first, determined)
    kept = first_orbits.take(pa.array(good))
    improved = reduced_chi2(members, determined.fitted) < kept["rchi2"].to_numpy()
    return StageResult(
        _tables(problem, members, determined, kept, improved),
        {
            "iod_orbits": len(first_orbits),
            "od_orbits": len(good),
            "n_body": int(determined.shifts.is_n_body.sum()),
            "outliers": int((~determined.fitted.used).sum()),
        },
    )


def _tables(
    problem: LinkingProblem, members: Members, determined: DeterminedOrbits, kept: pa.Table, improved: BoolArray
) -> dict[str, pa.Table]:
    survey: PreparedSurvey = problem.survey
    orbit_ids = kept["orbit_id"].to_pylist()
    names = {
        "orbit_id": orbit_ids,
        "cluster_id": kept["cluster_id"].to_pylist(),
        "force_model": determined.force_models(problem.settings.orbit_determination),
    }
    return {
        "od_orbits": determined_orbits_table(survey, members, determined, names, OD_ORBITS, {"improved": improved}),
        "od_orbit_members": members_table(survey, members, determined.fitted, orbit_ids, OD_ORBIT_MEMBERS),
    }
