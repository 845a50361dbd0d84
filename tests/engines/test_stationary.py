"""Sources that stand still are left out before linking; objects are not, however slow."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.builtin.cluster_and_link import cluster_and_link
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit
from tasks.engines.builtin.linking.stationary import are_stationary, shortest_span_days
from tasks.engines.builtin.range_and_shift import range_and_shift
from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.interface import LinkingProblem
from tasks.engines.settings import EngineSettings
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey

SETTINGS = EngineSettings()
SMALL = replace(CASES["20k"], name="small", orbits=40, detections=2000)
SIGMA_DEG = 0.1 / 3600


def prepared(population="main_belt", **changes):
    bench = generate_survey(replace(SMALL, population=population, **changes), seed=3)
    survey = prepare_survey(bench.observations, SETTINGS)
    return bench, survey, path_of_orbit(orbit_from_table(bench.test_orbits), survey)


@pytest.fixture(scope="module")
def sky():
    return prepared()


def with_star(survey: PreparedSurvey, rows: np.ndarray, offsets_sigmas: np.ndarray) -> PreparedSurvey:
    """The survey with some detections put to the place of the first of them, but for small offsets east."""
    toward = survey.line_of_sight.copy()
    shifted = survey.line_of_sight[rows[0]] + np.radians(SIGMA_DEG) * offsets_sigmas[:, None] * survey.east[rows[0]]
    toward[rows] = shifted / np.linalg.norm(shifted, axis=1)[:, None]
    return replace(survey, line_of_sight=toward)


def one_of_each_night(survey: PreparedSurvey, nights: range) -> np.ndarray:
    return np.array([np.flatnonzero(survey.exposure_night[survey.exposure] == night)[0] for night in nights])


def found(survey, path, fewest_nights=3):
    everything = np.arange(survey.n_detections, dtype=np.int32)
    return np.flatnonzero(are_stationary(survey, path, everything, fewest_nights)).tolist()


def test_a_place_that_shows_a_detection_on_three_nights_stands_still(sky):
    _, survey, path = sky
    rows = one_of_each_night(survey, range(3))

    assert found(with_star(survey, rows, np.array([0.0, 1.5, -1.5])), path) == rows.tolist()


def test_two_nights_are_not_enough_and_the_setting_says_how_many_are(sky):
    _, survey, path = sky
    star = with_star(survey, one_of_each_night(survey, range(2)), np.zeros(2))

    assert found(star, path) == []
    assert len(found(star, path, fewest_nights=2)) == 2
    assert found(star, path, fewest_nights=0) == []


def test_what_moves_by_more_than_the_noise_does_not_stand_still(sky):
    _, survey, path = sky
    rows = one_of_each_night(survey, range(4))

    # 3.5 sigmas of a difference of two places are 4.9 of one
    assert found(with_star(survey, rows, np.array([0.0, 6.0, 12.0, 18.0])), path) == []


def test_a_star_is_found_wherever_it_is_on_the_sky(sky):
    """The grid of the search has no pole, no seam and no border that would hide a neighbour."""
    _, survey, path = sky
    rng = np.random.default_rng(7)
    rows = one_of_each_night(survey, range(5))
    for _ in range(50):
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turned = replace(survey, line_of_sight=survey.line_of_sight @ axes.T, east=survey.east @ axes.T)
        assert found(with_star(turned, rows, rng.uniform(-1.0, 1.0, 5)), path) == rows.tolist()


def test_an_uncertain_detection_elsewhere_makes_no_star_wait_longer(sky):
    _, survey, path = sky
    rows = one_of_each_night(survey, range(3))
    star = with_star(survey, rows, np.zeros(3))
    elsewhere = np.setdiff1d(np.arange(survey.n_detections), rows)[-1]
    sigma = np.where(np.arange(survey.n_detections) == elsewhere, np.radians(3.0 / 3600), survey.sigma_ra_rad)

    far = replace(path, distance=path.distance * 4.0)
    assert found(star, far) == found(replace(star, sigma_ra_rad=sigma, sigma_dec_rad=sigma), far) == rows.tolist()


@pytest.mark.parametrize("population", ["main_belt", "outer", "near_earth"])
def test_no_object_stands_still(population):
    bench, survey, path = prepared(population)

    objects = np.array(bench.truth["object_id"].to_pylist(), dtype=object)
    assert [name for name in objects[found(survey, path)] if name is not None] == []


def test_distant_objects_get_the_time_to_show_that_they_move():
    observer = np.array([[1.0, 0.0, 0.0]])
    reach = np.radians(0.5 / 3600)

    spans = [shortest_span_days(observer, np.array([distance]), reach) for distance in (1.6, 40.0, 160.0)]

    # a = pull / (2 distance): 19"/d^2 at 1.6 au; 3 x 0.5" = a tau^2 / 2 on each side
    assert spans[0] == pytest.approx(2 * np.sqrt(2 * 1.5 / 19.1), rel=0.01)
    assert spans[1] == pytest.approx(5.0 * spans[0])
    assert spans[2] == pytest.approx(2.0 * spans[1])


def test_stars_are_counted_and_make_no_clusters():
    bench, survey, _ = prepared(detections=6000, stationary=0.7)
    counts = {}
    for nights in (0, 3):
        linking = replace(SETTINGS.cluster_and_link, stationary_nights=nights)
        problem = LinkingProblem(survey, bench.test_orbits, replace(SETTINGS, cluster_and_link=linking))
        counts[nights] = cluster_and_link(problem, range_and_shift(problem, {}).tables).counts

    false = bench.truth["object_id"].null_count
    assert counts[0]["stationary"] == 0
    assert counts[3]["stationary"] == pytest.approx(0.7 * false, rel=0.05)
    assert counts[3]["projected_observations"] == counts[0]["projected_observations"]
    assert counts[3]["clusters"] < 0.3 * counts[0]["clusters"]
