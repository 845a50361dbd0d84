"""Small seeded surveys of each population, truth by ASSIST: what the engine recovers of what can be found."""

from dataclasses import replace

import pytest

from tasks.engines.registry import engine_by_name
from tasks.engines.score import CONTAMINATED, FALSE, score_orbits
from tasks.engines.settings import EngineSettings
from tests.bench.cases import CASES
from tests.bench.measure import mahalanobis_squares
from tests.bench.survey import generate_survey
from tests.support.linking import run_stages

SMALL = replace(CASES["20k"], name="small", orbits=40, detections=2000)

MISSES_ALLOWED = {
    "main_belt": 0,
    "hungaria": 0,
    "trojan": 0,
    "near_earth": 0,
    "interior": 1,
    "centaur": 0,
    "outer": 0,
    "hyperbolic": 0,
}
"""Of about 25 findable objects. One interior object may be lost beside Venus, where two bodies are no first orbit."""


@pytest.mark.parametrize("population", MISSES_ALLOWED)
def test_each_population_is_recovered_pure_and_once(population):
    survey = generate_survey(replace(SMALL, population=population), seed=11)
    settings = EngineSettings()

    tables = run_stages(engine_by_name("builtin"), survey.observations, survey.test_orbits, settings)

    score = score_orbits(
        survey.observations, survey.truth, tables["recovered_orbit_members"], settings=settings.cluster_and_link
    )
    assert score.findable >= 15
    assert score.findable - score.recovered <= MISSES_ALLOWED[population]
    assert score.objects_with_one_orbit == score.recovered
    assert score.count(FALSE) == 0
    assert score.count(CONTAMINATED) == 0


@pytest.mark.parametrize("population", ["main_belt", "hungaria", "near_earth"])
def test_covariances_are_honest(population):
    survey = generate_survey(replace(SMALL, population=population, detections=1000), seed=12)
    settings = EngineSettings()

    tables = run_stages(engine_by_name("builtin"), survey.observations, survey.test_orbits, settings)

    squares = sorted(mahalanobis_squares(survey, survey.observations, tables, settings))
    median = squares[len(squares) // 2]
    assert 3.8 < median < 7.2  # 5.35 for 6 degrees of freedom, give or take three sigmas of the median of 25
