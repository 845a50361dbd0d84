from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.builtin.initial_orbit_determination import initial_orbit_determination
from tasks.engines.builtin.merge_and_extend import merge_and_extend
from tasks.engines.builtin.orbit_determination import orbit_determination
from tasks.engines.settings import EngineSettings, MergeAndExtendSettings
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tests.engines.fit_stages import cluster_tables, covariances_of, sets_of, small_sky, states_of


@pytest.fixture(scope="module")
def truth():
    return small_sky()


def run(truth, clusters, settings=None):
    problem = truth.problem(settings)
    tables = cluster_tables(truth.survey, clusters)
    tables |= initial_orbit_determination(problem, tables).tables
    tables |= orbit_determination(problem, tables).tables
    result = merge_and_extend(problem, tables)
    return result.tables["recovered_orbits"], result.tables["recovered_orbit_members"], result.counts


def as_sets(clusters) -> list[set[int]]:
    return sorted((set(rows.tolist()) for rows in clusters), key=sorted)


def recovered(members) -> list[set[int]]:
    return sorted(sets_of(members), key=sorted)


def test_whole_clusters_come_out_as_they_went_in(truth):
    clusters = list(truth.findable.values())

    orbits, members, counts = run(truth, clusters)

    assert recovered(members) == as_sets(clusters)
    assert counts["recovered_orbits"] == len(orbits) == len(clusters)
    assert counts["recovered_observations"] == sum(map(len, clusters))
    assert orbits.schema.equals(RECOVERED_ORBITS)
    assert members.schema.equals(RECOVERED_ORBIT_MEMBERS)


def test_detections_that_were_missed_are_found(truth):
    clusters = list(truth.findable.values())
    parts = [np.delete(rows, [1, len(rows) // 2]) for rows in clusters]

    _, members, _ = run(truth, parts)

    assert recovered(members) == as_sets(clusters)


def test_an_arc_grows_beyond_its_ends(truth):
    longest = max(truth.findable.values(), key=len)
    middle = longest[2:-2]

    orbits, members, counts = run(truth, [middle])

    assert recovered(members) == as_sets([longest])
    assert counts["rounds"] >= 2
    assert orbits["cluster_id"].to_pylist() == ["c0000"]


def test_several_clusters_of_one_object_become_one_orbit(truth):
    clusters = list(truth.findable.values())
    rows = max(clusters, key=len)
    pieces = [rows[:-2], rows[2:], np.delete(rows, 3), np.delete(rows, [0, 5])]

    orbits, members, _ = run(truth, pieces)

    assert len(orbits) == 1
    assert recovered(members) == as_sets([rows])


def test_no_detection_belongs_to_two_orbits_and_none_is_an_outlier(truth):
    rng = np.random.default_rng(2)
    clusters = [np.sort(rng.choice(rows, len(rows) - 1, replace=False)) for rows in truth.findable.values()] * 2
    clusters = [rows[np.argsort(truth.survey.exposure[rows], kind="stable")] for rows in clusters]

    _, members, _ = run(truth, clusters)

    index = members["obs_index"].to_pylist()
    assert len(index) == len(set(index))
    assert not np.any(members["outlier"].to_numpy())


def test_orbits_are_sorted_by_detections_and_their_ids_are_those_of_the_sets(truth):
    clusters = list(truth.findable.values())

    forward, _, _ = run(truth, clusters)
    backward, _, _ = run(truth, [np.delete(rows, 1) for rows in clusters[::-1]])

    counts = forward["num_obs"].to_pylist()
    assert counts == sorted(counts, reverse=True)
    assert forward["orbit_id"].to_pylist() == backward["orbit_id"].to_pylist()


def test_orbits_do_not_depend_on_the_cluster_they_grew_from(truth):
    clusters = list(truth.findable.values())

    whole, _, _ = run(truth, clusters)
    grown, _, _ = run(truth, [np.delete(rows, 1) for rows in clusters])

    sigma = np.sqrt(np.einsum("cii->ci", covariances_of(whole)))
    assert (np.abs(states_of(whole) - states_of(grown)) < 0.01 * sigma).all()


def test_covariances_are_honest(truth):
    names = {frozenset(rows.tolist()): name for name, rows in truth.findable.items()}
    orbits, members, _ = run(truth, list(truth.findable.values()))
    expected = truth.states_at(orbits["epoch"][0].as_py())
    true = np.array([expected[names[frozenset(own)]] for own in sets_of(members)])

    errors = states_of(orbits) - true
    distances = [e @ np.linalg.solve(c, e) for e, c in zip(errors, covariances_of(orbits), strict=True)]

    assert np.mean(distances) == pytest.approx(6.0, abs=3.5 * np.sqrt(12 / len(distances)))


def test_without_rounds_there_is_only_the_exclusive_assignment(truth):
    rows = max(truth.findable.values(), key=len)
    settings = EngineSettings(merge_and_extend=MergeAndExtendSettings(max_rounds=0))

    _, members, counts = run(truth, [rows[:-2], rows[2:]], settings)

    assert counts["rounds"] == 0
    assert len(sets_of(members)) == 1


def test_a_false_detection_outside_the_radius_is_not_attributed(truth):
    clusters = list(truth.findable.values())
    wide = EngineSettings(merge_and_extend=replace(MergeAndExtendSettings(), radius_arcsec=60.0))

    _, members, _ = run(truth, clusters, wide)

    # Even when attributed from an arcminute, what does not fit is rejected again.
    assert recovered(members) == as_sets(clusters)


def test_the_same_input_gives_the_same_bytes(truth):
    clusters = [np.delete(rows, 1) for rows in truth.findable.values()]

    one, other = run(truth, clusters), run(truth, clusters)

    assert one[0].equals(other[0])
    assert one[1].equals(other[1])


def test_nothing_to_merge_gives_empty_tables(truth):
    orbits, members, counts = run(truth, [])

    assert (len(orbits), len(members), counts["recovered_orbits"]) == (0, 0, 0)
    assert orbits.schema.equals(RECOVERED_ORBITS)
