import numpy as np
import pyarrow as pa

from tasks.engines.builtin.fitting import assignment
from tasks.engines.builtin.fitting.assignment import assign_exclusively, ranking
from tasks.engines.builtin.fitting.members import (
    Members,
    ids_from_members,
    joined_members,
    members_from_owners,
    members_of,
    merged_members,
)
from tasks.results import merge_results


def members(*sets: list[int]) -> Members:
    owner = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
    return members_from_owners(owner, np.array([i for each in sets for i in each], np.int32), len(sets))


def sets_of(some: Members) -> list[list[int]]:
    return [some.obs_index[a:b].tolist() for a, b in zip(some.first[:-1], some.first[1:], strict=True)]


def test_an_orbit_may_have_no_members():
    assert sets_of(members([3, 4], [], [5])) == [[3, 4], [], [5]]
    assert len(members([], [])) == 2


def test_owners_are_the_orbits_of_the_members():
    assert members([3, 4], [], [5]).owner.tolist() == [0, 0, 2]


def test_members_of_some_orbits_in_the_order_asked_for():
    some = members([3, 4], [7], [5, 6])

    assert sets_of(some.of(np.array([2, 0]))) == [[5, 6], [3, 4]]
    assert members_of(some.first, np.array([2, 1]))[0].tolist() == [3, 4, 2]


def test_where_keeps_orbits_that_lose_all():
    assert sets_of(members([3, 4], [7]).where(np.array([True, False, False]))) == [[3], []]


def test_equal_members_are_found_orbit_by_orbit():
    one, other = members([1, 2], [3], [4, 5], []), members([1, 2], [3, 9], [4, 6], [])

    assert one.equal_to(other).tolist() == [True, False, False, True]


def test_joined_members_stand_one_after_the_other():
    assert sets_of(joined_members(members([1]), members([2, 3], []))) == [[1], [2, 3], []]


def test_of_two_detections_in_one_exposure_the_preferred_one_is_taken():
    exposure = np.array([0, 0, 1, 2, 2])

    merged = merged_members(members([1, 2], []), members([0, 3], [4]), exposure)

    assert sets_of(merged) == [[1, 2, 3], [4]]


def test_ids_depend_on_the_set_of_members_alone():
    names = pa.array(["a", "b", "c", "ab"])

    one, two, three = ids_from_members(names, members([0, 1], [1, 0], [3]), "o")

    assert one == two != three
    assert one.startswith("o")


def test_ids_do_not_run_names_together():
    names = pa.array(["a", "bc", "ab", "c"])

    assert len(set(ids_from_members(names, members([0, 1], [2, 3]), "o"))) == 2


def test_the_lowest_chi2_less_the_price_of_the_detections_ranks_first_then_the_first_member():
    count, chi2 = np.array([6, 9, 9, 6]), np.array([6.0, 24.0, 18.0, 6.0])

    assert ranking(count, chi2, np.array([8, 1, 2, 4], np.int32)).tolist() == [2, 1, 3, 0]


def test_a_detection_more_does_not_outweigh_a_chi2_that_it_spoils():
    assert ranking(np.array([9, 8]), np.array([70.0, 14.0]), np.array([0, 0], np.int32)).tolist() == [1, 0]
    assert ranking(np.array([9, 8]), np.array([16.0, 14.0]), np.array([0, 0], np.int32)).tolist() == [0, 1]


def test_orbits_of_one_task_and_of_several_are_ranked_by_one_price():
    assert assignment.PRICE_OF_A_DETECTION == merge_results.PRICE_OF_A_DETECTION


def test_each_detection_goes_to_the_first_orbit_that_uses_it():
    sets = members([0, 1, 2, 3], [3, 4, 5, 6, 7], [8, 9])
    used = np.ones(11, bool)
    used[0] = False

    orbits, kept = assign_exclusively(sets, used, np.array([1, 0, 2]), 10, 2, 0.5)

    assert orbits.tolist() == [True, True, True]
    assert sets.obs_index[kept].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_an_orbit_left_with_too_little_gives_way_and_claims_nothing():
    sets = members([0, 1, 2, 3], [2, 3, 4], [4, 5, 6])

    orbits, kept = assign_exclusively(sets, np.ones(10, bool), np.array([0, 1, 2]), 7, 1, 0.6)

    assert orbits.tolist() == [True, False, True]
    assert sets.obs_index[kept].tolist() == [0, 1, 2, 3, 4, 5, 6]
