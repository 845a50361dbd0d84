"""The second stage: which tracks are found, and that it is the same ones every time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.cluster_and_link import cluster_and_link
from tasks.engines.builtin.linking import find_tracks
from tasks.engines.builtin.linking.velocity_grid import clusters_by_density
from tasks.engines.builtin.range_and_shift import range_and_shift
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.demo import demo_problem
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import LinkingProblem
from tasks.engines.score import score_orbits
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import CLUSTER_MEMBERS, CLUSTERS
from tests.bench.survey import make_survey
from tests.support.linking import wrong_by

SETTINGS = EngineSettings()


def with_linking(**changes):
    return replace(SETTINGS, cluster_and_link=replace(SETTINGS.cluster_and_link, **changes))


@cache
def prepared(case, seed=1):
    survey = make_survey(case, seed=seed)
    return survey, prepare_survey(survey.observations, SETTINGS)


def linked(case, *, seed=1, settings=SETTINGS, test_orbit=None, map_blocks=None):
    survey, arrays = prepared(case, seed)
    problem = LinkingProblem(arrays, survey.test_orbits if test_orbit is None else test_orbit, settings)
    if map_blocks is not None:
        problem = replace(problem, map_blocks=map_blocks)
    return cluster_and_link(problem, range_and_shift(problem, {}).tables).tables


def completeness(case, tables, seed=1):
    survey, _ = prepared(case, seed)
    members = tables["cluster_members"]
    named = members.append_column("orbit_id", members["cluster_id"])
    return score_orbits(survey.observations, survey.truth, named, settings=SETTINGS.cluster_and_link).completeness


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("20k", 1.0),
        ("one-per-night", 0.99),
        ("trojan", 0.99),
        ("hungaria", 0.99),
        # Some are seen on nights as far apart as 0, 2, 6, 8, 13.
        ("outer", 1.0),
        ("cell", 0.99),
        ("near-earth", 0.99),
    ],
)
def test_findable_objects_are_found(case, asked):
    assert completeness(case, linked(case)) >= asked


def test_a_test_orbit_two_percent_wrong_finds_them_as_well():
    survey, _ = prepared("20k")
    wrong = wrong_by(survey.test_orbits, 0.02, np.random.default_rng(5))

    assert completeness("20k", linked("20k", test_orbit=wrong)) >= 0.97


def test_few_clusters_are_false_or_double():
    tables = linked("20k")
    survey, _ = prepared("20k")
    members = tables["cluster_members"]
    score = score_orbits(
        survey.observations,
        survey.truth,
        members.append_column("orbit_id", members["cluster_id"]),
        settings=SETTINGS.cluster_and_link,
    )

    assert len(tables["clusters"]) <= 1.4 * score.findable


def test_tables_are_what_they_say():
    tables = linked("cell")
    clusters, members = tables["clusters"], tables["cluster_members"]
    _, survey = prepared("cell")

    assert clusters.schema == CLUSTERS
    assert members.schema == CLUSTER_MEMBERS
    owner, rows = members["cluster_index"].to_numpy(), members["obs_index"].to_numpy()
    for k, cluster in enumerate(clusters.to_pylist()):
        exposures = survey.exposure[rows[owner == k]]
        times = survey.exposure_mjd_tdb[exposures]
        assert cluster["num_obs"] == len(exposures) >= 6
        assert cluster["num_nights"] == len(set(survey.exposure_night[exposures])) >= 3
        assert cluster["arc_length"] == pytest.approx(np.ptp(times))
        assert cluster["arc_length"] >= 1.0
        assert (np.diff(times) > 0).all()
    assert members["cluster_id"].to_pylist() == clusters["cluster_id"].take(members["cluster_index"]).to_pylist()
    assert members["obs_id"].to_pylist() == survey.obs_ids.take(members["obs_index"]).to_pylist()


def test_the_track_of_a_cluster_passes_through_its_members():
    survey, arrays = prepared("cell")
    problem = LinkingProblem(arrays, survey.test_orbits, SETTINGS)
    first = range_and_shift(problem, {}).tables
    tables = cluster_and_link(problem, first).tables
    plane = first["projected_observations"].to_pandas().set_index("obs_index")
    clusters = tables["clusters"].to_pandas()
    members = tables["cluster_members"].to_pandas()
    owner = clusters.loc[members["cluster_index"]].reset_index(drop=True)
    dt = arrays.exposure_mjd_tdb[arrays.exposure[members["obs_index"]]] - owner["epoch"]

    for axis in "xy":
        track = owner[f"theta_{axis}0"] + owner[f"vtheta_{axis}"] * dt + owner[f"atheta_{axis}"] * dt**2
        off = track - plane.loc[members["obs_index"], f"theta_{axis}_deg"].to_numpy()
        # A quadratic leaves some arcseconds of a track of two weeks.
        assert np.abs(off).max() * 3600 < 15.0


def test_clusters_are_in_order_and_distinct():
    clusters = linked("20k")["clusters"].to_pandas()

    assert clusters["cluster_id"].is_unique
    assert clusters.sort_values(["num_obs", "cluster_id"], ascending=[False, True]).index.is_monotonic_increasing


def test_the_order_of_rows_changes_no_cluster():
    survey, _ = prepared("cell")
    shuffled = survey.observations.take(np.random.default_rng(1).permutation(len(survey.observations)))
    problem = LinkingProblem(prepare_survey(shuffled, SETTINGS), survey.test_orbits, SETTINGS)

    again = cluster_and_link(problem, range_and_shift(problem, {}).tables).tables

    assert again["clusters"]["cluster_id"].to_pylist() == linked("cell")["clusters"]["cluster_id"].to_pylist()


def test_threads_change_no_byte(monkeypatch):
    monkeypatch.setattr(find_tracks, "DETECTIONS_PER_BLOCK", 3000)
    with ThreadPoolExecutor(2) as pool:
        two = linked("20k", map_blocks=lambda function, blocks: list(pool.map(function, blocks)))

    assert two["cluster_members"].equals(linked("20k")["cluster_members"])
    assert two["clusters"].equals(linked("20k")["clusters"])


def test_too_few_detections_give_empty_tables():
    survey, arrays = prepared("cell")
    problem = LinkingProblem(arrays, survey.test_orbits, SETTINGS)
    few = range_and_shift(problem, {}).tables["projected_observations"].slice(0, 5)

    tables = cluster_and_link(problem, {"projected_observations": few}).tables

    assert tables["clusters"].schema == CLUSTERS
    assert (len(tables["clusters"]), len(tables["cluster_members"])) == (0, 0)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(EngineInputError, match=r"'cluster_and_link\.algorithm' is 'magic'"):
        linked("cell", settings=with_linking(algorithm="magic"))


@pytest.mark.parametrize("days", [14.0, 60.0])
def test_each_real_object_is_a_cluster_of_its_own_orbit(days):
    demo = demo_problem(seed=2, days=days)
    arrays = prepare_survey(demo.observations, SETTINGS)
    truth = np.array(demo.truth["object_id"].to_pylist(), dtype=object)
    missed = []
    for row, name in enumerate(demo.test_orbits["orbit_id"].to_pylist()):
        problem = LinkingProblem(arrays, demo.test_orbits.slice(row, 1), SETTINGS)
        members = cluster_and_link(problem, range_and_shift(problem, {}).tables).tables["cluster_members"].to_pandas()
        own = members.groupby("cluster_index")["obs_index"].agg(lambda rows, name=name: (truth[rows] == name).sum())
        if len(own) == 0 or own.max() < 0.95 * (truth == name).sum():
            missed.append(name)

    assert missed == []


def test_the_velocity_grid_finds_what_moves_straight():
    settings = with_linking(algorithm="velocity-grid", grid_bins=41)

    tables = linked("cell", settings=settings)

    pairs = set(linked("cell")["cluster_members"]["obs_id"].to_pylist())
    assert len(tables["clusters"]) > 0
    assert len(pairs & set(tables["cluster_members"]["obs_id"].to_pylist())) >= 0.5 * len(pairs)


def test_density_clusters_join_chains_of_cores():
    # Ester et al. 1996: cores within reach of each other are one cluster; a place at its rim belongs to it, noise not.
    chain = np.column_stack([np.arange(6) * 0.9, np.zeros(6)])
    rim, noise = [[5.4, 0.0]], [[50.0, 50.0]]

    clusters = clusters_by_density(np.vstack([chain, rim, noise]), 1.0, 3)

    assert [sorted(each.tolist()) for each in clusters] == [[0, 1, 2, 3, 4, 5, 6]]


def test_places_without_a_core_are_no_cluster():
    assert clusters_by_density(np.array([[0.0, 0.0], [0.5, 0.0], [9.0, 9.0]]), 1.0, 3) == []


def test_cluster_ids_come_from_the_members():
    tables = linked("cell")
    table = pa.table({"id": tables["cluster_members"]["cluster_id"], "obs": tables["cluster_members"]["obs_id"]})
    sets = table.to_pandas().groupby("id")["obs"].agg(frozenset)

    assert len(set(sets)) == len(sets) == len(tables["clusters"])
