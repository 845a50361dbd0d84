import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.astrodynamics.orbit_classes import CLASSES, orbit_classes
from tasks.engines.demo import real_orbits
from tasks.engines.orbit_catalogue import covariances_from_table, uncertainty_parameter


def classes_of(*pairs):
    a, e = np.array(pairs, dtype=float).T
    return orbit_classes(a, e, a * (1.0 - e))


@pytest.mark.parametrize(
    ("a", "e", "expected"),
    [
        (0.741, 0.322, "IEO"),  # Atira
        (0.967, 0.183, "ATE"),  # Aten
        (1.470, 0.560, "APO"),  # Apollo
        (1.919, 0.436, "AMO"),  # Amor
        (2.300, 0.300, "MCA"),
        (1.944, 0.074, "IMB"),  # Hungaria
        (2.767, 0.079, "MBA"),  # Ceres
        (3.970, 0.140, "OMB"),  # Hilda
        (5.211, 0.147, "TJN"),  # Achilles
        (13.67, 0.380, "CEN"),  # Chiron
        (39.48, 0.249, "TNO"),  # Pluto
        (-1.27, 1.201, "HYA"),  # Oumuamua
        (5.000, 0.500, "AST"),
    ],
)
def test_classes_are_those_of_the_small_body_database(a, e, expected):
    assert classes_of((a, e)) == [expected]


def test_every_code_has_a_meaning():
    grid = [(a, e) for a in np.geomspace(0.3, 100.0, 60) for e in np.linspace(0.0, 0.99, 40)]

    assert set(classes_of(*grid)) | {"HYA", "PAA"} <= set(CLASSES)


def test_the_real_objects_have_the_class_they_are_known_for():
    orbits = real_orbits()
    states = np.column_stack([orbits[name].to_numpy() for name in ("x", "y", "z", "vx", "vy", "vz")])
    a, e, *_ = keplerian_from_states(states).T
    found = dict(zip(orbits["orbit_id"].to_pylist(), orbit_classes(a, e, a * (1 - e)), strict=True))

    assert {name: found[name] for name in ("Atira", "Eros", "Pallas", "Hungaria", "Agamemnon", "Albion")} == {
        "Atira": "IEO",
        "Eros": "AMO",
        "Pallas": "MBA",
        "Hungaria": "IMB",
        "Agamemnon": "TJN",
        "Albion": "TNO",
    }


# The Minor Planet Center's table of U: the in-orbit runoff, arcsec per decade, at which each value begins.
@pytest.mark.parametrize(
    ("runoff", "expected"), [(0.9, 0), (1.1, 1), (4.3, 1), (4.6, 2), (19.0, 2), (20.0, 3), (1e7, 9)]
)
def test_uncertainty_parameter_is_that_of_the_minor_planet_centers_table(runoff, expected):
    period_days = 4.0 * 365.25
    tp_sigma = runoff / (0.9856076686 / 4.0 * 3600.0 * 3.0)

    found = uncertainty_parameter(np.array([1.0]), np.array([period_days]), np.array([0.0]), np.array([tp_sigma]))

    assert found.tolist() == [expected]


def test_without_sigmas_there_is_no_uncertainty_parameter():
    nothing = np.array([np.nan])

    assert np.isnan(uncertainty_parameter(np.array([0.1]), np.array([1500.0]), nothing, nothing)).all()


def test_covariances_are_symmetric_and_those_of_their_row():
    triangle = np.arange(21.0)
    column = pa.array([None, triangle, None, triangle + 100.0], pa.list_(pa.float64(), 21))

    full = covariances_from_table(pa.table({"covariance": column}))

    assert np.isnan(full[[0, 2]]).all()
    np.testing.assert_array_equal(full[1], full[1].T)
    np.testing.assert_array_equal(full[3][np.tril_indices(6)], triangle + 100.0)
