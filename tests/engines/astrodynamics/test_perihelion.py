import numpy as np
import pytest
from adam_core.coordinates import CartesianCoordinates, CometaryCoordinates, CoordinateCovariances, Origin
from adam_core.time import Timestamp
from hypothesis import given

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.astrodynamics.perihelion import perihelia_from_states
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body
from tests.engines.astrodynamics.conics import at_perihelion, random_states

NO_COVARIANCE = np.full((1, 6, 6), np.nan)


@pytest.mark.parametrize("e", [0.0, 0.1, 0.9, 1.5])
@pytest.mark.parametrize("days", [-200.0, -1.0, 0.0, 1.0, 200.0])
def test_the_passage_is_as_long_ago_as_the_state_was_propagated(e, days):
    state = propagate_two_body(at_perihelion(1.2, e), np.array([days]))

    perihelia = perihelia_from_states(state, NO_COVARIANCE)

    if e > 0.0:  # a circle has its perihelion anywhere
        assert perihelia.time_from_epoch[0] == pytest.approx(-days, abs=1e-6)
    assert perihelia.distance[0] == pytest.approx(1.2, abs=1e-9)


@given(random_states())
def test_the_next_passage_is_at_most_half_a_period_away(state):
    a, e, *_ = keplerian_from_states(state[None])[0]
    if abs(e - 1.0) < 1e-3:
        return

    perihelia = perihelia_from_states(state[None], NO_COVARIANCE)
    there = propagate_two_body(state, perihelia.time_from_epoch)

    assert np.linalg.norm(there[0, :3]) == pytest.approx(perihelia.distance[0], rel=1e-6)
    if e < 1.0:
        assert abs(perihelia.time_from_epoch[0]) <= 182.63 * a**1.5


@pytest.mark.parametrize("days", [30.0, 480.0])  # before and after aphelion
def test_adam_core_has_the_same_elements_and_sigmas(days):
    state = propagate_two_body(at_perihelion(1.9, 0.2), np.array([days]))
    root = np.random.default_rng(3).normal(size=(6, 6)) * np.repeat([1e-6, 1e-8], 3)[:, None]
    covariance = (root @ root.T)[None]

    perihelia = perihelia_from_states(state, covariance)
    theirs = _cometary(state, covariance)

    assert perihelia.distance[0] == pytest.approx(theirs.q[0].as_py(), rel=1e-9)
    assert 60000.0 + perihelia.time_from_epoch[0] == pytest.approx(theirs.tp[0].as_py(), abs=1e-5)
    assert perihelia.distance_sigma[0] == pytest.approx(theirs.sigma_q[0], rel=1e-3)
    assert perihelia.time_sigma[0] == pytest.approx(theirs.sigma_tp[0], rel=1e-3)


def test_sigmas_hold_also_where_the_anomaly_jumps():
    a, e = 2.0, 0.1
    half_a_period = 0.5 * 365.256898 * a**1.5
    state = propagate_two_body(at_perihelion(a * (1 - e), e), np.array([half_a_period]))
    covariance = np.diag([1e-12] * 3 + [1e-16] * 3)[None]
    before = propagate_two_body(at_perihelion(a * (1 - e), e), np.array([half_a_period - 5.0]))

    sigma = perihelia_from_states(state, covariance).time_sigma[0]

    # Nothing changes in five days of a period of three years; a jump would make it a million times larger.
    assert sigma == pytest.approx(perihelia_from_states(before, covariance).time_sigma[0], rel=0.1)


def _cometary(state, covariance):
    coordinates = CartesianCoordinates.from_kwargs(
        **dict(zip(("x", "y", "z", "vx", "vy", "vz"), state.T, strict=True)),
        time=Timestamp.from_mjd([60000.0], scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"]),
        covariance=CoordinateCovariances.from_matrix(covariance),
        frame="ecliptic",
    )
    return CometaryCoordinates.from_cartesian(coordinates)
