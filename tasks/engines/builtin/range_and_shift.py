"""Stage 1: keep the cell around the test orbit, assume its distance, and project on its co-rotating plane.

Source: Moeyens et al. 2021, AJ 162, 143, section 2. Exposures are independent: blocks of them are mapped.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import rotations_to_test_orbit
from tasks.engines.builtin.linking.bounds import has_high_phase_angle
from tasks.engines.builtin.linking.orbit_path import (
    OrbitPath,
    OrbitState,
    basis_across,
    count_on_two_bodies,
    orbit_from_table,
    path_of_orbit,
    rotations_across,
    sky_covariances,
)
from tasks.engines.builtin.linking.projection import project_block
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.interface import LinkingProblem, StageResult, Tables
from tasks.engines.tables import PROJECTED_OBSERVATIONS

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class ExposureBlock:
    """Some consecutive exposures with their n detections: plain arrays, so that it can go to another machine."""

    #: shape (k + 1,): detections of exposure j of the block are rows start[j] to start[j + 1].
    start: IndexArray
    #: shape (n, 3) and (n, 2): where the detections are seen, and their sigmas, radians.
    line_of_sight: FloatArray
    sigma_rad: FloatArray
    #: shape (k, 3): observers, au.
    observer_position: FloatArray
    #: shape (k, 6): test orbit; shape (k, 3, 3): rotations to its frame, or to that of the plane across the line of
    #: sight; shape (k,): its distance, au.
    states: FloatArray
    rotations: FloatArray
    distance: FloatArray
    #: shape (k, 3, 3): line of sight to the test orbit, and two directions across it.
    cell_axes: FloatArray
    #: shape (k, 2, 2), radians^2: covariance of the test orbit on the sky; zeros with a radius.
    cell_covariance: FloatArray
    #: The cell's edge: cosine of its radius, or (negative) minus its squared Mahalanobis distance.
    cell_edge: float
    #: Whether the plane across the line of sight is the place to project on, instead of the test orbit's sphere.
    high_phase_angle: bool


@dataclass(frozen=True)
class ProjectedBlock:
    """Detections of a block that are in the cell."""

    #: shape (m,): rows in the block.
    rows: IndexArray
    #: shape (m, 2): deg.
    theta_deg: FloatArray
    #: Detections in the cell that no object at the test orbit's distance from the Sun could have.
    n_out_of_reach: int


def range_and_shift(problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG001 (the first stage)
    """Keep the detections in the cell and project them; see `tasks.engines.interface.Engine`."""
    survey: PreparedSurvey = problem.survey
    orbit = orbit_from_table(problem.test_orbit)
    path = path_of_orbit(orbit, survey)
    obs_index, theta_deg, out_of_reach = _projected(problem, orbit, path, high_phase_angle=False)
    if has_high_phase_angle(path.at(np.unique(survey.exposure[obs_index]))):
        obs_index, theta_deg, out_of_reach = _projected(problem, orbit, path, high_phase_angle=True)
    counts = {
        "observations": survey.n_detections,
        "exposures": survey.n_exposures,
        # So far from the test orbit's epoch that the planets were not followed: see `orbit_path`.
        "exposures_on_two_bodies": count_on_two_bodies(orbit, survey),
        "out_of_reach": out_of_reach,
        "projected_observations": len(obs_index),
    }
    return StageResult({"projected_observations": _table(survey, path, obs_index, theta_deg)}, counts)


def _projected(
    problem: LinkingProblem, orbit: OrbitState, path: OrbitPath, *, high_phase_angle: bool
) -> tuple[IndexArray, FloatArray, int]:
    """Return the detections in the cell, their places in the plane, and how many are out of reach."""
    blocks = _blocks(problem, orbit, path, high_phase_angle=high_phase_angle)
    projected = problem.map_blocks(project_exposures, blocks)
    firsts = np.cumsum([0, *(len(block.line_of_sight) for block in blocks)])
    rows = [block.rows + first for block, first in zip(projected, firsts[:-1], strict=True)]
    return (
        problem.survey.by_exposure[np.concatenate(rows)],
        np.concatenate([block.theta_deg for block in projected]),
        sum(block.n_out_of_reach for block in projected),
    )


def project_exposures(block: ExposureBlock) -> ProjectedBlock:
    """Do one block: the function that dask maps."""
    rows = np.empty(len(block.line_of_sight), dtype=np.int32)
    theta_deg = np.empty((len(rows), 2))
    kept, out_of_reach = project_block(
        block.start,
        block.line_of_sight,
        block.sigma_rad,
        block.observer_position,
        block.states,
        block.rotations,
        block.distance,
        block.cell_axes,
        block.cell_covariance,
        block.cell_edge,
        block.high_phase_angle,
        rows,
        theta_deg,
    )
    return ProjectedBlock(rows[:kept].copy(), theta_deg[:kept].copy(), out_of_reach)


def _blocks(
    problem: LinkingProblem, orbit: OrbitState, path: OrbitPath, *, high_phase_angle: bool
) -> list[ExposureBlock]:
    """Cut the survey into blocks. They are views of its arrays where its rows are in order of exposure."""
    survey: PreparedSurvey = problem.survey
    settings = problem.settings.range_and_shift
    first_axis, second_axis = basis_across(path.line_of_sight)
    cell_axes = np.stack([path.line_of_sight, first_axis, second_axis], axis=1)
    if orbit.covariance is None:
        covariances = np.zeros((survey.n_exposures, 2, 2))
        cell_edge = float(np.cos(np.radians(settings.cell_radius_deg)))
    else:
        covariances = sky_covariances(orbit, path, first_axis, second_axis)
        cell_edge = -(float(settings.cell_mahalanobis) ** 2)
    rotations = rotations_across(path) if high_phase_angle else rotations_to_test_orbit(path.states)
    line_of_sight = _in_order_of_exposure(survey, survey.line_of_sight)
    sigma_rad = np.column_stack(
        [_in_order_of_exposure(survey, sigma) for sigma in (survey.sigma_ra_rad, survey.sigma_dec_rad)]
    )
    blocks = []
    for low in range(0, survey.n_exposures, settings.exposures_per_block):
        exposures = slice(low, min(low + settings.exposures_per_block, survey.n_exposures))
        start = survey.exposure_start[low : exposures.stop + 1]
        detections = slice(start[0], start[-1])
        blocks.append(
            ExposureBlock(
                start=start - start[0],
                line_of_sight=line_of_sight[detections],
                sigma_rad=sigma_rad[detections],
                observer_position=survey.observer_position[exposures],
                states=path.states[exposures],
                rotations=rotations[exposures],
                distance=path.distance[exposures],
                cell_axes=cell_axes[exposures],
                cell_covariance=covariances[exposures],
                cell_edge=cell_edge,
                high_phase_angle=high_phase_angle,
            )
        )
    return blocks


def _in_order_of_exposure(survey: PreparedSurvey, values: FloatArray) -> FloatArray:
    if (np.diff(survey.by_exposure) == 1).all():
        return values
    return values[survey.by_exposure]


def _table(survey: PreparedSurvey, path: OrbitPath, obs_index: IndexArray, theta_deg: FloatArray) -> pa.Table:
    exposure = survey.exposure[obs_index]
    rows = pa.array(obs_index)
    observer, orbit = survey.observer_position[exposure], path.states[exposure, :3]
    columns = {
        "obs_index": rows,
        "obs_id": survey.obs_ids.take(rows),
        "mjd_utc": survey.exposure_mjd_utc[exposure],
        "RA_deg": survey.ra_deg[obs_index],
        "Dec_deg": survey.dec_deg[obs_index],
        "RA_sigma_deg": np.degrees(survey.sigma_ra_rad[obs_index]),
        "Dec_sigma_deg": np.degrees(survey.sigma_dec_rad[obs_index]),
        "observatory_code": survey.observatory_codes.take(rows).cast(pa.string()),
        **{f"obs_{axis}": observer[:, k] for k, axis in enumerate("xyz")},
        **{f"obj_{axis}": orbit[:, k] for k, axis in enumerate("xyz")},
        "theta_x_deg": theta_deg[:, 0],
        "theta_y_deg": theta_deg[:, 1],
    }
    return pa.table(columns, schema=PROJECTED_OBSERVATIONS)
