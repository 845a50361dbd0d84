"""The prior of the velocity: no wall, and no say where the detections have one."""

import numpy as np
import pytest

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.fitting.fitted_orbits import FitLimits
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tasks.engines.builtin.fitting.velocity_prior import add_prior, prior_chi2
from tests.engines.fitting_sky import DISTANT, EPOCH, KINDS, nights, rows_of

LIMITS = FitLimits(100, 3.0, 1e-4, 25.0, 0.25, 6)


@pytest.mark.parametrize("kind", ["main belt", "near Earth", "distant"])
def test_it_takes_less_than_one_from_whatever_is_bound(kind):
    assert prior_chi2(KINDS[kind]) < 1.0


def test_it_is_one_at_the_escape_velocity_and_grows_with_the_square():
    state = np.array([0.0, 3.0, 4.0, np.sqrt(2.0 * MU_SUN / 5.0), 0.0, 0.0])

    assert prior_chi2(state) == pytest.approx(1.0)
    assert prior_chi2(state * [1, 1, 1, 3, 3, 3]) == pytest.approx(9.0)


def test_its_gradient_is_the_slope_of_its_chi2():
    state = KINDS["near Earth"]
    normal, gradient = np.zeros((6, 6)), np.zeros(6)
    add_prior(state, normal, gradient)

    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6 * np.abs(state).max()
        slope = (prior_chi2(state + step) - prior_chi2(state - step)) / (2.0 * step[axis])
        # The gradient of a fit is minus half the slope of chi^2.
        assert gradient[axis] == pytest.approx(-0.5 * slope, rel=1e-5, abs=1e-9)
    assert np.linalg.eigvalsh(normal).min() > -1e-9


def test_a_short_arc_of_a_distant_object_gives_a_bound_orbit_and_a_minimum():
    times = nights(3, every=2.0)
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(size=(len(times), 2))
        rows = rows_of(DISTANT, times, noise_sigmas=noise)
        first = np.array([0, len(rows)])

        fitted = fit_orbits(rows, first, DISTANT[None] * 1.02, np.array([EPOCH]), LIMITS)

        assert fitted.converged[0]
        assert prior_chi2(fitted.state[0]) < 4.0
        true = fit_orbits(rows, first, DISTANT[None], np.array([EPOCH]), FitLimits(0, 3.0, 1e-4, 1e9, 0.0, 6))
        assert fitted.chi2[0] < true.chi2[0] + 1.0


def test_an_arc_that_says_how_fast_an_unbound_body_is_hardly_feels_it():
    state = KINDS["hyperbolic"]
    rows = rows_of(state, nights(6, every=3.0))

    fitted = fit_orbits(rows, np.array([0, len(rows)]), state[None], np.array([EPOCH]), LIMITS)

    off = fitted.state[0] - state
    assert off @ np.linalg.solve(fitted.covariance[0], off) < 0.01
