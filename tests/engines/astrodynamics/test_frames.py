"""Rotations and projections: round trips, invariants, and the product R2 R1 of the paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.builtin.astrodynamics.frames import (
    directions_from_gnomonic,
    ecliptic_from_equatorial,
    equatorial_from_ecliptic,
    gnomonic_projection,
    rotations_to_test_orbit,
)

numbers = st.floats(-3.0, 3.0)
vectors = st.tuples(numbers, numbers, numbers).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.05)


@st.composite
def states(draw):
    r, v = draw(vectors), draw(vectors)
    v = 0.01 * v
    sine = np.linalg.norm(np.cross(r, v)) / np.linalg.norm(r) / np.linalg.norm(v)
    return np.concatenate([r, v]) if sine > 1e-3 else np.concatenate([r, np.cross(r, [0.1, 0.7, -0.3]) + 1e-3])


@given(vectors)
def test_the_ecliptic_and_back_is_where_it_was(vector):
    there = ecliptic_from_equatorial(vector[None])

    assert equatorial_from_ecliptic(there)[0] == pytest.approx(vector, abs=1e-14)
    assert np.linalg.norm(there) == pytest.approx(np.linalg.norm(vector))


@given(states())
def test_the_test_orbit_lies_on_x_and_its_normal_on_z(state):
    rotation = rotations_to_test_orbit(state[None])[0]
    r, v = state[:3], state[3:]
    normal = np.cross(r, v)

    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation @ r == pytest.approx([np.linalg.norm(r), 0.0, 0.0], abs=1e-12)
    assert rotation @ normal == pytest.approx([0.0, 0.0, np.linalg.norm(normal)], abs=1e-12)


@given(states())
def test_the_rotation_is_r2_r1_of_moeyens_2021(state):
    r, v = state[:3], state[3:]
    n_hat = np.cross(r, v) / np.linalg.norm(np.cross(r, v))
    if n_hat[2] < -0.99:  # where R1 does not exist
        return
    a, b, c = np.cross(n_hat, [0.0, 0.0, 1.0])
    skew = np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]])
    first = np.eye(3) + skew + skew @ skew / (1.0 + n_hat[2])
    x, y, _ = first @ r / np.linalg.norm(r)
    second = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])

    assert rotations_to_test_orbit(state[None])[0] == pytest.approx(second @ first, abs=1e-10)


def test_an_orbit_in_the_ecliptic_run_backwards_has_a_frame():
    rotation = rotations_to_test_orbit(np.array([[2.0, 0.0, 0.0, 0.0, -0.01, 0.0]]))[0]

    assert rotation == pytest.approx(np.diag([1.0, -1.0, -1.0]))


@given(st.tuples(st.floats(-60.0, 60.0), st.floats(-60.0, 60.0)).map(np.array))
def test_the_plane_and_back_is_where_it_was(theta):
    direction = directions_from_gnomonic(theta[None])

    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert gnomonic_projection(2.7 * direction)[0] == pytest.approx(theta, abs=1e-12)


def test_a_great_circle_is_a_straight_line_in_the_plane():
    # Snyder 1987, Map Projections, USGS Professional Paper 1395, section 22: what the gnomonic projection is for.
    along = np.radians(np.linspace(-40.0, 40.0, 9))
    tilt = np.radians(25.0)
    circle = np.column_stack([np.cos(along), np.sin(along) * np.cos(tilt), np.sin(along) * np.sin(tilt)])

    theta = gnomonic_projection(circle)

    assert theta[:, 1] == pytest.approx(theta[:, 0] * np.tan(tilt), abs=1e-12)


def test_the_distance_from_the_centre_is_the_tangent_of_the_angle():
    # Snyder 1987, section 22: rho = R tan c. At c = 30 deg: 0.5773503.
    theta = gnomonic_projection(np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0]]))

    assert np.radians(theta[0]) == pytest.approx([0.5773503, 0.0], abs=1e-7)
