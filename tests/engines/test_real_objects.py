"""The 28 real objects, with positions by JPL Horizons: each is recovered from its own orbit, and from a wrong one."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.demo import DemoProblem, demo_problem, real_orbits
from tasks.engines.interface import Engine
from tasks.engines.registry import engine_by_name
from tasks.engines.score import CONTAMINATED, FALSE, Score, score_orbits
from tasks.engines.settings import EngineSettings
from tests.support.linking import moved_to, run_prepared, wrong_by

OBJECTS = tuple(real_orbits()["orbit_id"].to_pylist())

SETTINGS = EngineSettings()


@dataclass(frozen=True, eq=False)
class Sky:
    demo: DemoProblem
    survey: PreparedSurvey
    engine: Engine
    #: Object -> middle of its observations, MJD UTC.
    middle: dict[str, float]

    @cache  # noqa: B019 (as many as there are tests, and skies live as long as they do)
    def recovery(self, name: str, *, wrong: float = 0.0, seed: int = 0) -> tuple[Score, float]:
        """The score, and the share of the object's observations that its orbit has."""
        test_orbit = self.demo.test_orbits.slice(OBJECTS.index(name), 1)
        if wrong:
            rng = np.random.default_rng([seed, round(wrong * 1000)])
            test_orbit = wrong_by(moved_to(test_orbit, self.middle[name]), wrong, rng)
        tables = run_prepared(self.engine, self.survey, test_orbit, SETTINGS)
        score = score_orbits(
            self.demo.observations,
            self.demo.truth,
            tables["recovered_orbit_members"],
            settings=SETTINGS.cluster_and_link,
        )
        row = next(row for row in score.objects.to_pylist() if row["object_id"] == name)
        return score, row["recovered_obs"] / row["expected_obs"] if row["recovered"] else 0.0


@cache
def sky(seed: int, days: float = 14.0) -> Sky:
    demo = demo_problem(seed=seed, days=days)
    engine = engine_by_name("builtin")
    frame = demo.observations.to_pandas().assign(object_id=demo.truth["object_id"].to_pylist())
    middle = frame.groupby("object_id")["mjd_utc"].mean().to_dict()
    return Sky(demo, engine.prepare(demo.observations, SETTINGS), engine, middle)


def check(recovered: tuple[Score, float]) -> None:
    score, share = recovered
    assert score.count(FALSE) == 0
    assert score.count(CONTAMINATED) == 0
    assert share >= 0.95


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_recovered_from_two_weeks(name):
    check(sky(1).recovery(name))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_recovered_from_a_test_orbit_that_is_wrong_by_a_percent(name):
    check(sky(1).recovery(name, wrong=0.01, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_recovered_whatever_the_noise(name, seed):
    check(sky(seed).recovery(name))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [0.02, 0.05])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_recovered_from_a_test_orbit_that_is_wrong_by_a_few_percent(name, wrong):
    check(sky(2).recovery(name, wrong=wrong, seed=2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_recovered_from_two_months(name, seed):
    check(sky(seed, days=60.0).recovery(name))


def test_all_28_are_recovered_from_two_weeks():
    shares = {name: sky(1).recovery(name)[1] for name in OBJECTS}

    assert sum(share >= 0.95 for share in shares.values()) == 28, shares
