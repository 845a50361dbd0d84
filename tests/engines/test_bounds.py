"""How fast and how curved a track may be: by the settings, or by the test orbit's covariance."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.engines.builtin.linking.bounds import bounds_of_path, with_spreads_of_covariance
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.demo import demo_problem
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings
from tests.support.linking import run_prepared

SETTINGS = EngineSettings()
OBJECTS = ("Hungaria", "Hebe", "Eros", "Agamemnon")


@pytest.fixture(scope="module")
def demo():
    return demo_problem(seed=4)


@pytest.fixture(scope="module")
def survey(demo):
    return prepare_survey(demo.observations, SETTINGS)


def own_orbit(demo, name, fraction=None):
    """Its own orbit; with a fraction: and a covariance of that much of position and velocity in each direction."""
    row = demo.test_orbits.to_pylist()[demo.test_orbits["orbit_id"].to_pylist().index(name)]
    if fraction is not None:
        state = np.array([row[axis] for axis in ("x", "y", "z", "vx", "vy", "vz")])
        sigmas = fraction * np.repeat([np.linalg.norm(state[:3]), np.linalg.norm(state[3:])], 3)
        row["covariance"] = np.diag(sigmas**2)[np.tril_indices(6)].tolist()
    return pa.Table.from_pylist([row], schema=demo.test_orbits.schema)


def spreads(demo, survey, name, fraction, sigmas=5.0):
    orbit = orbit_from_table(own_orbit(demo, name, fraction))
    times = np.abs(survey.exposure_mjd_tdb - orbit.epoch_mjd_tdb)
    path = path_of_orbit(orbit, survey).at(np.argsort(times)[:3])
    return with_spreads_of_covariance(ClusterAndLinkSettings(), orbit, path, sigmas), path


def test_without_a_covariance_the_settings_say_it(demo, survey):
    assert spreads(demo, survey, "Hebe", None)[0] == ClusterAndLinkSettings()


def test_a_covariance_gives_the_spreads_of_its_cell(demo, survey):
    made, path = spreads(demo, survey, "Hebe", 0.01)

    # 1 % in each direction, five sigmas, spread a little over the month from the epoch
    r = np.linalg.norm(path.states[:, :3], axis=1)
    assert made.distance_spread == pytest.approx(5.0 * 0.01 * (r / path.distance).max(), rel=0.5)
    assert made.speed_spread == pytest.approx(0.05, rel=0.5)
    double = spreads(demo, survey, "Hebe", 0.01, sigmas=10.0)[0]
    assert double.distance_spread == pytest.approx(2.0 * made.distance_spread)
    assert replace(double, speed_spread=0.0, distance_spread=0.0) == replace(
        made, speed_spread=0.0, distance_spread=0.0
    )


def test_spreads_stay_within_reason(demo, survey):
    narrow, wide = (spreads(demo, survey, "Hebe", fraction)[0] for fraction in (1e-7, 10.0))

    assert (narrow.speed_spread, narrow.distance_spread) == (0.01, 0.01)
    assert (wide.speed_spread, wide.distance_spread) == (1.0, 1.0)


def test_smaller_spreads_make_narrower_bounds(demo, survey):
    _, path = spreads(demo, survey, "Hebe", None)
    at = np.zeros(3, int)
    q, v = survey.observer_position[at], survey.observer_velocity[at]

    one, half = (
        bounds_of_path(path, q, v, replace(ClusterAndLinkSettings(), speed_spread=s, distance_spread=f))
        for s, f in ((0.4, 0.2), (0.2, 0.1))
    )

    assert half.speed == pytest.approx(0.5 * one.speed)
    assert half.parallax == pytest.approx(0.5 * one.parallax)
    assert half.acceleration < one.acceleration


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("fraction", [1e-4, 0.01])
def test_a_real_object_is_found_in_the_cell_of_its_orbits_covariance(demo, survey, name, fraction):
    tables = run_prepared(engine_by_name("builtin"), survey, own_orbit(demo, name, fraction), SETTINGS)

    truth = np.array(demo.truth["object_id"].to_pylist(), dtype=object)
    found = truth[tables["recovered_orbit_members"]["obs_index"].to_numpy()]
    assert (found == name).sum() >= 0.95 * (truth == name).sum()


@pytest.mark.parametrize("name", ["Hebe", "2010_TK7", "Cruithne", "Napolitania", "Aylochaxnim"])
def test_a_recovered_orbit_with_its_covariance_finds_its_object_again(demo, survey, name):
    """The cell of so good an orbit holds one object and nothing else: how near its own detections are is no chance."""
    first = run_prepared(engine_by_name("builtin"), survey, own_orbit(demo, name), SETTINGS)
    truth = np.array(demo.truth["object_id"].to_pylist(), dtype=object)
    members = first["recovered_orbit_members"]
    own = members["orbit_id"].filter(pa.array(truth[members["obs_index"].to_numpy()] == name)).unique()
    orbits = first["recovered_orbits"].select(demo.test_orbits.column_names)
    known = orbits.filter(pc.is_in(orbits["orbit_id"], own)).cast(demo.test_orbits.schema)
    assert known["covariance"].null_count == 0

    again = run_prepared(engine_by_name("builtin"), survey, known, SETTINGS)

    found = truth[again["recovered_orbit_members"]["obs_index"].to_numpy()]
    assert (found == name).sum() >= 0.95 * (truth == name).sum()
