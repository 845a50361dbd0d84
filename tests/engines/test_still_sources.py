"""A star is no orbit: what a place that stands still fits as well is not reported."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.builtin.fitting.fitted_orbits import FitLimits
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.fitting.still_sources import are_still, chi2_of_places
from tasks.engines.builtin.fitting.track_limits import are_orbits
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.settings import EngineSettings
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey
from tests.engines.fitting_sky import DISTANT, EPOCH, KINDS, nights, rows_of

TIMES = nights(4, every=1.0)
LIMITS = FitLimits(
    max_iterations=40,
    max_reduced_chi2=5.0,
    min_probability=1e-4,
    outlier_chi2=25.0,
    max_outlier_fraction=0.25,
    min_observations=6,
)


def noise(seed: int, count: int = len(TIMES)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2))


def still_in_space(distance_au: float) -> np.ndarray:
    """A body that hardly moves, at a distance from the Sun."""
    return distance_au * np.array([0.9, 0.43, 0.05, 1e-9, 1e-9, 1e-9])


def chi2_of(rows: np.ndarray) -> float:
    return float(chi2_of_places(rows, np.array([0, len(rows)]), np.ones(len(rows), np.bool_))[0])


@pytest.mark.parametrize("distance", [1e7, 1e5, 1500.0])
def test_a_place_fits_what_stands_still_in_space_within_the_noise(distance):
    chi2 = [chi2_of(rows_of(still_in_space(distance), TIMES, noise_sigmas=noise(seed))) for seed in range(20)]

    # 16 coordinates less two or three parameters
    assert np.mean(chi2) == pytest.approx(13.5, abs=3.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_does_not_fit_what_moves(kind):
    assert chi2_of(rows_of(KINDS[kind], TIMES)) > 1e4


def test_a_place_nearer_than_any_orbit_may_be_is_not_tried():
    assert chi2_of(rows_of(still_in_space(100.0), TIMES)) > 1e4


def test_detections_that_are_not_in_use_do_not_count():
    rows = rows_of(still_in_space(1e7), TIMES, noise_sigmas=np.where(np.arange(8) == 3, 500.0, 0.0)[:, None])
    used = np.arange(8) != 3

    assert chi2_of_places(rows, np.array([0, 8]), used)[0] == pytest.approx(0.0, abs=1e-3)
    assert chi2_of(rows) > 1e4


def test_an_orbit_that_goes_along_with_the_earth_is_not_taken_for_an_object():
    """Detections of one place on several nights, and the orbit that fits them best, from as far as 148 au."""
    survey = prepare_survey(
        generate_survey(replace(CASES["20k"], orbits=5, detections=400), seed=3).observations, EngineSettings()
    )
    exposures = np.array([np.flatnonzero(survey.exposure_night == night)[0] for night in (0, 1, 2, 4)])
    rows = np.array([np.flatnonzero(survey.exposure == each)[0] for each in exposures for _ in range(2)], np.int32)
    members = Members(rows, np.array([0, len(rows)]))
    toward = survey.line_of_sight.copy()
    toward[rows] = survey.line_of_sight[rows[0]]
    star = replace(
        survey,
        line_of_sight=toward,
        east=np.tile(survey.east[rows[0]], (len(toward), 1)),
        north=np.tile(survey.north[rows[0]], (len(toward), 1)),
    )
    from tasks.engines.builtin.fitting.astrometry import astrometry_rows  # noqa: PLC0415

    astrometry = astrometry_rows(star, members.obs_index)
    distant = astrometry[0, 1:4] + 148.0 * astrometry[0, 4:7]
    with_the_earth = np.concatenate([distant, survey.observer_velocity[exposures[0]]])
    fitted = fit_orbits(astrometry, members.first, with_the_earth[None], astrometry[:1, 0], LIMITS)

    assert are_still(star, members, fitted).tolist() == [True]
    linking = replace(EngineSettings().cluster_and_link, min_observations=6)
    assert are_orbits(star, members, fitted, linking, LIMITS).tolist() == [False]


def test_a_distant_object_is_told_from_a_star():
    rows = rows_of(DISTANT, TIMES, noise_sigmas=noise(1))
    fitted = fit_orbits(rows, np.array([0, len(rows)]), DISTANT[None], np.array([EPOCH]), LIMITS)

    assert fitted.chi2[0] < 0.001 * chi2_of(rows)
