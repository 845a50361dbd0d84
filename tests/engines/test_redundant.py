"""Clusters whose detections belong to orbits that fit well already are not fitted again."""

import numpy as np
import pytest

from tasks.engines.builtin.initial_orbit_determination import initial_orbit_determination
from tests.engines.fit_stages import cluster_tables, sets_of, small_sky


@pytest.fixture(scope="module")
def objects():
    return list(small_sky().findable.values())


def first_orbits(clusters):
    truth = small_sky()
    result = initial_orbit_determination(truth.problem(), cluster_tables(truth.survey, clusters))
    return sets_of(result.tables["iod_orbit_members"], outliers=True), result.counts


def test_a_part_of_a_cluster_that_fits_is_not_fitted_again(objects):
    whole = objects[0]

    orbits, counts = first_orbits([whole, whole[:-2], whole[1:]])

    assert orbits == [set(whole.tolist())]
    assert (counts["clusters"], counts["redundant"], counts["iod_orbits"]) == (3, 2, 1)


def test_a_mixture_of_objects_that_fit_is_not_tried_from_other_starts(objects):
    first, second = objects[:2]
    mixture = np.sort(np.concatenate([first[:4], second[-4:]]))

    orbits, counts = first_orbits([first, second, mixture])

    assert orbits == [set(first.tolist()), set(second.tolist())]
    assert (counts["redundant"], counts["tried_other_starts"]) == (1, 0)


def test_an_object_that_lost_a_detection_to_another_is_kept(objects):
    first, second = objects[:2]
    six = second[:: len(second) // 6][:6]
    thief = np.sort(np.append(first, six[0]))

    orbits, counts = first_orbits([thief, six])

    assert counts["redundant"] == 0
    assert set(six.tolist()) in orbits


def test_what_is_left_of_a_mixture_is_kept_where_it_is_enough(objects):
    first, second = objects[:2]
    mixture = np.sort(np.concatenate([first[:2], second]))

    _, counts = first_orbits([first, mixture])

    assert counts["redundant"] == 0


def test_an_orbit_of_the_fewest_detections_is_not_trusted(objects):
    six = objects[0][:: len(objects[0]) // 6][:6]
    same_but_one = np.sort(np.append(six[1:], np.setdiff1d(objects[0], six)[0]))

    _, counts = first_orbits([six, same_but_one])

    assert counts["redundant"] == 0
