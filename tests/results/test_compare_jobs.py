"""Two jobs' objects held against each other: the same ones found again, differences told in sigmas, as a page too."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.results.compare_jobs import STATE, compare_results, sigmas_between
from tasks.results.merge_results import MergedResults
from tests.support.recovered import merged_demo


@pytest.fixture(scope="module")
def found() -> MergedResults:
    results, _ = merged_demo()
    return results


def without_members(results: MergedResults, names: list[str]) -> MergedResults:
    gone = pc.is_in(results.members["obs_id"], value_set=pa.array(names))
    return MergedResults(results.orbits, results.members.filter(pc.invert(gone)), results.n_before)


def rows(results: MergedResults, which: list[int]) -> MergedResults:
    orbits = results.orbits.take(pa.array(which, pa.int64()))
    kept = pc.is_in(results.members["orbit_id"], value_set=orbits["orbit_id"].combine_chunks())
    return MergedResults(orbits, results.members.filter(kept), len(orbits))


def with_ids(results: MergedResults, prefix: str) -> MergedResults:
    """The same orbits under other ids."""

    def renamed(table: pa.Table) -> pa.Table:
        place = table.column_names.index("orbit_id")
        names = pa.array([prefix + name for name in table["orbit_id"].to_pylist()])
        return table.set_column(place, table.schema.field(place), names)

    return MergedResults(renamed(results.orbits), renamed(results.members), results.n_before)


def test_a_job_held_against_itself_under_other_ids_is_the_same(found):
    comparison = compare_results(found, with_ids(found, "b_"))

    assert [each.orbit_b for each in comparison.shared] == [f"b_{each.orbit_a}" for each in comparison.shared]
    assert len(comparison.shared) == len(found.orbits) == 3
    assert (comparison.only_a, comparison.only_b) == ((), ())
    assert (comparison.n_gained, comparison.n_lost) == (0, 0)
    assert comparison.largest_sigmas == pytest.approx(0.0, abs=1e-9)


def test_objects_that_one_job_found_alone_are_named_with_the_job(found):
    comparison = compare_results(rows(found, [0, 1]), rows(found, [1, 2]))

    ids = found.orbits["orbit_id"].to_pylist()
    assert [each.orbit_a for each in comparison.shared] == [ids[1]]
    assert [each.orbit_id for each in comparison.only_a] == [ids[0]]
    assert [each.orbit_id for each in comparison.only_b] == [ids[2]]
    assert comparison.only_a[0].n_common == 0


def test_observations_gained_and_lost_are_those_of_one_orbit_alone(found):
    first = rows(found, [0])
    names = first.members.filter(pc.equal(first.members["outlier"], 0))["obs_id"].to_pylist()

    comparison = compare_results(without_members(first, names[:2]), without_members(first, names[2:5]))

    (shared,) = comparison.shared
    assert (shared.n_common, shared.n_gained, shared.n_lost) == (len(names) - 5, 2, 3)


def test_orbits_that_share_less_than_half_of_the_smaller_are_two_objects(found):
    first = rows(found, [0])
    used = first.members.filter(pc.equal(first.members["outlier"], 0))["obs_id"].to_pylist()
    half = len(used) // 2

    comparison = compare_results(without_members(first, used[half + 2 :]), without_members(first, used[:half]))

    assert comparison.shared == ()
    assert comparison.only_a[0].n_common == comparison.only_b[0].n_common == 2


def state_of(results: MergedResults, row: int) -> tuple[np.ndarray, np.ndarray, float]:
    orbit = results.orbits.slice(row, 1).to_pylist()[0]
    lower = np.tril_indices(6)
    covariance = np.empty((6, 6))
    covariance[lower] = covariance.T[lower] = orbit["covariance"]
    return np.array([orbit[name] for name in STATE]), covariance, orbit["epoch"]


def test_an_orbit_moved_by_one_sigma_in_each_principal_direction_differs_by_one_sigma(found):
    state, covariance, epoch = state_of(found, 0)
    step = np.linalg.cholesky(covariance) @ np.ones(6)

    sigmas, distance_au = sigmas_between(state, covariance, epoch, state + step, covariance, epoch)

    assert sigmas == pytest.approx(1.0, rel=1e-6)
    assert distance_au == pytest.approx(np.linalg.norm(step[:3]))


def test_the_same_orbit_at_another_epoch_differs_by_nothing(found):
    state, covariance, epoch = state_of(found, 0)
    moved = propagate(state[None], epoch, np.array([epoch + 20.0]))[0, 0]

    sigmas, distance_au = sigmas_between(state, covariance, epoch, moved, covariance, epoch + 20.0)

    assert sigmas == pytest.approx(0.0, abs=1e-6)
    assert distance_au < 1e-12


def test_without_a_covariance_the_distance_is_told_alone(found):
    state, covariance, epoch = state_of(found, 0)

    sigmas, distance_au = sigmas_between(state, covariance * np.nan, epoch, state + 1e-6, covariance, epoch)

    assert sigmas is None
    assert distance_au == pytest.approx(np.sqrt(3) * 1e-6)


def test_nothing_against_nothing_is_nothing(found):
    nothing = rows(found, [])

    comparison = compare_results(nothing, nothing)

    assert (comparison.shared, comparison.only_a, comparison.median_sigmas) == ((), (), None)
    assert len(compare_results(nothing, found).only_b) == 3
