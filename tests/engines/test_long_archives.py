"""Detections of decades: work grows with their number and not with their span, and nothing is lost."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from tasks.engines.builtin.astrodynamics.planets import MOST_SEGMENTS, SHORTEST_SEGMENT_DAYS, planet_positions
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.demo import demo_problem
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.registry import engine_by_name
from tasks.engines.score import FALSE, PURE, score_orbits
from tasks.engines.settings import EngineSettings
from tests.support.skies import observations_of_directions
from tests.support.sky import (
    Exposures,
    observed,
    orbit_table,
    orbits_from_states,
    scattered,
    sky_of,
    tables_from_detections,
    uniform_in_disc,
)

SETTINGS = EngineSettings()
EPOCH = 53000.0
TEST_STATE = np.array([2.5, 0.1, 0.05, -0.0004, 0.0108, 0.0006])
SUNGRAZER = np.array([1.0, 0.0, 0.0, 0.0, 0.001, 0.0001])
THE_SUN = np.array([3.671e-3, 1.015e-3, -1.59e-4, 1.43e-6, 6.67e-6, -4.3e-8])
ELSEWHERE = 53800.0
"""Epoch of the test orbits that are where a planet is."""

RADIUS_DEG = 1.75
OBJECTS = 10


def where_a_planet_is(number: int) -> np.ndarray:
    places = planet_positions(np.array([ELSEWHERE, ELSEWHERE + 0.01]))[:, number]
    return np.concatenate([places[0], (places[1] - places[0]) / 0.01])


def exposures(mjd_utc, centre):
    return Exposures(mjd_utc, np.array(["X05"] * len(mjd_utc), dtype=object), centre, RADIUS_DEG)


@cache
def archive(apparitions: int):
    """Two weeks of a few nights about each opposition of the test orbit, the telescope following it."""
    test_orbit = orbits_from_states(["t"], TEST_STATE[None], EPOCH)
    days = EPOCH + np.arange(-240.0, apparitions * 480.0)
    places = exposures(days, np.zeros((len(days), 3)))
    observer = places.observers().coordinates.r
    from_sun = np.einsum("ei,ei->e", sky_of(test_orbit, places).direction[0], observer)
    at_opposition = from_sun / np.linalg.norm(observer, axis=1) > np.cos(np.radians(30.0))
    begins = days[np.flatnonzero(at_opposition & ~np.r_[False, at_opposition[:-1]])][:apparitions]
    visits = np.array([0.0, 0.025, 2.0, 2.025, 4.0, 4.025, 7.0, 7.025, 9.0, 9.025])
    mjd = (begins[:, None] + 0.1 + visits[None]).ravel()
    centre = sky_of(test_orbit, exposures(mjd, np.zeros((len(mjd), 3)))).direction[0]
    return make(exposures(mjd, centre)), len(begins)


def make(plan: Exposures):
    rng = np.random.default_rng(5)
    states = TEST_STATE * (1 + rng.uniform(-3e-4, 3e-4, (OBJECTS, 6)))
    true = observed(
        sky_of(orbits_from_states([f"o{k}" for k in range(OBJECTS)], states, EPOCH), plan),
        plan,
        efficiency=0.95,
        rng=rng,
    )
    exposure = np.repeat(np.arange(len(plan.mjd_utc)), 15)
    unit = scattered(plan.centre[exposure], uniform_in_disc(len(exposure), RADIUS_DEG, rng))
    false = pd.DataFrame({"object_id": None, "exposure": exposure, **dict(zip("xyz", unit.T, strict=True))})
    return tables_from_detections(pd.concat([true, false], ignore_index=True), plan, noise_arcsec=0.1, rng=rng)


@cache
def linked(apparitions: int):
    (observations, truth), found = archive(apparitions)
    engine = engine_by_name("builtin")
    problem = LinkingProblem(
        engine.prepare(observations, SETTINGS), orbit_table(["t"], TEST_STATE[None], EPOCH), SETTINGS
    )
    tables, counts = {}, {}
    for stage in STAGES:
        result = getattr(engine, stage)(problem, tables)
        tables |= result.tables
        counts |= {stage: result.counts}
    members = tables["recovered_orbit_members"]
    return score_orbits(observations, truth, members, settings=SETTINGS.cluster_and_link), counts, found


def test_each_apparition_gives_an_object_an_orbit_of_its_own():
    score, _, found = linked(4)

    assert found == 4
    assert score.count(FALSE) == 0
    assert score.count(PURE) >= 0.95 * found * OBJECTS
    assert score.recovered == OBJECTS
    assert score.objects["num_orbits"].to_numpy().min() >= found - 1


def test_the_work_of_linking_grows_with_the_apparitions_and_not_with_their_pairs():
    _, few, _ = linked(2)
    _, many, _ = linked(4)

    for name in ("pairs", "followed", "grown"):
        assert many["cluster_and_link"][name] <= 2.0 * 1.5 * few["cluster_and_link"][name]


@pytest.mark.parametrize(
    "state",
    [where_a_planet_is(2), where_a_planet_is(0), THE_SUN, SUNGRAZER],
    ids=["the Earth", "Mercury", "the Sun", "sungrazer"],
)
def test_where_the_planets_can_not_be_followed_the_exposures_are_counted(state):
    observations = demo_problem(seed=1).observations
    times = observations["mjd_utc"].to_numpy()
    engine = engine_by_name("builtin")
    problem = LinkingProblem(
        engine.prepare(observations, SETTINGS), orbit_table(["t"], state[None], ELSEWHERE), SETTINGS
    )

    result = engine.range_and_shift(problem, {})

    assert times.max() - times.min() > 27 * 365.25
    assert result.counts["exposures_on_two_bodies"] >= 0.9 * result.counts["exposures"]
    assert result.counts["observations"] == len(observations)


def test_a_belt_orbit_is_followed_over_all_of_them():
    observations = demo_problem(seed=1).observations
    engine = engine_by_name("builtin")
    orbit = orbit_table(["t"], TEST_STATE[None], ELSEWHERE)

    result = engine.range_and_shift(LinkingProblem(engine.prepare(observations, SETTINGS), orbit, SETTINGS), {})

    assert result.counts["exposures_on_two_bodies"] == 0


def test_beyond_its_budget_a_test_orbit_goes_on_without_a_jump():
    """The sungrazer's budget ends within an hour of 256 days; a jump would be that of the planets' pull until then."""
    ends = MOST_SEGMENTS * SHORTEST_SEGMENT_DAYS
    times = ELSEWHERE + np.array([ends - 17.0, ends - 0.1, ends + 0.1, ends + 0.3])
    toward = np.tile([1.0, 0.0, 0.0], (4, 1))
    survey = prepare_survey(observations_of_directions(toward, times), SETTINGS)

    path = path_of_orbit(orbit_from_table(orbit_table(["t"], SUNGRAZER[None], ELSEWHERE)), survey)

    # From one to the next by the velocity half way, which is curved by less than this.
    step = np.diff(path.emission_mjd_tdb)[1:, None]
    moved = np.diff(path.states[1:, :3], axis=0)
    expected = 0.5 * (path.states[1:-1, 3:] + path.states[2:, 3:]) * step
    assert np.abs(moved - expected).max() < 1e-6
