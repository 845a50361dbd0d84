"""Stage 3: a first orbit, two bodies, for each cluster, started at the test orbit's distance from the Sun.

Beside a planet two bodies do not do, not even for a sieve: there the full force model makes the first orbit.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.n_body import TWO_BODY, description, force_model_named
from tasks.engines.builtin.fitting.astrometry import astrometry_rows
from tasks.engines.builtin.fitting.determination import FitStart, determine_orbits
from tasks.engines.builtin.fitting.first_state import first_states
from tasks.engines.builtin.fitting.fitted_orbits import FitLimits, FittedOrbits, with_replaced
from tasks.engines.builtin.fitting.gauss_start import MOST_ROOTS, gauss_states, gauss_triplet
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tasks.engines.builtin.fitting.members import Members, ids_from_members, members_of
from tasks.engines.builtin.fitting.n_body_shifts import are_stretched
from tasks.engines.builtin.fitting.orbit_tables import (
    first_orbits_table,
    members_from_table,
    members_table,
    nights_and_arcs,
    reduced_chi2,
)
from tasks.engines.builtin.fitting.redundant import are_redundant
from tasks.engines.builtin.fitting.shared_epochs import shared_epochs
from tasks.engines.builtin.fitting.track_limits import are_orbits
from tasks.engines.builtin.fitting.two_orbits import allow_two_orbits
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.interface import LinkingProblem, StageResult, Tables
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import IOD_ORBIT_MEMBERS, IOD_ORBITS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OUTLIER_REDUCED_CHI2 = 20.0
"""A detection is an outlier here when its chi^2 is this multiple of the largest reduced chi^2: grossly out."""

OTHER_DISTANCES = (0.8, 1.25, 0.6, 1.6)
"""Multiples of the test orbit's distance from the Sun from which a cluster is tried that did not fit from there, or
that two orbits may fit."""

LEFT_BY_PLANETS = 0.7
"""Share of the chi^2 of a two-body fit beside a planet that is left, at most, when the planets' pull is added to it.
Of 1 974 false clusters beside the Earth 16 kept less. Of 98 true objects 0.003 to 0.03 au from it that the full force
model fits, all did: at most 0.47, half of them less than 0.02."""


def initial_orbit_determination(problem: LinkingProblem, tables: Tables) -> StageResult:
    """Give each cluster a first orbit; see `tasks.engines.interface.Engine`."""
    survey: PreparedSurvey = problem.survey
    clusters = tables["clusters"]
    members = members_from_table(tables["cluster_members"], "cluster_index", len(clusters))
    n_clusters = len(members)
    fitted = _fit_from_the_test_orbit(problem, members)
    new = np.flatnonzero(~are_redundant(survey, members, fitted, problem.settings))
    fitted, members = fitted.only(new, members_of(members.first, new)[0]), members.of(new)
    clusters = clusters.take(pa.array(new))
    n_failed = int((~_fits(members, fitted, problem.settings)).sum())
    by_gauss = np.zeros(len(members), np.bool_)
    if problem.settings.initial_orbit_determination.fallback:
        fitted = _fit_from_other_distances(problem, members, fitted)
        fitted, by_gauss = _fit_from_gauss(problem, members, fitted)
    fitted, by_n_body = _fit_beside_planets(problem, members, fitted)
    good = np.flatnonzero(
        are_orbits(survey, members, fitted, problem.settings.cluster_and_link, _limits(problem.settings))
    )
    kept, rows = members.of(good), members_of(members.first, good)[0]
    fitted = fitted.only(good, rows)
    orbit_ids = ids_from_members(survey.obs_ids, kept, "o")
    model = description(force_model_named(problem.settings.orbit_determination.force_model))
    names = {
        "orbit_id": orbit_ids,
        "cluster_id": clusters["cluster_id"].take(pa.array(good)).to_pylist(),
        "force_model": [model if n_body else TWO_BODY for n_body in by_n_body[good]],
    }
    used_by_gauss = _triplets(survey, kept, np.flatnonzero(by_gauss[good]))
    return StageResult(
        {
            "iod_orbits": first_orbits_table(survey, kept, fitted, names, IOD_ORBITS),
            "iod_orbit_members": members_table(
                survey, kept, fitted, orbit_ids, IOD_ORBIT_MEMBERS, {"gauss_sol": used_by_gauss}
            ),
        },
        {
            "clusters": n_clusters,
            "redundant": n_clusters - len(clusters),
            "tried_other_starts": n_failed,
            "by_gauss": int(by_gauss[good].sum()),
            "beside_planets": int(by_n_body[good].sum()),
            "iod_orbits": len(good),
        },
    )


def _fit_from_the_test_orbit(problem: LinkingProblem, members: Members) -> FittedOrbits:
    """Fit every cluster, starting with its detections at the test orbit's distance from the Sun."""
    survey: PreparedSurvey = problem.survey
    _, low, high = nights_and_arcs(survey, members, np.ones(len(members.obs_index), np.bool_))
    epochs = shared_epochs(low, high, problem.settings.orbit_determination.epoch_window_days)
    rows = astrometry_rows(survey, members.obs_index)
    radius, distance = _test_orbit_distances(problem, members)
    states = first_states(rows, members.first, radius, distance, epochs)
    return fit_orbits(rows, members.first, states, epochs, _limits(problem.settings))


def _test_orbit_distances(problem: LinkingProblem, members: Members) -> tuple[FloatArray, FloatArray]:
    """Return the test orbit's distances from Sun and observer at each member, au, each shape (m,)."""
    survey: PreparedSurvey = problem.survey
    path = path_of_orbit(orbit_from_table(problem.test_orbit), survey)
    exposure = survey.exposure[members.obs_index]
    return np.linalg.norm(path.states[:, :3], axis=1)[exposure], path.distance[exposure]


def _fit_from_other_distances(problem: LinkingProblem, members: Members, fitted: FittedOrbits) -> FittedOrbits:
    ambiguous = allow_two_orbits(astrometry_rows(problem.survey, members.obs_index), members.first)
    for factor in OTHER_DISTANCES:
        doubtful = np.flatnonzero(ambiguous | ~_fits(members, fitted, problem.settings))
        if len(doubtful) == 0:
            break
        own = members.of(doubtful)
        radius, distance = _test_orbit_distances(problem, own)
        rows = astrometry_rows(problem.survey, own.obs_index)
        states = first_states(rows, own.first, factor * radius, factor * distance, fitted.epoch[doubtful])
        fitted = _better_of(problem, members, fitted, doubtful, states)
    return fitted


def _fit_from_gauss(problem: LinkingProblem, members: Members, fitted: FittedOrbits) -> tuple[FittedOrbits, BoolArray]:
    """Fit from Gauss's orbits the clusters for which no minimum was found; return also which are better for it.

    Where a minimum was found and is bad, the cluster is false: another start would find the same.
    """
    failed = np.flatnonzero(~_fits(members, fitted, problem.settings) & ~fitted.converged)
    before = fitted.chi2.copy()
    if len(failed) > 0:
        states = gauss_states(problem.survey, members, failed, fitted.epoch)
        for root in range(MOST_ROOTS):
            there = np.isfinite(states[:, root]).all(axis=1)
            fitted = _better_of(problem, members, fitted, failed[there], states[there, root])
    return fitted, fitted.chi2 < before


def _fit_beside_planets(
    problem: LinkingProblem, members: Members, fitted: FittedOrbits
) -> tuple[FittedOrbits, BoolArray]:
    """Fit with the full force model what two bodies do not fit beside a planet; return also which are better for it.

    Most of them are false clusters. So the planets' pull is added to the two-body orbit first: of a true object's chi^2
    most goes at once. Only then is it computed how the pull changes with the orbit, which is six times the work.
    """
    by_n_body = np.zeros(len(members), np.bool_)
    failed = np.flatnonzero(~_fits(members, fitted, problem.settings) & np.isfinite(fitted.state).all(axis=1))
    near = failed[are_stretched(fitted.state[failed], fitted.epoch[failed])]
    if problem.settings.orbit_determination.force_model == TWO_BODY or len(near) == 0:
        return fitted, by_n_body
    sieved = _with_planets(problem, members.of(near), fitted, near, passes=1, with_slopes=False)
    near = near[sieved.chi2 < LEFT_BY_PLANETS * fitted.chi2[near]]
    if len(near) == 0:
        return fitted, by_n_body
    own = members.of(near)
    again = _with_planets(problem, own, fitted, near, passes=2, with_slopes=True)
    better = np.flatnonzero(again.chi2 < fitted.chi2[near])
    by_n_body[near[better]] = True
    rows, own_rows = members_of(members.first, near[better])[0], members_of(own.first, better)[0]
    return with_replaced(fitted, again.only(better, own_rows), near[better], rows), by_n_body


def _with_planets(
    problem: LinkingProblem, own: Members, fitted: FittedOrbits, orbits: IntArray, *, passes: int, with_slopes: bool
) -> FittedOrbits:
    """Fit some orbits, with their own members, from where two bodies ended, rejecting nothing."""
    settings = problem.settings
    return determine_orbits(
        astrometry_rows(problem.survey, own.obs_index),
        own.first,
        FitStart(fitted.state[orbits], fitted.epoch[orbits], with_slopes=with_slopes),
        replace(settings.orbit_determination, max_n_body_passes=passes, max_outlier_fraction=0.0),
        min_observations=settings.cluster_and_link.min_observations,
    ).fitted


def _better_of(
    problem: LinkingProblem, members: Members, fitted: FittedOrbits, orbits: IntArray, states: FloatArray
) -> FittedOrbits:
    """Fit some orbits from other states, and take the new fit where it is better than the old one.

    Nothing is rejected here: most clusters that come are false, and rejecting is what costs.
    """
    own = members.of(orbits)
    rows = astrometry_rows(problem.survey, own.obs_index)
    limits = replace(_limits(problem.settings), max_outlier_fraction=0.0)
    again = fit_orbits(rows, own.first, states, fitted.epoch[orbits], limits)
    better = np.flatnonzero(again.chi2 < fitted.chi2[orbits])
    return with_replaced(
        fitted,
        again.only(better, members_of(own.first, better)[0]),
        orbits[better],
        members_of(members.first, orbits[better])[0],
    )


def _triplets(survey: PreparedSurvey, members: Members, orbits: IntArray) -> NDArray[np.int8]:
    """Mark the three detections that Gauss's method took of some orbits, shape (m,)."""
    taken = np.zeros(len(members.obs_index), np.int8)
    for orbit in orbits:
        begin, end = members.first[orbit], members.first[orbit + 1]
        taken[begin + gauss_triplet(survey, members.obs_index[begin:end])] = 1
    return taken


def _limits(settings: EngineSettings) -> FitLimits:
    own = settings.initial_orbit_determination
    return FitLimits(
        max_iterations=own.max_iterations,
        max_reduced_chi2=own.max_reduced_chi2,
        min_probability=0.0,
        outlier_chi2=OUTLIER_REDUCED_CHI2 * own.max_reduced_chi2,
        max_outlier_fraction=own.max_outlier_fraction,
        min_observations=settings.cluster_and_link.min_observations,
    )


def _fits(members: Members, fitted: FittedOrbits, settings: EngineSettings) -> BoolArray:
    fits: BoolArray = reduced_chi2(members, fitted) <= settings.initial_orbit_determination.max_reduced_chi2
    return fits
