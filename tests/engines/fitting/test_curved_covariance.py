from functools import cache

import numpy as np
import pytest

from tasks.engines.builtin.fitting.curved_covariance import with_curved_covariances
from tasks.engines.builtin.fitting.fitted_orbits import FitLimits, FittedOrbits, no_added_motion
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tests.engines.fitting_sky import EPOCH, MAIN_BELT, nights, rows_of

LIMITS = FitLimits(60, 3.0, 1e-4, 25.0, 0.25, 6)
TRIALS = 200


@cache
def fitted_trials(count: int, every: float, arcsec: float) -> tuple[np.ndarray, np.ndarray, FittedOrbits]:
    """Fits to many noisy looks at one orbit, in few nights; the epoch is two days after the middle of the arc."""
    rng = np.random.default_rng(8)
    times = nights(count, every=every) - 2.0
    sigma = np.radians(arcsec / 3600)
    rows = [
        rows_of(MAIN_BELT, times, noise_sigmas=rng.normal(size=(len(times), 2)), sigma_rad=sigma) for _ in range(TRIALS)
    ]
    first = np.arange(TRIALS + 1) * len(times)
    stacked = np.concatenate(rows)
    return stacked, first, fit_orbits(stacked, first, np.tile(MAIN_BELT, (TRIALS, 1)), np.full(TRIALS, EPOCH), LIMITS)


def squared_distances(fitted: FittedOrbits) -> np.ndarray:
    good = fitted.converged
    errors = fitted.state[good] - MAIN_BELT
    return np.array([e @ np.linalg.solve(c, e) for e, c in zip(errors, fitted.covariance[good], strict=True)])


def curved(count: int, every: float, arcsec: float) -> FittedOrbits:
    rows, first, fitted = fitted_trials(count, every, arcsec)
    return with_curved_covariances(rows, first, fitted, no_added_motion(len(fitted.state), len(rows)))


def test_in_three_nights_the_tangent_is_too_sure_and_the_curve_is_honest():
    tangent = squared_distances(fitted_trials(3, 1.0, 0.3)[2])
    along_the_curve = squared_distances(curved(3, 1.0, 0.3))

    assert np.mean(tangent) > 9.0
    # 6 expected; tails are heavier than a normal distribution's, whose mean of 200 scatters by 0.25
    assert np.mean(along_the_curve) == pytest.approx(6.0, abs=1.2)


def test_in_two_weeks_the_curve_is_straight_and_nothing_changes():
    _, _, fitted = fitted_trials(8, 2.0, 0.1)

    after = curved(8, 2.0, 0.1)

    unchanged = (after.covariance == fitted.covariance).all(axis=(1, 2))
    assert unchanged.mean() > 0.9
    np.testing.assert_allclose(
        np.sqrt(np.einsum("cii->ci", after.covariance)), np.sqrt(np.einsum("cii->ci", fitted.covariance)), rtol=0.05
    )


def test_covariances_stay_positive_definite_and_symmetric():
    covariance = curved(3, 1.0, 0.3).covariance

    scale = np.sqrt(np.einsum("cii->ci", covariance))
    correlation = covariance / scale[:, :, None] / scale[:, None, :]
    np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1), rtol=1e-9)
    assert (np.linalg.eigvalsh(correlation)[:, 0] > 0.0).all()


def test_without_a_covariance_there_is_nothing_to_bend():
    rows, first, fitted = fitted_trials(3, 1.0, 0.3)
    none = fitted.with_covariance(np.full_like(fitted.covariance, np.nan))

    after = with_curved_covariances(rows, first, none, no_added_motion(len(fitted.state), len(rows)))

    assert np.isnan(after.covariance).all()
