import numpy as np
import pytest
from adam_core.coordinates import CartesianCoordinates, KeplerianCoordinates, Origin
from adam_core.time import Timestamp
from hypothesis import given

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.elements import elements_from_states, keplerian_from_states
from tests.engines.astrodynamics.conics import Units, at_perihelion, random_states


def test_vallado_example_2_5_elements_of_a_state():
    earth = Units(398_600.4418)
    state = earth.state([6524.834, 6862.875, 6448.296], [4.901327, 5.533756, -1.976341])

    a, e, i, raan, ap, _ = keplerian_from_states(state[None])[0]

    assert a * earth.length_km == pytest.approx(36_127.343, abs=0.02)
    assert [e, i, raan, ap] == pytest.approx([0.832853, 87.870, 227.898, 53.38], abs=5e-3)


def test_curtis_example_4_3_elements_of_a_state():
    earth = Units(398_600.0)
    state = earth.state([-6045.0, -3490.0, 2500.0], [-3.457, 6.618, 2.533])

    a, e, i, raan, ap, _ = keplerian_from_states(state[None])[0]

    assert a * earth.length_km == pytest.approx(8788, abs=0.5)
    assert [e, i, raan, ap] == pytest.approx([0.1712, 153.2, 255.3, 20.07], abs=0.06)


def test_mean_anomaly_of_a_hyperbola_grows_with_the_mean_motion():
    state = at_perihelion(0.25, 1.2)
    a, e, *_, mean_anomaly = keplerian_from_states(state[None])[0]

    assert (a, e, mean_anomaly) == pytest.approx((-1.25, 1.2, 0.0), abs=1e-12)


def test_on_a_circle_in_the_ecliptic_the_angles_add_up_to_the_longitude():
    a, e, i, raan, ap, mean_anomaly = keplerian_from_states(at_perihelion(1.0, 0.0)[None])[0]

    np.testing.assert_allclose([a, e, i, raan], [1.0, 0.0, 0.0, 0.0], atol=1e-12)
    assert np.cos(np.radians(ap + mean_anomaly)) == pytest.approx(1.0)


@given(random_states())
def test_adam_core_turns_the_elements_into_the_same_state(state):
    values = keplerian_from_states(state[None])
    # Elements do not hold a state that is almost a parabola or almost falls to the Sun.
    if abs(values[0, 1] - 1.0) < 1e-3:
        return
    coordinates = KeplerianCoordinates.from_kwargs(
        **{name: values[:, column] for column, name in enumerate(("a", "e", "i", "raan", "ap", "M"))},
        time=Timestamp.from_mjd([60000.0], scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"]),
        frame="ecliptic",
    )

    back = coordinates.to_cartesian()

    assert isinstance(back, CartesianCoordinates)
    np.testing.assert_allclose(back.values[0, :3], state[:3], atol=1e-6 * np.linalg.norm(state[:3]))


def test_sigmas_are_the_scatter_of_elements_of_scattered_states():
    rng = np.random.default_rng(11)
    state = np.array([2.1, 1.2, 0.3, -0.005, 0.0091, 0.0007])
    root = rng.normal(size=(6, 6)) * np.repeat([1e-6, 1e-8], 3)[:, None]
    covariance = root @ root.T

    elements = elements_from_states(state[None], covariance[None])
    scattered = keplerian_from_states(state + rng.normal(size=(20_000, 6)) @ root.T)

    # 20 000 draws know a standard deviation to half a percent.
    np.testing.assert_allclose(elements.sigmas[0], scattered.std(axis=0), rtol=0.03)
    assert elements.perihelion[0] == pytest.approx(elements.values[0, 0] * (1 - elements.values[0, 1]))


def test_without_a_covariance_the_sigmas_are_nan():
    elements = elements_from_states(at_perihelion(1.0, 0.1)[None], np.full((1, 6, 6), np.nan))

    assert np.isnan(elements.sigmas).all()
    assert elements.values[0, 0] == pytest.approx(1.0 / 0.9)


def test_a_state_at_rest_has_the_energy_of_its_distance():
    state = np.array([[1.0, 0.0, 0.0, 0.0, 1e-9, 0.0]])

    assert keplerian_from_states(state)[0, 0] == pytest.approx(0.5 / (1 - 0.5e-18 / MU_SUN))
