import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.fitting.astrometry import (
    EAST,
    NORTH,
    OBSERVER,
    TIME,
    TOWARD,
    light_times,
    predicted_place,
    residual_and_partials,
)
from tests.engines.fitting_sky import EPOCH, KINDS, SIGMA_RAD, observer_positions, places, rows_of

NO_SHIFT = np.zeros(3)
NO_SLOPE = np.zeros((0, 6))


def residual(state, row, shift=NO_SHIFT):
    values, partials = np.empty(2), np.empty((2, 6))
    delay = light_times(row[None], np.array([0, 1]), state[None], np.array([EPOCH]))[0]
    delay = residual_and_partials(state, EPOCH, row, shift, NO_SLOPE, delay, values, partials)
    return values, partials, delay


@pytest.mark.parametrize("state", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dt", [-20.0, 0.0, 6.3])
def test_a_perfect_observation_has_no_residual(state, dt):
    row = rows_of(state, np.array([EPOCH + dt]))[0]

    # 1e-5 sigma is a microarcsecond
    np.testing.assert_allclose(residual(state, row)[0], 0.0, atol=1e-5)


@pytest.mark.parametrize("dt", [-20.0, 0.0, 6.3])
def test_residuals_are_observed_minus_predicted_in_sigmas_east_and_north(dt):
    state = KINDS["main belt"]
    row = rows_of(state, np.array([EPOCH + dt]), noise_sigmas=np.array([[3.0, -2.0]]))[0]

    np.testing.assert_allclose(residual(state, row)[0], [3.0, -2.0], atol=1e-4)


@given(
    st.sampled_from(sorted(KINDS)),
    st.floats(-25.0, 25.0),
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
)
def test_partials_are_those_of_finite_differences(kind, dt, nudge):
    state = KINDS[kind] * (1 + 0.01 * np.array(nudge))
    row = rows_of(KINDS[kind], np.array([EPOCH + dt]))[0]
    _, partials, _ = residual(state, row)

    for axis in range(6):
        h = 1e-6 * np.eye(6)[axis] * (1.0 if axis < 3 else 0.01)
        # residual = observed - predicted: its slope is minus that of the prediction
        numeric = -(residual(state + h, row)[0] - residual(state - h, row)[0]) / (2 * h[axis])
        np.testing.assert_allclose(partials[:, axis], numeric, rtol=2e-5, atol=2e-6 * np.abs(partials).max())


@pytest.mark.parametrize("state", KINDS.values(), ids=KINDS)
def test_a_wrong_first_guess_of_the_light_time_does_not_matter(state):
    row = rows_of(state, np.array([EPOCH + 3.0]))[0]
    values, partials = np.empty(2), np.empty((2, 6))

    delay = residual_and_partials(state, EPOCH, row, NO_SHIFT, NO_SLOPE, 0.0, values, partials)
    distance = SPEED_OF_LIGHT * delay

    np.testing.assert_allclose(values, 0.0, atol=3e-2)
    assert distance == pytest.approx(np.linalg.norm(state[:3] + 3 * state[3:] - row[OBSERVER:TOWARD]), rel=0.02)


def test_a_shift_moves_the_prediction():
    state = KINDS["main belt"]
    row = rows_of(state, np.array([EPOCH]))[0]
    _, _, delay = residual(state, row)
    sigma_au = SPEED_OF_LIGHT * delay * SIGMA_RAD

    values = residual(state, row, shift=4.0 * sigma_au * row[EAST:NORTH])[0]

    np.testing.assert_allclose(values, [-4.0, 0.0], atol=1e-3)


def test_a_prediction_on_the_other_side_of_the_sky_is_refused():
    state = KINDS["main belt"]
    row = rows_of(state, np.array([EPOCH]))[0]
    row[TOWARD:EAST] *= -1

    assert np.isnan(residual(state, row)[2])


def test_the_predicted_place_is_where_the_light_left():
    state, times = KINDS["near Earth"], EPOCH + np.array([-9.0, 0.0, 9.0])
    expected = places(state, times)

    for time, toward in zip(times, expected, strict=True):
        place = np.empty(3)
        predicted_place(state, time - EPOCH, observer_positions(np.array([time]))[0], NO_SHIFT, 0.0, place)
        np.testing.assert_allclose(place, toward, atol=1e-10)


def test_rows_carry_the_time_they_were_made_with():
    assert rows_of(KINDS["main belt"], np.array([EPOCH + 1.5]))[0, TIME] == EPOCH + 1.5
