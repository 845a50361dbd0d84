"""States of elements: published ones, adam-core's, and back again for every kind of conic."""

from pathlib import Path

import adam_core
import numpy as np
import pandas as pd
import pytest
from adam_core.coordinates import CometaryCoordinates, CoordinateCovariances, KeplerianCoordinates, Origin
from adam_core.time import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.element_states import (
    covariances_from_cometary,
    covariances_from_keplerian,
    states_from_cometary,
    states_from_keplerian,
)
from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.astrodynamics.perihelion import perihelia_from_states
from tests.engines.astrodynamics.conics import Units, at_perihelion, energy, random_states

NO_COVARIANCE = np.full((1, 6, 6), np.nan)
HORIZONS = Path(adam_core.__file__).parent / "utils" / "helpers" / "data" / "elements_sun_ec.csv"
"""What JPL Horizons said of 28 real objects, from Atiras to 'Oumuamua: states and elements."""


def horizons():
    table = pd.read_csv(HORIZONS)
    return table, table[["x", "y", "z", "vx", "vy", "vz"]].to_numpy()


def assert_same(found, expected, relative):
    for part in (slice(0, 3), slice(3, 6)):
        size = np.linalg.norm(expected[:, part], axis=1, keepdims=True)
        assert np.abs((found[:, part] - expected[:, part]) / size).max() < relative


def test_vallado_example_2_6_state_of_elements():
    earth = Units(398_600.4418)
    e, nu = 0.83285, np.radians(92.335)
    q = 11_067.790 / (1.0 + e) / earth.length_km
    eccentric = 2.0 * np.arctan(np.sqrt((1.0 - e) / (1.0 + e)) * np.tan(0.5 * nu))
    anomaly = np.degrees(eccentric - e * np.sin(eccentric))

    state = states_from_keplerian(np.array([[q / (1.0 - e), e, 87.87, 227.89, 53.38, anomaly]]))[0]

    assert earth.km(state) == pytest.approx([6525.368, 6861.532, 6449.119], abs=1e-3)
    assert earth.km_per_s(state) == pytest.approx([4.902279, 5.533140, -1.975710], abs=1e-6)


def test_horizons_has_the_same_states_for_its_keplerian_elements():
    table, expected = horizons()

    found = states_from_keplerian(table[["a", "e", "incl", "Omega", "w", "M"]].to_numpy())

    assert table["e"].max() > 1.0
    assert_same(found, expected, 1e-9)


def test_horizons_has_the_same_states_for_its_cometary_elements():
    table, expected = horizons()
    elements = table[["q", "e", "incl", "Omega", "w", "tp_mjd"]].to_numpy()

    found = states_from_cometary(elements, table["mjd_tdb"].to_numpy())

    # The printed time of perihelion has 11 digits.
    assert_same(found, expected, 1e-8)


@given(random_states())
@example(at_perihelion(1.0, 0.0))
@example(at_perihelion(1.0, 0.0) * [1, 1, 1, 1, -1, 1])
@example(at_perihelion(1.0, 1e-12))
@example(at_perihelion(1.0, 1.0 - 1e-6))
@example(at_perihelion(1.0, 1.0 + 1e-6))
@example(at_perihelion(0.3, 3.0))
def test_elements_of_a_state_give_the_state_again(state):
    elements = keplerian_from_states(state[None])
    e = elements[0, 1]
    if e == 1.0:
        return

    back = states_from_keplerian(elements)

    # Elements hold a state the worse the nearer it is to a parabola: a is known to 1e-16 / |1 - e|, M likewise.
    assert_same(back, state[None], 1e-11 + 1e-14 / abs(1.0 - e) ** 1.5)


@given(random_states())
@example(at_perihelion(2.0, 0.0))
@example(at_perihelion(2.0, 0.2) * [1, 1, 1, 1, -1, 1])
def test_cometary_elements_of_a_state_give_the_state_again(state):
    values = keplerian_from_states(state[None])
    e = values[0, 1]
    if abs(e - 1.0) < 1e-3:
        return  # the mean anomaly, by which the time of perihelion is found, does not hold a state there
    perihelia = perihelia_from_states(state[None], NO_COVARIANCE)
    elements = np.array([[perihelia.distance[0], *values[0, 1:5], 60000.0 + perihelia.time_from_epoch[0]]])

    back = states_from_cometary(elements, np.array([60000.0]))

    # A time of perihelion near MJD 60000 has 7e-12 d.
    assert_same(back, state[None], 1e-9 + 1e-10 / perihelia.distance[0] ** 1.5)


@given(st.floats(0.05, 40.0), st.floats(-3000.0, 3000.0))
def test_a_parabola_has_the_escape_velocity_and_obeys_barkers_equation(q, days):
    state = states_from_cometary(np.array([[q, 1.0, 30.0, 40.0, 50.0, 60000.0]]), np.array([60000.0 + days]))[0]

    r = np.linalg.norm(state[:3])
    tangent = np.sign(days) * np.sqrt(max(r / q - 1.0, 0.0))
    assert energy(state) * r / MU_SUN == pytest.approx(0.0, abs=1e-12)
    # Barker: D + D^3 / 3 = sqrt(mu / (2 q^3)) t with D = tan(nu / 2), r = q (1 + D^2).
    assert tangent + tangent**3 / 3 == pytest.approx(np.sqrt(0.5 * MU_SUN / q**3) * days, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("i", [0.0, 1e-9, 180.0])
@pytest.mark.parametrize("e", [0.0, 1e-9, 0.5, 0.999, 1.001, 2.0])
def test_at_the_edges_the_orbit_is_the_one_that_was_named(e, i):
    a = 2.0 / (1.0 - e)

    state = states_from_keplerian(np.array([[a, e, i, 10.0, 20.0, 3.0]]))
    back = keplerian_from_states(state)[0]

    assert back[:3] == pytest.approx([a, e, i], rel=1e-9, abs=1e-9)
    turned = -1.0 if i == 180.0 else 1.0
    # What stays defined when node or perihelion do not: the longitude of perihelion, or of the body.
    where = turned * back[3] + back[4] + (back[5] if e < 1e-6 else 0.0)
    named = turned * 10.0 + 20.0 + (3.0 if e < 1e-6 else 0.0)
    assert (where - named + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("values", [[2.5, 0.2, 10.0, 40.0, 50.0, 60.0], [-1.3, 1.2, 120.0, 300.0, 240.0, 300.0]])
def test_adam_core_turns_covariances_of_keplerian_elements_likewise(values):
    covariance = a_covariance([1e-6, 1e-7, 1e-5, 1e-5, 1e-5, 1e-5])

    found = covariances_from_keplerian(np.array([values]), covariance)

    theirs = coordinates(KeplerianCoordinates, ("a", "e", "i", "raan", "ap", "M"), values, covariance).to_cartesian()
    assert_same_covariance(found[0], theirs.covariance.to_matrix()[0])


@pytest.mark.parametrize("e", [0.3, 1.4])
def test_adam_core_turns_covariances_of_cometary_elements_likewise(e):
    values = [1.3, e, 10.0, 40.0, 50.0, 59900.0]
    covariance = a_covariance([1e-6, 1e-7, 1e-5, 1e-5, 1e-5, 1e-4])

    found = covariances_from_cometary(np.array([values]), np.array([60000.0]), covariance)

    theirs = coordinates(CometaryCoordinates, ("q", "e", "i", "raan", "ap", "tp"), values, covariance).to_cartesian()
    assert_same_covariance(found[0], theirs.covariance.to_matrix()[0])


def a_covariance(sigmas):
    root = np.random.default_rng(5).normal(size=(6, 6)) * np.array(sigmas)[:, None]
    return (root @ root.T)[None]


def coordinates(kind, names, values, covariance):
    return kind.from_kwargs(
        **{name: [value] for name, value in zip(names, values, strict=True)},
        time=Timestamp.from_mjd([60000.0], scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"]),
        covariance=CoordinateCovariances.from_matrix(covariance),
        frame="ecliptic",
    )


def assert_same_covariance(found, expected):
    sigmas = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(sigmas, sigmas), expected / np.outer(sigmas, sigmas), atol=1e-6)
