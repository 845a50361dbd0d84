import numpy as np
import pytest

from tasks.engines.builtin.fitting.normal_equations import accumulate, factorize, invert, solve


@pytest.fixture
def problem():
    rng = np.random.default_rng(4)
    # Positions and velocities differ by a factor 1e4 in size, as in orbits.
    partials = rng.normal(size=(12, 2, 6)) * np.array([1.0, 1.0, 1.0, 1e4, 1e4, 1e4])
    return rng.normal(size=(12, 2)), partials


def test_accumulated_equations_are_those_of_numpy(problem):
    residuals, partials = problem
    used = np.arange(12) != 5
    normal, gradient = np.empty((6, 6)), np.empty(6)

    chi2 = accumulate(residuals, partials, used, normal, gradient)

    jacobian = partials[used].reshape(-1, 6)
    np.testing.assert_allclose(normal, jacobian.T @ jacobian, rtol=1e-12)
    np.testing.assert_allclose(gradient, jacobian.T @ residuals[used].ravel(), rtol=1e-12)
    assert chi2 == pytest.approx((residuals[used] ** 2).sum())


def test_the_solution_is_that_of_numpy(problem):
    residuals, partials = problem
    normal, gradient, lower = np.empty((6, 6)), np.empty(6), np.zeros((6, 6))
    accumulate(residuals, partials, np.ones(12, bool), normal, gradient)
    scale, solution = np.empty(6), np.empty(6)

    assert factorize(normal, 0.0, lower, scale)
    solve(lower, scale, gradient, solution)

    expected = np.linalg.lstsq(partials.reshape(-1, 6), residuals.ravel(), rcond=None)[0]
    np.testing.assert_allclose(solution, expected, rtol=1e-10)


def test_the_inverse_is_the_inverse_and_symmetric(problem):
    residuals, partials = problem
    normal, inverse = np.empty((6, 6)), np.empty((6, 6))
    accumulate(residuals, partials, np.ones(12, bool), normal, np.empty(6))

    assert invert(normal, inverse)

    np.testing.assert_allclose(inverse @ normal, np.eye(6), atol=1e-9)
    np.testing.assert_array_equal(inverse, inverse.T)


def test_a_singular_matrix_is_refused():
    normal, inverse = np.diag([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]), np.empty((6, 6))

    assert not invert(normal, inverse)
    assert np.isnan(inverse).all()


def test_damping_shortens_the_step(problem):
    residuals, partials = problem
    normal, gradient, lower = np.empty((6, 6)), np.empty(6), np.zeros((6, 6))
    accumulate(residuals, partials, np.ones(12, bool), normal, gradient)
    scale, free, damped = np.empty(6), np.empty(6), np.empty(6)
    factorize(normal, 0.0, lower, scale)
    solve(lower, scale, gradient, free)

    factorize(normal, 10.0, lower, scale)
    solve(lower, scale, gradient, damped)

    assert np.linalg.norm(damped / scale) < 0.2 * np.linalg.norm(free / scale)
