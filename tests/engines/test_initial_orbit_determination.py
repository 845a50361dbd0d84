from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics import assist
from tasks.engines.builtin.astrodynamics.planets import planet_positions
from tasks.engines.builtin.initial_orbit_determination import initial_orbit_determination
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.interface import LinkingProblem
from tasks.engines.settings import EngineSettings, InitialOrbitDeterminationSettings
from tasks.engines.tables import IOD_ORBIT_MEMBERS, IOD_ORBITS
from tests.engines.fit_stages import cluster_tables, sets_of, small_sky, states_of
from tests.support.sky import (
    Exposures,
    observed,
    orbit_table,
    orbits_from_states,
    sky_of,
    tables_from_detections,
)


@pytest.fixture(scope="module")
def truth():
    return small_sky()


def run(truth, clusters, settings=None, test_orbit=None):
    problem = truth.problem(settings)
    if test_orbit is not None:
        problem = replace(problem, test_orbit=test_orbit)
    result = initial_orbit_determination(problem, cluster_tables(truth.survey, clusters))
    return result.tables["iod_orbits"], result.tables["iod_orbit_members"], result.counts


def farther(truth, factor: float) -> pa.Table:
    """The test orbit at a multiple of its distance."""
    table = truth.bench.test_orbits
    for name in ("x", "y", "z"):
        column = table.column_names.index(name)
        table = table.set_column(column, table.field(column), pa.array(table[name].to_numpy() * factor))
    return table


def test_every_true_cluster_gets_an_orbit_near_the_truth(truth):
    clusters = truth.findable
    orbits, members, counts = run(truth, list(clusters.values()))

    expected = truth.states_at(orbits["epoch"][0].as_py())
    errors = [
        np.linalg.norm(state[:3] - expected[name][:3]) for state, name in zip(states_of(orbits), clusters, strict=True)
    ]
    assert len(orbits) == len(clusters) >= 10
    assert np.max(errors) < 0.1
    assert counts["iod_orbits"] == len(orbits)
    assert sets_of(members) == [set(rows.tolist()) for rows in clusters.values()]


def test_tables_have_their_schemas_and_one_epoch(truth):
    orbits, members, _ = run(truth, list(truth.findable.values()))

    assert orbits.schema.equals(IOD_ORBITS)
    assert members.schema.equals(IOD_ORBIT_MEMBERS)
    assert len(set(orbits["epoch"].to_pylist())) == 1
    assert set(orbits["force_model"].to_pylist()) == {"2-body"}


def test_ids_come_from_the_members_whatever_the_order_of_clusters(truth):
    clusters = list(truth.findable.values())
    forward, _, _ = run(truth, clusters)
    backward, _, _ = run(truth, clusters[::-1])

    assert forward["orbit_id"].to_pylist() == backward["orbit_id"].to_pylist()[::-1]
    np.testing.assert_array_equal(states_of(forward), states_of(backward)[::-1])


def test_a_gross_outlier_is_marked(truth):
    clusters = list(truth.findable.values())
    exposure = truth.survey.exposure[clusters[0][2]]
    same_exposure = np.flatnonzero((truth.survey.exposure == exposure) & (truth.objects == ""))
    contaminated = clusters[0].copy()
    contaminated[2] = same_exposure[0]

    _, members, _ = run(truth, [contaminated, *clusters[1:]])

    outliers = members.filter(pa.compute.equal(members["outlier"], 1))["obs_index"].to_pylist()
    assert outliers == [same_exposure[0]]


def test_a_cluster_of_false_detections_gets_no_orbit(truth):
    rng = np.random.default_rng(1)
    false = np.flatnonzero(truth.objects == "").astype(np.int32)
    cluster = rng.choice(false, 8, replace=False)
    cluster = cluster[np.argsort(truth.survey.exposure[cluster], kind="stable")]

    orbits, members, counts = run(truth, [cluster])

    assert (len(orbits), len(members), counts["clusters"]) == (0, 0, 1)
    assert orbits.schema.equals(IOD_ORBITS)


def test_no_clusters_give_empty_tables(truth):
    orbits, members, counts = run(truth, [])

    assert (len(orbits), len(members), counts["iod_orbits"]) == (0, 0, 0)


@pytest.mark.parametrize("factor", [0.75, 1.4])
def test_a_test_orbit_at_a_wrong_distance_still_finds_them(truth, factor):
    clusters = list(truth.findable.values())

    orbits, _, _ = run(truth, clusters, test_orbit=farther(truth, factor))

    assert len(orbits) == len(clusters)


def test_gauss_method_finds_what_no_distance_does_and_says_which_detections_it_took(truth, monkeypatch):
    clusters = list(truth.findable.values())
    # 40 au, no other distances and few steps: only Gauss's method begins near 3 au, where they are.
    monkeypatch.setattr("tasks.engines.builtin.initial_orbit_determination.OTHER_DISTANCES", ())
    far_away = farther(truth, 15.0)
    few_steps = InitialOrbitDeterminationSettings(max_iterations=3)

    orbits, members, counts = run(
        truth, clusters, EngineSettings(initial_orbit_determination=few_steps), test_orbit=far_away
    )
    without, _, _ = run(
        truth,
        clusters,
        EngineSettings(initial_orbit_determination=replace(few_steps, fallback=False)),
        far_away,
    )

    assert counts["by_gauss"] > 0
    assert len(orbits) > len(without)
    taken = members.filter(pa.compute.equal(members["gauss_sol"], 1))["orbit_id"].value_counts()
    assert len(taken) == counts["by_gauss"]
    assert {each["counts"] for each in taken.to_pylist()} == {3}


BESIDE_EARTH_MJD = 60200.0
EARTH = 2
"""Its place among the bodies of `planet_positions`."""


def beside_the_earth(distance_au, speed_au_per_day, seed):
    """State of an object so far from the Earth, which it leaves or passes at that speed, in any direction."""
    rng = np.random.default_rng(seed)
    toward, along = rng.normal(size=(2, 3))
    before, there, after = planet_positions(BESIDE_EARTH_MJD + np.array([-0.01, 0.0, 0.01]))[:, EARTH]
    position = there + distance_au * toward / np.linalg.norm(toward)
    return np.concatenate([position, (after - before) / 0.02 + speed_au_per_day * along / np.linalg.norm(along)])


@pytest.mark.skipif(not assist.is_available(), reason="the extra nbody is not installed")
@pytest.mark.parametrize(("distance_au", "speed_au_per_day"), [(0.01, 0.001), (0.02, 0.004)])
@pytest.mark.parametrize("seed", range(3))
def test_an_object_beside_the_earth_that_two_bodies_fit_badly_gets_an_orbit(distance_au, speed_au_per_day, seed):
    state = beside_the_earth(distance_au, speed_au_per_day, seed)
    times = (BESIDE_EARTH_MJD + np.arange(-3.5, 4.0)[:, None] + np.array([0.0, 0.03, 0.06])).ravel()
    everywhere = Exposures(times, np.array(["X05"] * len(times)), np.zeros((len(times), 3)), 180.0)
    sky = sky_of(orbits_from_states(["near"], state[None], BESIDE_EARTH_MJD), everywhere)
    rng = np.random.default_rng(seed)
    detections = observed(sky, everywhere, efficiency=1.0, rng=rng)
    observations, _ = tables_from_detections(detections, everywhere, noise_arcsec=0.1, rng=rng)
    survey = prepare_survey(observations, EngineSettings())
    problem = LinkingProblem(survey, orbit_table(["near"], state, BESIDE_EARTH_MJD), EngineSettings())
    tables = cluster_tables(survey, [np.arange(len(times), dtype=np.int32)])

    result = initial_orbit_determination(problem, tables)

    assert (result.counts["iod_orbits"], result.counts["beside_planets"]) == (1, 1)
