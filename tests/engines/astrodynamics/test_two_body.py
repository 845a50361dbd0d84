import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.two_body import (
    positions_of_many,
    propagate_two_body,
    propagate_two_body_partials,
    stumpff,
    universal_anomaly,
)
from tests.engines.astrodynamics.conics import Units, at_perihelion, energy, random_states

days = st.floats(-2000.0, 2000.0)


def test_vallado_example_2_4_kepler_problem():
    earth = Units(398_600.4418)
    state = earth.state([1131.340, -2282.343, 6672.423], [-5.64305, 4.30333, 2.42879])

    after = propagate_two_body(state, earth.time(40 * 60))[0]

    np.testing.assert_allclose(earth.km(after), [-4219.7527, 4363.0292, -3958.7666], atol=2e-4)
    np.testing.assert_allclose(earth.km_per_s(after), [3.689866, -1.916735, -6.112511], atol=1e-6)


def test_curtis_example_3_6_universal_anomaly_of_a_hyperbola():
    earth = Units(398_600.0)
    r0 = 10_000 / earth.length_km
    radial_speed = 3.0752 * earth.time_s / earth.length_km
    alpha = -earth.length_km / 19_655

    chi = universal_anomaly(r0, r0 * radial_speed / math.sqrt(MU_SUN), alpha, earth.time(3600)[0])

    assert chi * math.sqrt(earth.length_km) == pytest.approx(128.51, abs=0.005)


def test_curtis_example_3_7_state_after_an_hour():
    earth = Units(398_600.0)
    state = earth.state([7000.0, -12_124.0, 0.0], [2.6679, 4.6210, 0.0])

    after = propagate_two_body(state, earth.time(3600))[0]

    np.testing.assert_allclose(earth.km(after), [-3297.8, 7413.4, 0.0], atol=0.05)
    np.testing.assert_allclose(earth.km_per_s(after), [-8.2976, -0.96404, 0.0], atol=5e-5)


@pytest.mark.parametrize(
    ("e", "mean_anomaly_deg", "eccentric_anomaly_deg"), [(0.1, 5.0, 5.554589), (0.99, 2.0, 32.361007)]
)
def test_meeus_chapter_30_kepler_equation(e, mean_anomaly_deg, eccentric_anomaly_deg):
    days_after = math.radians(mean_anomaly_deg) / math.sqrt(MU_SUN)

    after = propagate_two_body(at_perihelion(1.0 - e, e), np.array([days_after]))[0]

    radius = 1.0 - e * math.cos(math.radians(eccentric_anomaly_deg))
    assert np.linalg.norm(after[:3]) == pytest.approx(radius, abs=2e-8)


@pytest.mark.parametrize(
    ("q", "e", "t", "true_anomaly_deg", "radius"),
    [
        (0.1, 0.987, 254.9, 164.50029, 4.063777),
        (0.123456, 0.99997, -30.47, 221.91190, 0.965053),
        (3.363943, 1.05731, 1237.1, 109.40598, 10.668551),
    ],
)
def test_meeus_chapter_35_near_parabolic_motion(q, e, t, true_anomaly_deg, radius):
    after = propagate_two_body(at_perihelion(q, e), np.array([t]))[0]

    assert math.degrees(math.atan2(after[1], after[0])) % 360 == pytest.approx(true_anomaly_deg, abs=1e-5)
    assert np.linalg.norm(after[:3]) == pytest.approx(radius, abs=1e-6)


def test_a_parabola_obeys_barkers_equation():
    q, t = 0.8, 77.0
    after = propagate_two_body(at_perihelion(q, 1.0), np.array([t]))[0]

    tangent = math.tan(0.5 * math.atan2(after[1], after[0]))
    assert tangent + tangent**3 / 3 == pytest.approx(t * math.sqrt(MU_SUN / (2 * q**3)), rel=1e-12)


def test_a_circle_comes_back_after_a_thousand_years():
    state = at_perihelion(1.0, 0.0)
    year = 2 * math.pi / math.sqrt(MU_SUN)

    # 1e-15 a revolution is what the period itself is known to in double precision
    np.testing.assert_allclose(propagate_two_body(state, np.array([1000 * year]))[0], state, atol=1e-11)


def test_a_body_that_falls_straight_to_the_sun_takes_the_free_fall_time():
    state = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    free_fall = math.pi / 2 / math.sqrt(2 * MU_SUN)

    before_the_end = propagate_two_body(state, np.array([0.99 * free_fall]))[0]

    assert 0.0 < before_the_end[0] < 0.1
    assert energy(before_the_end) == pytest.approx(energy(state), rel=1e-9)


def test_a_fast_body_that_grazes_the_sun_comes_out_again():
    a, e, days = -0.9, 1.0017, 24.0

    state = propagate_two_body(at_perihelion(a * (1.0 - e), e), np.array([days]))[0]

    # r = a (1 - e cosh F), and Kepler's equation with that F (Vallado 2013, section 2.2).
    hyperbolic = math.acosh((1.0 - np.linalg.norm(state[:3]) / a) / e)
    since = (e * math.sinh(hyperbolic) - hyperbolic) * math.sqrt(-(a**3) / MU_SUN)
    assert since == pytest.approx(days, rel=1e-9)


def test_no_time_changes_nothing():
    state = np.array([1.2, -0.3, 0.1, 0.004, 0.013, -0.002])
    after, transition = propagate_two_body_partials(state, np.array([0.0]))

    np.testing.assert_array_equal(after[0], state)
    np.testing.assert_array_equal(transition[0], np.eye(6))


def test_a_state_that_is_not_finite_gives_nan():
    assert np.isnan(propagate_two_body(np.full(6, np.nan), np.array([1.0]))).all()


@given(random_states(), days)
def test_energy_and_angular_momentum_are_kept(state, dt):
    after = propagate_two_body(state, np.array([dt]))[0]

    potential = MU_SUN / min(np.linalg.norm(state[:3]), np.linalg.norm(after[:3]))
    assert abs(energy(after) - energy(state)) < 1e-11 * potential
    momentum = np.cross(after[:3], after[3:]) - np.cross(state[:3], state[3:])
    scale = np.linalg.norm(after[:3]) * np.linalg.norm(after[3:]) + np.linalg.norm(state[:3]) * np.linalg.norm(
        state[3:]
    )
    assert np.linalg.norm(momentum) < 1e-11 * scale


@given(random_states(), st.floats(-100.0, 100.0))
def test_there_and_back_is_where_we_were(state, dt):
    after = propagate_two_body(state, np.array([dt]))[0]
    _, transition = propagate_two_body_partials(after, np.array([-dt]))
    back = propagate_two_body(after, np.array([-dt]))[0]

    # A rounding of the state after may be magnified on the way back, by what the transition matrix says.
    rounding = 1e-13 * (np.abs(transition[0]) @ np.abs(after)) + 1e-13 * np.abs(state).max()
    assert (np.abs(back - state) <= rounding + 1e-12 * np.linalg.norm(state[:3])).all()


@given(random_states(), st.floats(-200.0, 200.0))
def test_partials_are_those_of_finite_differences(state, dt):
    times = np.array([dt])
    after, transition = propagate_two_body_partials(state, times)
    scale = np.repeat([np.linalg.norm(state[:3]), np.linalg.norm(state[3:])], 3)
    after_scale = np.repeat([np.linalg.norm(after[0, :3]), np.linalg.norm(after[0, 3:])], 3)

    def differences(relative_step):
        numeric = np.empty((6, 6))
        for axis in range(6):
            h = relative_step * scale[axis] * np.eye(6)[axis]
            more, less = propagate_two_body(state + h, times)[0], propagate_two_body(state - h, times)[0]
            numeric[:, axis] = (more - less) / (2 * h[axis])
        return numeric * scale / after_scale[:, None]

    coarse, fine = differences(2e-5), differences(1e-5)
    # Two steps tell how good the differences themselves are: in a passage by the Sun they are bad.
    allowed = 2.0 * np.abs(coarse - fine) + 1e-8 * (1.0 + np.abs(fine).max())
    assert (np.abs(transition[0] * scale / after_scale[:, None] - fine) <= allowed).all()


@given(random_states(), st.floats(-300.0, 300.0))
def test_the_transition_matrix_is_symplectic(state, dt):
    _, transition = propagate_two_body_partials(state, np.array([dt]))
    # In units in which position and velocity are of one size, or the rounding of one hides the other.
    scale = np.repeat([np.linalg.norm(state[:3]), np.linalg.norm(state[3:])], 3)
    matrix = transition[0] * scale / scale[:, None]
    form = np.block([[np.zeros((3, 3)), np.eye(3)], [-np.eye(3), np.zeros((3, 3))]])

    np.testing.assert_allclose(matrix.T @ form @ matrix, form, atol=1e-10 * max(1.0, np.abs(matrix).max() ** 2))


def test_partials_of_many_revolutions_are_those_of_finite_differences():
    state, dt = np.array([0.9, 0.2, 0.01, -0.003, 0.016, 0.001]), np.array([5000.0])
    _, transition = propagate_two_body_partials(state, dt)

    for axis in range(6):
        h = 1e-7 * np.eye(6)[axis]
        numeric = (propagate_two_body(state + h, dt)[0] - propagate_two_body(state - h, dt)[0]) / 2e-7
        np.testing.assert_allclose(transition[0][:, axis], numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


@pytest.mark.parametrize("psi", [-400.0, -3.0, -1.0, -0.5, -1e-9, 0.0, 1e-9, 0.5, 1.0, 3.0, 400.0])
def test_stumpff_functions_obey_their_recurrence(psi):
    c2, c3, c4, c5 = stumpff(psi)

    assert c2 + psi * c4 == pytest.approx(1 / 2, abs=1e-15 * max(1.0, abs(c2)))
    assert c3 + psi * c5 == pytest.approx(1 / 6, abs=1e-15 * max(1.0, abs(c3)))
    cosine = math.cos(math.sqrt(psi)) if psi >= 0 else math.cosh(math.sqrt(-psi))
    assert 1 - psi * c2 == pytest.approx(cosine, rel=1e-14)


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_stumpff_functions_do_not_jump_where_the_series_ends(edge):
    inside, outside = stumpff(edge * (1 - 1e-12)), stumpff(edge * (1 + 1e-12))

    np.testing.assert_allclose(inside, outside, rtol=1e-11)


def test_positions_of_many_orbits_are_those_of_each():
    states = np.array([at_perihelion(1.0, 0.3), at_perihelion(2.0, 1.4)])
    dt = np.array([-20.0, 0.0, 33.0])

    together = positions_of_many(states, dt)

    for state, positions in zip(states, together, strict=True):
        np.testing.assert_array_equal(positions, propagate_two_body(state, dt)[:, :3])
