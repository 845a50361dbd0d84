"""Stage 2: find sets of detections on smooth tracks in the test orbit's plane."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.linking.bounds import (
    bounds_of_path,
    has_high_phase_angle,
    secant_of_phase_angle,
    with_spreads_of_covariance,
)
from tasks.engines.builtin.linking.buckets import make_buckets
from tasks.engines.builtin.linking.cluster_tables import ProjectedDetections, cluster_tables
from tasks.engines.builtin.linking.find_tracks import Tracks, find_tracks
from tasks.engines.builtin.linking.orbit_path import OrbitPath, orbit_from_table, path_of_orbit
from tasks.engines.builtin.linking.stationary import are_stationary
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import LinkingProblem, StageResult, Tables

FloatArray = NDArray[np.float64]

SMALLEST_SIGMA_DEG = 0.02 / 3600.0
"""No astrometry is better than the catalogue of stars it rests on, whatever it says of itself."""


def cluster_and_link(problem: LinkingProblem, tables: Tables) -> StageResult:
    """Find the clusters; see `tasks.engines.interface.Engine`."""
    survey: PreparedSurvey = problem.survey
    path = path_of_orbit(orbit_from_table(problem.test_orbit), survey)
    everything = tables["projected_observations"]
    fewest_nights = problem.settings.cluster_and_link.stationary_nights
    stationary = are_stationary(survey, path, everything["obs_index"].to_numpy(), fewest_nights)
    projected = _projected(survey, everything.filter(pa.array(~stationary)) if stationary.any() else everything)
    algorithm = problem.settings.cluster_and_link.algorithm
    if algorithm not in FINDERS:
        raise EngineInputError(
            f"Setting 'cluster_and_link.algorithm' is {algorithm!r}: expected one of {', '.join(FINDERS)}."
        )
    enough = len(projected.x) >= problem.settings.cluster_and_link.min_observations
    tracks = FINDERS[algorithm](problem, path, projected) if enough else _NO_TRACKS
    made = cluster_tables(projected, tracks.members, tracks.start)
    names = ("pairs", "thirds", "followed", "grown")
    counts = {
        "projected_observations": len(everything),
        "stationary": int(stationary.sum()),
        **dict(zip(names, (int(count) for count in tracks.counts), strict=False)),
        "clusters": len(made["clusters"]),
        "cluster_members": len(made["cluster_members"]),
    }
    return StageResult(made, counts)


def _projected(survey: PreparedSurvey, table: pa.Table) -> ProjectedDetections:
    obs_index = table["obs_index"].to_numpy()
    exposure = survey.exposure[obs_index]
    times = survey.exposure_mjd_tdb
    epoch = float(0.5 * (times[0] + times[-1]))
    return ProjectedDetections(
        obs_ids=table["obs_id"].combine_chunks(),
        obs_index=obs_index,
        x=table["theta_x_deg"].to_numpy(),
        y=table["theta_y_deg"].to_numpy(),
        t=(times - epoch)[exposure],
        night=survey.exposure_night[exposure],
        sky_night=survey.exposure_sky_night[exposure],
        epoch=epoch,
    )


def _by_pairs(problem: LinkingProblem, path: OrbitPath, projected: ProjectedDetections) -> Tracks:
    """Follow tracks from pairs; the bounds come from the test orbit at the exposures that its cell meets."""
    survey: PreparedSurvey = problem.survey
    met = np.unique(survey.exposure[projected.obs_index])
    settings = with_spreads_of_covariance(
        problem.settings.cluster_and_link,
        orbit_from_table(problem.test_orbit),
        path.at(met),
        problem.settings.range_and_shift.cell_mahalanobis,
    )
    bounds = bounds_of_path(path.at(met), survey.observer_position[met], survey.observer_velocity[met], settings)
    buckets = make_buckets(
        projected.x,
        projected.y,
        survey.exposure[projected.obs_index],
        _variances(survey, path, projected),
        exposure_time=survey.exposure_mjd_tdb - projected.epoch,
        exposure_night=survey.exposure_night,
        exposure_sky_night=survey.exposure_sky_night,
        speed=bounds.speed,
    )
    return find_tracks(buckets, bounds, settings, problem.map_blocks)


def _variances(survey: PreparedSurvey, path: OrbitPath, projected: ProjectedDetections) -> FloatArray:
    """Variance of a plane coordinate, deg^2: an angle at the observer is rho / r of it at the Sun, or more."""
    rows = projected.obs_index
    scale = path.distance / np.linalg.norm(path.states[:, :3], axis=1)
    if not has_high_phase_angle(path.at(np.unique(survey.exposure[rows]))):
        scale = scale * secant_of_phase_angle(path)
    sky = 0.5 * (survey.sigma_ra_rad[rows] ** 2 + survey.sigma_dec_rad[rows] ** 2)
    sky = np.maximum(np.degrees(np.degrees(sky)), SMALLEST_SIGMA_DEG**2)
    variances: FloatArray = sky * scale[survey.exposure[rows]] ** 2
    return variances


def _by_velocity_grid(
    problem: LinkingProblem,
    path: OrbitPath,  # noqa: ARG001 (a grid asks nothing of the test orbit)
    projected: ProjectedDetections,
) -> Tracks:
    # scipy's trees and graphs take 30 MB, which no worker shall pay for a comparison that it does not make.
    from tasks.engines.builtin.linking.velocity_grid import clusters_of_velocity_grid  # noqa: PLC0415

    return clusters_of_velocity_grid(projected, problem.settings.cluster_and_link)


FINDERS = {"pairs": _by_pairs, "velocity-grid": _by_velocity_grid}

_NO_TRACKS = Tracks(np.empty(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64))
