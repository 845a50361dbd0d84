from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from tasks.engines.builtin.fitting.astrometry import OBSERVER, TOWARD
from tasks.engines.builtin.fitting.fitted_orbits import FitLimits, with_replaced
from tasks.engines.builtin.fitting.least_squares import fit_orbits
from tasks.engines.builtin.fitting.velocity_prior import add_prior
from tests.engines.fitting_sky import DISTANT, EPOCH, KINDS, MAIN_BELT, nights, rows_of

LIMITS = FitLimits(
    max_iterations=40,
    max_reduced_chi2=3.0,
    min_probability=1e-4,
    outlier_chi2=25.0,
    max_outlier_fraction=0.25,
    min_observations=6,
)


def fit(rows, start, limits=LIMITS, **more):
    return fit_orbits(rows, np.array([0, len(rows)]), start[None], np.array([EPOCH]), limits, **more)


@pytest.mark.parametrize("state", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("error", [1e-4, 0.03])
def test_a_fit_to_perfect_astrometry_finds_the_orbit(state, error):
    rows = rows_of(state, nights(8))
    rng = np.random.default_rng(1)

    fitted = fit(rows, state * (1 + error * rng.choice([-1, 1], 6)))

    # The prior of the velocity moves an orbit to where its own slope meets that of chi^2: a distant one by 0.04 sigmas.
    normal, slope = np.zeros((6, 6)), np.zeros(6)
    add_prior(state, normal, slope)
    moved = fitted.covariance[0] @ slope
    sigma = np.sqrt(np.diag(fitted.covariance[0]))
    assert fitted.converged[0]
    assert (np.abs(fitted.state[0] - state - moved) < 0.002 * sigma + 1e-12).all()
    assert fitted.chi2[0] < 1e-6 + 2.0 * moved @ np.linalg.solve(fitted.covariance[0], moved)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.7, 1.4, 3.0])
def test_a_short_arc_of_a_distant_object_has_one_minimum_whatever_the_start(share):
    times = nights(5)
    rows = rows_of(DISTANT, times, noise_sigmas=np.random.default_rng(4).normal(size=(len(times), 2)))
    earth = rows[len(rows) // 2, OBSERVER:TOWARD]
    start = np.concatenate([earth + share * (DISTANT[:3] - earth), share * DISTANT[3:]])

    fitted = fit(rows, start)

    best = fit(rows, DISTANT)
    assert fitted.converged[0]
    # chi^2 of both lies within rounding of the same floor.
    assert fitted.chi2[0] == pytest.approx(best.chi2[0], abs=0.01)
    assert fitted.iterations[0] <= 20


def test_a_detection_that_is_grossly_out_does_not_lead_the_fit_away():
    times = nights(4)
    noise = np.random.default_rng(5).normal(size=(len(times), 2))
    rows = rows_of(MAIN_BELT, times, noise_sigmas=noise)
    without = fit(np.delete(rows, 2, axis=0), MAIN_BELT)
    noise[2] += [20_000.0, -25_000.0]
    rows = rows_of(MAIN_BELT, times, noise_sigmas=noise)

    fitted = fit(rows, MAIN_BELT * 1.01)

    assert np.flatnonzero(~fitted.used).tolist() == [2]
    np.testing.assert_allclose(fitted.state[0], without.state[0], rtol=1e-5)


def test_a_fit_that_ends_on_a_limit_has_not_converged():
    # As far as 1200 au, where no fit may go.
    state = np.array([960.0, 720.0, 12.0, -1e-6, 2e-6, 0.0])

    fitted = fit(rows_of(state, nights(8)), 0.2 * state, replace(LIMITS, max_outlier_fraction=0.0))

    assert not fitted.converged[0]
    assert np.linalg.norm(fitted.state[0, :3]) < 1000.0


def test_chi2_of_noisy_fits_is_distributed_as_chi2():
    rng = np.random.default_rng(2)
    times = nights(6)
    values = []
    for _ in range(200):
        rows = rows_of(MAIN_BELT, times, noise_sigmas=rng.normal(size=(len(times), 2)))
        values.append(fit(rows, MAIN_BELT).chi2[0])

    # 24 numbers less 6 parameters; 200 means of 18 scatter by 0.42
    assert np.mean(values) == pytest.approx(18.0, abs=1.3)
    assert np.mean(np.array(values) > chi2.isf(0.1, 18)) == pytest.approx(0.1, abs=0.07)


@pytest.mark.parametrize("kind", ["main belt", "near Earth", "hyperbolic"])
def test_covariances_are_honest(kind):
    rng = np.random.default_rng(3)
    state, times = KINDS[kind], nights(7)
    distances = []
    for _ in range(300):
        rows = rows_of(state, times, noise_sigmas=rng.normal(size=(len(times), 2)))
        fitted = fit(rows, state)
        error = fitted.state[0] - state
        distances.append(error @ np.linalg.solve(fitted.covariance[0], error))

    # Squared Mahalanobis distances of 6 parameters: mean 6, and 300 means scatter by sqrt(12 / 300) = 0.2
    assert np.mean(distances) == pytest.approx(6.0, abs=0.7)


def test_a_detection_that_does_not_belong_is_rejected_and_no_other():
    times = nights(6)
    noise = np.random.default_rng(5).normal(size=(len(times), 2))
    noise[7] += [40.0, -25.0]
    rows = rows_of(MAIN_BELT, times, noise_sigmas=noise)

    fitted = fit(rows, MAIN_BELT * 1.001)

    assert np.flatnonzero(~fitted.used).tolist() == [7]
    assert fitted.residuals[7] == pytest.approx(noise[7], abs=4.0)


def test_a_detection_wrongly_left_out_at_the_start_is_taken_back():
    times = nights(6)
    rows = rows_of(MAIN_BELT, times, noise_sigmas=np.random.default_rng(6).normal(size=(len(times), 2)))
    used = np.arange(len(times)) != 3

    fitted = fit(rows, MAIN_BELT, used=used)

    assert fitted.used.all()
    assert not used[3]


def test_no_more_is_rejected_than_allowed():
    rng = np.random.default_rng(7)
    times = nights(4)
    rows = rows_of(MAIN_BELT, times, noise_sigmas=rng.normal(0, 60, size=(len(times), 2)))

    fitted = fit(rows, MAIN_BELT)

    assert fitted.used.sum() == 6
    assert fitted.chi2[0] > 3.0 * 6


def test_detections_of_two_objects_make_no_orbit():
    times = nights(6)
    rows = rows_of(MAIN_BELT, times)
    other = rows_of(MAIN_BELT + np.array([0.0, 0.0, 3e-4, 0.0, 0.0, -2e-6]), times)
    rows[::2] = other[::2]

    fitted = fit(rows, MAIN_BELT)

    assert fitted.chi2[0] / (2 * fitted.used.sum() - 6) > 3.0


def test_a_start_from_which_nothing_can_be_predicted_is_an_infinite_chi2_not_an_exception():
    rows = rows_of(MAIN_BELT, nights(4))

    fitted = fit(rows, -MAIN_BELT)

    assert np.isinf(fitted.chi2[0])
    assert not fitted.converged[0]
    assert np.isnan(fitted.covariance).all()


def test_orbits_do_not_disturb_each_other():
    rows = [rows_of(KINDS[kind], nights(6)) for kind in KINDS]
    first = np.cumsum([0, *(len(each) for each in rows)])
    starts = np.array(list(KINDS.values())) * 1.01

    together = fit_orbits(np.concatenate(rows), first, starts, np.full(4, EPOCH), LIMITS)

    for row, (own, start) in enumerate(zip(rows, starts, strict=True)):
        np.testing.assert_array_equal(together.state[row], fit(own, start).state[0])


def test_some_orbits_can_be_taken_out_and_put_back():
    rows = np.concatenate([rows_of(KINDS[kind], nights(4)) for kind in ("main belt", "distant")])
    first = np.array([0, 8, 16])
    starts = np.array([KINDS["main belt"], KINDS["distant"]])
    whole = fit_orbits(rows, first, starts, np.full(2, EPOCH), LIMITS)

    part = whole.only(np.array([1]), np.arange(8, 16))
    again = with_replaced(whole, part, np.array([1]), np.arange(8, 16))

    np.testing.assert_array_equal(part.state, whole.state[1:])
    np.testing.assert_array_equal(again.residuals, whole.residuals)
    assert part.joined(part).chi2.tolist() == [whole.chi2[1]] * 2


def test_chance_has_its_share_in_the_largest_chi2():
    largest = LIMITS.largest_chi2(200)

    assert largest[6] == pytest.approx(chi2.isf(1e-4, 6))
    assert largest[200] == pytest.approx(3.0 * 394)


def test_without_a_probability_only_the_reduced_chi2_counts():
    limits = FitLimits(40, 3.0, 0.0, 25.0, 0.25, 6)

    assert limits.largest_chi2(6)[6] == 18.0
