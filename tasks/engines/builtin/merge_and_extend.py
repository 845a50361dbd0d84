"""Stage 5: one orbit per object, with all of its detections; each detection has one orbit."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.assignment import assign_exclusively, ranking
from tasks.engines.builtin.fitting.astrometry import astrometry_rows
from tasks.engines.builtin.fitting.attribution import attribute
from tasks.engines.builtin.fitting.candidates import Candidates, fitted_again, joined
from tasks.engines.builtin.fitting.determination import (
    FitStart,
    determination_limits,
    determine_orbits,
)
from tasks.engines.builtin.fitting.members import Members, ids_from_members, merged_members
from tasks.engines.builtin.fitting.orbit_tables import (
    determined_orbits_table,
    members_from_table,
    members_table,
    nights_and_arcs,
    states_from_table,
    used_from_table,
)
from tasks.engines.builtin.fitting.other_minima import with_other_minima
from tasks.engines.builtin.fitting.sky_index import SkyIndex, sky_index
from tasks.engines.builtin.fitting.track_limits import are_orbits
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.interface import LinkingProblem, StageResult, Tables
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RAD_PER_ARCSEC = np.pi / 180.0 / 3600.0

TDB_MINUS_UTC_DAYS = 0.002
"""More than TDB - UTC ever was (69 s in 2026): windows of time are widened by it, not converted."""


def merge_and_extend(problem: LinkingProblem, tables: Tables) -> StageResult:
    """Assign, attribute and fit again until nothing changes; see `tasks.engines.interface.Engine`."""
    survey: PreparedSurvey = problem.survey
    settings = problem.settings
    candidates = _candidates_from_tables(survey, tables, settings)
    n_given, n_rounds = len(candidates), 0
    index = sky_index(survey)
    candidates = _without_overlap(survey, candidates, settings)
    while n_rounds < settings.merge_and_extend.max_rounds and not candidates.settled.all():
        n_rounds += 1
        candidates = _extended(survey, index, candidates, settings)
        candidates = _without_overlap(survey, candidates, settings)
    candidates = candidates.only(_by_detections(candidates)).in_use()
    counts = {
        "od_orbits": n_given,
        "rounds": n_rounds,
        "recovered_orbits": len(candidates),
        "recovered_observations": len(candidates.members.obs_index),
    }
    return StageResult(_tables(survey, candidates, settings), counts)


def _candidates_from_tables(survey: PreparedSurvey, tables: Tables, settings: EngineSettings) -> Candidates:
    """Read the determined orbits with the detections that they use, and fit them as they are."""
    table, members_rows = tables["od_orbits"], tables["od_orbit_members"]
    everyone = members_from_table(members_rows, "orbit_index", len(table))
    members = everyone.where(used_from_table(members_rows))
    states, epochs = states_from_table(table)
    low, high = _window(survey, members, np.ones(len(members.obs_index), np.bool_), settings)
    orbits = determine_orbits(
        astrometry_rows(survey, members.obs_index),
        members.first,
        FitStart(states, epochs, low=low, high=high),
        settings.orbit_determination,
        min_observations=settings.cluster_and_link.min_observations,
    )
    names = tuple(table["cluster_id"].to_pylist())
    return Candidates(members, orbits, names, np.zeros(len(members), np.bool_))


def _window(
    survey: PreparedSurvey, members: Members, used: BoolArray, settings: EngineSettings
) -> tuple[FloatArray, FloatArray]:
    """Return between which times, MJD TDB, each orbit is sought: its arc and as much again on both sides."""
    _, low, high = nights_and_arcs(survey, members, used)
    reach = settings.merge_and_extend.extension * (high - low) + TDB_MINUS_UTC_DAYS
    return (
        np.maximum(low - reach, survey.exposure_mjd_tdb[0]),
        np.minimum(high + reach, survey.exposure_mjd_tdb[-1]),
    )


def _extended(survey: PreparedSurvey, index: SkyIndex, candidates: Candidates, settings: EngineSettings) -> Candidates:
    """Attribute to the orbits that are not settled, and fit those that got other detections."""
    moving = np.flatnonzero(~candidates.settled)
    resting = candidates.only(np.flatnonzero(candidates.settled))
    unsettled = candidates.only(moving)
    low, high = _window(survey, unsettled.members, unsettled.used, settings)
    members = _attributed(survey, index, unsettled, low, high, settings)
    same = members.equal_to(unsettled.members)
    quiet = unsettled.only(np.flatnonzero(same))
    quiet.settled[:] = True
    changed = np.flatnonzero(~same)
    if len(changed) == 0:
        return joined((resting, quiet))
    again = fitted_again(survey, unsettled.only(changed), members.of(changed), settings)
    return joined((joined((resting, quiet)), again))


def _attributed(
    survey: PreparedSurvey,
    index: SkyIndex,
    candidates: Candidates,
    low: FloatArray,
    high: FloatArray,
    settings: EngineSettings,
) -> Members:
    """Return the detections in use with those near the predictions; of two in one exposure the nearer one."""
    fitted = candidates.orbits.fitted
    found = attribute(
        survey,
        index,
        fitted.state,
        fitted.epoch,
        candidates.orbits.shifts,
        low,
        high,
        settings.merge_and_extend.radius_arcsec * RAD_PER_ARCSEC,
        settings.merge_and_extend.radius_sigmas,
    )
    return merged_members(found, candidates.members.where(candidates.used), survey.exposure)


def _without_overlap(survey: PreparedSurvey, candidates: Candidates, settings: EngineSettings) -> Candidates:
    """Give each detection to one orbit, fit the orbits that lost some, and drop those that are none any more."""
    candidates = _orbits_only(survey, candidates, settings)
    kept_orbits, kept_members = assign_exclusively(
        candidates.members,
        candidates.used,
        _ranked(candidates),
        survey.n_detections,
        settings.cluster_and_link.min_observations,
        settings.merge_and_extend.min_kept_fraction,
    )
    lost = np.bincount(candidates.members.owner[candidates.used & ~kept_members], minlength=len(candidates)) > 0
    whole = candidates.only(np.flatnonzero(kept_orbits & ~lost))
    reduced = np.flatnonzero(kept_orbits & lost)
    if len(reduced) == 0:
        return whole
    members = candidates.members.where(kept_members).of(reduced)
    again = fitted_again(survey, candidates.only(reduced), members, settings)
    return joined((whole, _orbits_only(survey, again, settings)))


def _orbits_only(survey: PreparedSurvey, candidates: Candidates, settings: EngineSettings) -> Candidates:
    accepted = are_orbits(
        survey,
        candidates.members,
        candidates.orbits.fitted,
        settings.cluster_and_link,
        determination_limits(settings.orbit_determination, settings.cluster_and_link.min_observations),
    )
    return candidates if accepted.all() else candidates.only(np.flatnonzero(accepted))


def _ranked(candidates: Candidates) -> IntArray:
    """Return the candidates' rows, best first."""
    fitted, members = candidates.orbits.fitted, candidates.members
    count = np.bincount(members.owner[fitted.used], minlength=len(members))
    return ranking(count, fitted.chi2, members.obs_index[members.first[:-1]])


def _by_detections(candidates: Candidates) -> IntArray:
    """Return the candidates' rows as the tables have them: most detections first."""
    members = candidates.members
    count = np.bincount(members.owner[candidates.used], minlength=len(members))
    return np.lexsort((members.obs_index[members.first[:-1]], candidates.orbits.fitted.chi2, -count))


def _tables(survey: PreparedSurvey, candidates: Candidates, settings: EngineSettings) -> dict[str, pa.Table]:
    members = candidates.members
    rows = astrometry_rows(survey, members.obs_index)
    orbits = with_other_minima(
        rows,
        members.first,
        candidates.orbits,
        settings.orbit_determination,
        min_observations=settings.cluster_and_link.min_observations,
    )
    orbit_ids = ids_from_members(survey.obs_ids, members, "r")
    force_models = orbits.force_models(settings.orbit_determination)
    names = {"orbit_id": orbit_ids, "cluster_id": candidates.cluster_ids, "force_model": force_models}
    return {
        "recovered_orbits": determined_orbits_table(survey, members, orbits, names, RECOVERED_ORBITS),
        "recovered_orbit_members": members_table(survey, members, orbits.fitted, orbit_ids, RECOVERED_ORBIT_MEMBERS),
    }
