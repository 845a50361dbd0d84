"""Orbits beside a planet, or seen towards the Sun: every minimum counts."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.planets import planet_positions
from tasks.engines.builtin.fitting.determination import FitStart, determine_orbits, with_honest_covariances
from tasks.engines.builtin.fitting.other_minima import (
    _at_other_distance,
    _minima,
    _second_moment,
    rarity,
    with_other_minima,
)
from tasks.engines.settings import OrbitDeterminationSettings
from tests.engines.fitting_sky import EPOCH, MAIN_BELT, nights, rows_of

SETTINGS = OrbitDeterminationSettings()

BESIDE_JUPITER = np.concatenate(
    [planet_positions(np.array([EPOCH]))[0, 5] + np.array([-0.15, -0.2, 0.05]), [0.0068, 0.0032, -0.00016]]
)


TOWARDS_THE_SUN = [
    [0.7801, 0.0130, -0.0154, -0.0003, 0.0194, -0.0017],
    [0.7818, 0.0328, 0.0206, -0.0008, 0.0189, 0.0026],
]
"""Inside the Earth's orbit, 50 to 60 deg from the Sun on the sky: each has a second minimum farther from its start."""


def determined(state, seed=3, every=2.0):
    times = nights(4, every=every)
    noise = np.random.default_rng(seed).normal(size=(len(times), 2))
    rows, first = rows_of(state, times, model="n-body", noise_sigmas=noise), np.array([0, len(times)])
    fit = determine_orbits(rows, first, FitStart(state[None], np.array([EPOCH])), SETTINGS, min_observations=6)
    return rows, first, fit


def test_far_from_planets_there_is_one_minimum():
    rows, first, fit = determined(MAIN_BELT)

    after = with_other_minima(rows, first, fit, SETTINGS, min_observations=6)

    before = with_honest_covariances(rows, first, fit)
    np.testing.assert_array_equal(after.fitted.covariance, before.fitted.covariance)
    np.testing.assert_array_equal(after.fitted.state, before.fitted.state)


@pytest.mark.parametrize("seed", range(4))
def test_beside_jupiter_the_best_minimum_is_taken_and_its_covariance_holds_the_truth(seed):
    rows, first, fit = determined(BESIDE_JUPITER, seed)
    assert len(fit.shifts.slopes.values) == 1

    after = with_other_minima(rows, first, fit, SETTINGS, min_observations=6)

    off = after.fitted.state[0] - BESIDE_JUPITER
    assert after.fitted.chi2[0] <= fit.fitted.chi2[0] + 1e-9
    assert after.fitted.used.all()
    assert off @ np.linalg.solve(after.fitted.covariance[0], off) < 20.0
    assert len(after.shifts.low) == 1


@pytest.mark.parametrize("state", TOWARDS_THE_SUN)
def test_towards_the_sun_a_fit_in_the_wrong_minimum_is_exchanged_for_the_right_one(state):
    rows, first, right = determined(np.array(state), every=3.0)
    nearer = FitStart(_at_other_distance(rows, first, right, 0.75), np.array([EPOCH]))
    wrong = determine_orbits(
        rows, first, nearer, replace(SETTINGS, max_outlier_fraction=0.0, outlier_chi2=0.0), min_observations=6
    )
    assert wrong.fitted.converged[0]
    assert wrong.fitted.chi2[0] > right.fitted.chi2[0] + 3.0

    after = with_other_minima(rows, first, wrong, SETTINGS, min_observations=6)

    off = after.fitted.state[0] - state
    assert after.fitted.chi2[0] == pytest.approx(right.fitted.chi2[0], abs=0.01)
    assert off @ np.linalg.solve(after.fitted.covariance[0], off) < 20.0


def moment_of(states, covariances, cost):
    return _second_moment(states, covariances, cost, _minima(states, covariances, cost, 0))


def test_the_other_minimum_is_kept_as_the_rival():
    state = np.array(TOWARDS_THE_SUN[0])
    rows, first, right = determined(state, every=3.0)

    after = with_other_minima(rows, first, right, SETTINGS, min_observations=6)

    assert np.isfinite(after.rivals[0]).all()
    assert after.rivals[0, 6] > after.fitted.chi2[0]
    assert np.linalg.norm(after.rivals[0, :3] - after.fitted.state[0, :3]) > 0.05


def test_common_orbits_are_preferred_to_rare_ones():
    # On circles, but for an orbit that falls to the Sun and one that escapes.
    speed = np.sqrt(MU_SUN)
    states = [
        [2.7, 0, 0, 0, speed / 2.7**0.5, 0],
        [40, 0, 0, 0, speed / 40**0.5, 0],
        [1.2, 0, 0, 0, speed / 1.2**0.5, 0],
    ]
    states += [[0.7, 0, 0, 0, speed / 0.7**0.5, 0], [2.7, 0, 0, 0, 0.001, 0], [2.7, 0, 0, 0, 0.02, 0]]

    values = rarity(np.array(states, dtype=float))

    assert values == pytest.approx(2 * np.log([1, 200, 40, 400, 400, 3500]))


def test_minima_that_are_as_good_widen_the_covariance_and_bad_ones_do_not():
    unit = np.eye(6)[None] * np.array([1.0, 1.0, 1.0])[:, None, None]
    states = np.zeros((3, 6))
    states[1, 0], states[2, 1] = 10.0, 50.0

    moment = moment_of(states, unit, np.array([5.0, 5.0, 105.0]))

    # Half of the weight is 10 away: the second moment about the best is 1 + 100 / 2.
    np.testing.assert_allclose(np.diag(moment), [51.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_a_minimum_found_twice_counts_once():
    states = np.zeros((3, 6))
    states[1, 0] = 10.0
    states[2, 0] = 10.01

    moment = moment_of(states, np.tile(np.eye(6), (3, 1, 1)), np.array([5.0, 5.0, 5.0]))

    assert moment[0, 0] == pytest.approx(51.0, rel=1e-3)


def test_fits_that_failed_do_not_count():
    states = np.zeros((2, 6))
    states[1] = np.nan

    moment = moment_of(states, np.tile(np.eye(6), (2, 1, 1)), np.array([5.0, np.inf]))

    np.testing.assert_allclose(moment, np.eye(6))
