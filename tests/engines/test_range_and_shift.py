"""The first stage: cell, range, rotation, projection."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.frames import equatorial_from_ecliptic
from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit, rotations_across
from tasks.engines.builtin.range_and_shift import range_and_shift
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.demo import demo_problem
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import LinkingProblem
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import PROJECTED_OBSERVATIONS, TEST_ORBITS

SETTINGS = EngineSettings()
EPOCH = 59944.0
TIMES = EPOCH + np.array([-6.0, -3.0, 0.0, 3.0, 6.0])

OUTER = [0.2, 2.5, 0.1, -0.0105, 0.001, 0.0005]
BEHIND_THE_SUN = [0.12, -0.68, 0.02, 0.0203, 0.0036, 0.001]
# 40 deg from the Sun, seen from the side.
INTERIOR = [0.35, 0.55, 0.02, -0.0190, 0.0080, 0.0010]


def orbit_row(state, covariance=None, epoch=EPOCH):
    row = dict(zip(("x", "y", "z", "vx", "vy", "vz"), state, strict=True))
    return pa.Table.from_pylist(
        [{"orbit_id": "t", "epoch": epoch, "covariance": covariance, **row}], schema=TEST_ORBITS
    )


def table_of(mjd_utc, direction):
    """Observations in ecliptic directions, shape (n, 3)."""
    x, y, z = equatorial_from_ecliptic(np.asarray(direction)).T
    return pa.table(
        {
            "obs_id": [f"o{k}" for k in range(len(x))],
            "mjd_utc": np.asarray(mjd_utc, dtype=float),
            "RA_deg": np.degrees(np.arctan2(y, x)) % 360.0,
            "Dec_deg": np.degrees(np.arcsin(z)),
            "observatory_code": ["X05"] * len(x),
        }
    )


def path(state):
    empty = prepare_survey(table_of(TIMES, np.tile([1.0, 0.0, 0.0], (len(TIMES), 1))), SETTINGS)
    return path_of_orbit(orbit_from_table(orbit_row(state)), empty), empty


def projected(observations, orbit, **changes):
    settings = replace(SETTINGS, range_and_shift=replace(SETTINGS.range_and_shift, **changes))
    problem = LinkingProblem(prepare_survey(observations, settings), orbit, settings)
    return range_and_shift(problem, {})


def turned(directions, degrees):
    """Directions turned by an angle towards the ecliptic's north."""
    pole = np.array([0.0, 0.0, 1.0]) - directions[:, 2:] * directions
    pole /= np.linalg.norm(pole, axis=1)[:, None]
    angle = np.radians(degrees)
    return directions * np.cos(angle) + pole * np.sin(angle)


@pytest.mark.parametrize("state", [OUTER, INTERIOR], ids=["outer", "interior"])
def test_the_test_orbit_itself_stays_at_the_origin(state):
    orbit_path, _ = path(state)

    result = projected(table_of(TIMES, orbit_path.line_of_sight), orbit_row(state))
    table = result.tables["projected_observations"]

    assert table.schema == PROJECTED_OBSERVATIONS
    assert len(table) == len(TIMES)
    # A milliarcsecond: the directions went through degrees of RA and Dec.
    assert np.abs(table["theta_x_deg"].to_numpy()).max() * 3600 < 1e-3
    assert np.abs(table["theta_y_deg"].to_numpy()).max() * 3600 < 1e-3


@pytest.mark.parametrize("state", [OUTER, BEHIND_THE_SUN], ids=["outer", "behind the Sun"])
def test_an_object_at_the_same_distance_is_projected_where_it_is(state):
    orbit_path, survey = path(state)
    # Moved along the sphere of the test orbit's distance by 0.5 deg about z, then seen from the observer.
    c, s = np.cos(np.radians(0.5)), np.sin(np.radians(0.5))
    there = orbit_path.states[:, :3] @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    seen = there - survey.observer_position
    table = projected(table_of(TIMES, seen / np.linalg.norm(seen, axis=1)[:, None]), orbit_row(state)).tables[
        "projected_observations"
    ]

    cosine = np.einsum("ij,ij->i", there, orbit_path.states[:, :3]) / np.linalg.norm(there, axis=1) ** 2
    expected = np.degrees(np.tan(np.arccos(cosine)))
    radius = np.hypot(table["theta_x_deg"].to_numpy(), table["theta_y_deg"].to_numpy())
    assert radius == pytest.approx(expected, abs=1e-6)


def test_at_a_high_phase_angle_an_object_beside_the_test_orbit_is_projected_where_it_is():
    orbit_path, survey = path(INTERIOR)
    # Moved across the line of sight by a fiftieth of an au, which the Sun sees as this angle at phase 0.
    across = np.cross(orbit_path.line_of_sight, [0.6, 0.0, 0.8])
    across *= 0.02 / np.linalg.norm(across, axis=1)[:, None]
    seen = orbit_path.states[:, :3] + across - survey.observer_position
    table = projected(table_of(TIMES, seen / np.linalg.norm(seen, axis=1)[:, None]), orbit_row(INTERIOR)).tables

    expected = np.degrees(0.02 / np.linalg.norm(orbit_path.states[:, :3], axis=1))
    plane = table["projected_observations"]
    assert np.hypot(plane["theta_x_deg"].to_numpy(), plane["theta_y_deg"].to_numpy()) == pytest.approx(expected)


def test_at_a_high_phase_angle_nothing_in_the_cell_is_out_of_reach():
    orbit_path, survey = path(INTERIOR)
    away_from_the_sun = np.cross(np.cross(survey.observer_position, orbit_path.line_of_sight), orbit_path.line_of_sight)
    away_from_the_sun /= np.linalg.norm(away_from_the_sun, axis=1)[:, None]
    directions = orbit_path.line_of_sight - 0.17 * away_from_the_sun
    beyond_the_rim = directions / np.linalg.norm(directions, axis=1)[:, None]

    result = projected(
        table_of(np.tile(TIMES, 2), np.vstack([orbit_path.line_of_sight, beyond_the_rim])), orbit_row(INTERIOR)
    )

    assert result.counts["out_of_reach"] == 0
    assert result.counts["projected_observations"] == 10


def test_the_frame_across_the_line_of_sight_turns_with_it_and_no_more():
    orbit_path, _ = path(INTERIOR)

    rotations = rotations_across(orbit_path)

    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    turned_by = np.degrees(
        np.arccos((np.trace(rotations[1:] @ rotations[:-1].transpose(0, 2, 1), axis1=1, axis2=2) - 1) / 2)
    )
    moved_by = np.degrees(np.arccos(np.einsum("ij,ij->i", orbit_path.line_of_sight[1:], orbit_path.line_of_sight[:-1])))
    assert turned_by == pytest.approx(moved_by, rel=0.05)


@pytest.mark.parametrize("years", [-20.0, 12.0])
def test_far_from_its_epoch_the_test_orbit_is_where_the_planets_have_drawn_it(years):
    there = EPOCH + 365.25 * years
    moved = propagate(np.array([OUTER]), EPOCH, np.array([there]), "n-body")[0, 0]
    near, survey = path(OUTER)

    far = path_of_orbit(orbit_from_table(orbit_row(moved, epoch=there)), survey)

    # Two bodies would be off by a thousandth of an au.
    np.testing.assert_allclose(far.states[:, :3], near.states[:, :3], atol=2e-8)


def test_the_cell_has_the_radius_of_the_setting():
    orbit_path, _ = path(OUTER)
    inside, outside = turned(orbit_path.line_of_sight, 1.99), turned(orbit_path.line_of_sight, 2.01)
    observations = table_of(np.tile(TIMES, 2), np.vstack([inside, outside]))

    table = projected(observations, orbit_row(OUTER), cell_radius_deg=2.0).tables["projected_observations"]

    assert sorted(table["obs_id"].to_pylist()) == [f"o{k}" for k in range(5)]


def test_with_a_covariance_the_cell_is_its_ellipse():
    orbit_path, _ = path(OUTER)
    sigma_au = 1e-3
    covariance = np.diag([sigma_au**2] * 3 + [1e-14] * 3)[np.tril_indices(6)].tolist()
    at_epoch = orbit_path.line_of_sight[2:3]
    sigma_deg = np.degrees(sigma_au / orbit_path.distance[2])
    observations = table_of(
        [TIMES[2]] * 2, np.vstack([turned(at_epoch, 2.9 * sigma_deg), turned(at_epoch, 3.1 * sigma_deg)])
    )

    table = projected(observations, orbit_row(OUTER, covariance), cell_mahalanobis=3.0).tables
    assert table["projected_observations"]["obs_id"].to_pylist() == ["o0"]


def test_a_line_of_sight_that_misses_the_sphere_is_counted():
    _, survey = path(INTERIOR)
    away = survey.observer_position / np.linalg.norm(survey.observer_position, axis=1)[:, None]
    side = np.cross(away, [0.0, 0.0, 1.0])

    result = projected(table_of(TIMES, side), orbit_row(INTERIOR), cell_radius_deg=90.0)

    assert result.counts["out_of_reach"] == 5
    assert result.counts["projected_observations"] == 0


def test_no_detection_in_the_cell_gives_an_empty_table():
    orbit_path, _ = path(OUTER)

    result = projected(table_of(TIMES, -orbit_path.line_of_sight), orbit_row(OUTER))

    assert result.tables["projected_observations"].schema == PROJECTED_OBSERVATIONS
    assert len(result.tables["projected_observations"]) == 0


def test_real_objects_stay_at_the_origin_of_their_own_orbits():
    """Positions by JPL Horizons, 58 days, orbits by JPL: what remains is the noise of 0.1 arcsec."""
    demo = demo_problem(seed=3, days=60.0, false_per_true=0.0)
    survey = prepare_survey(demo.observations, SETTINGS)
    truth = np.array(demo.truth["object_id"].to_pylist())

    for name in ("Hungaria", "Hebe", "Agamemnon", "Eros", "1993_SB"):
        row = demo.test_orbits["orbit_id"].to_pylist().index(name)
        problem = LinkingProblem(survey, demo.test_orbits.slice(row, 1), SETTINGS)
        table = range_and_shift(problem, {}).tables["projected_observations"]
        own = truth[table["obs_index"].to_numpy()] == name
        radius = np.hypot(table["theta_x_deg"].to_numpy(), table["theta_y_deg"].to_numpy())[own]
        assert own.sum() == 90
        assert radius.max() * 3600 < 1.0


@pytest.mark.parametrize("state", [[0.0] * 6, [2.5, 0.0, 0.0, 0.01, 0.0, 0.0], [2.5, 0.0, 0.0, 0.0, float("nan"), 0.0]])
def test_what_is_no_orbit_is_refused(state):
    with pytest.raises(EngineInputError, match="Test orbit 't' is not usable"):
        projected(table_of(TIMES, np.tile([1.0, 0.0, 0.0], (5, 1))), orbit_row(state))


@pytest.mark.parametrize("exposures_per_block", [1, 2, 100])
def test_blocks_do_not_change_the_table(exposures_per_block):
    orbit_path, _ = path(OUTER)
    shuffled = np.array([3, 1, 4, 0, 2])
    observations = table_of(TIMES[shuffled], turned(orbit_path.line_of_sight, 0.3)[shuffled])

    one = projected(observations, orbit_row(OUTER))
    many = projected(observations, orbit_row(OUTER), exposures_per_block=exposures_per_block)

    assert many.tables["projected_observations"].equals(one.tables["projected_observations"])
    assert one.tables["projected_observations"]["obs_id"].to_pylist() == ["o3", "o1", "o4", "o0", "o2"]
