"""Where a survey looked, from its detections alone; and what it would see there."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.orbit_selection.detectability import could_find, findable
from tasks.engines.orbit_selection.footprint import (
    WIDEST_DISC_DEG,
    footprint_of_observations,
    tile_numbers,
    windows_of_footprint,
)
from tasks.engines.orbit_selection.sightings import sightings_of_states
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings
from tests.bench.cases import CASES
from tests.bench.survey import FIELD_RADIUS_DEG, generate_survey
from tests.support.skies import observations_of_directions
from tests.support.sky import AXES

SETTINGS = EngineSettings()


@pytest.fixture(scope="module")
def survey():
    return generate_survey(replace(CASES["20k"], name="small", orbits=60, detections=12_000), seed=3)


@pytest.fixture(scope="module")
def footprint(survey):
    return footprint_of_observations(survey.observations, smallest_radius_deg=0.5)


def test_each_exposure_of_a_camera_is_one_disc_of_its_size(footprint):
    assert len(footprint) == len(footprint.disc_radius) == 196
    # The middle is the mean of 60 detections, so that it is off by a tenth of the radius, and the disc larger.
    assert np.degrees(footprint.disc_radius) == pytest.approx(np.full(196, FIELD_RADIUS_DEG), rel=0.25)


def test_detections_all_over_the_sky_at_one_time_are_tiles():
    apart = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    table = observations_of_directions(apart, np.full(4, 60000.0))

    footprint = footprint_of_observations(table, smallest_radius_deg=0.5)

    assert len(footprint) == 1
    assert len(footprint.disc_radius) == 4
    assert np.degrees(footprint.disc_radius) == pytest.approx(0.5)


def test_times_that_differ_by_the_shutter_are_one_pointing():
    close = np.array([[1.0, 0.0, 0.0], [1.0, 0.01, 0.0], [1.0, 0.0, 0.01]])
    table = observations_of_directions(close, 60000.0 + np.array([0.0, 1.0, 2.0]) / 86400)

    footprint = footprint_of_observations(table, smallest_radius_deg=0.1)

    assert len(footprint) == 1


def test_windows_part_the_time_and_keep_every_pointing(footprint):
    windows = windows_of_footprint(footprint, longest_days=5.0)

    assert len(windows) == 3
    assert sum(map(len, windows)) == len(footprint)
    assert np.array_equal(np.concatenate([w.disc_centre for w in windows]), footprint.disc_centre)
    assert all(np.ptp(w.mjd_tdb) <= 5.0 for w in windows)


def test_tiles_are_about_as_large_as_asked_for():
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(200_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    numbers = tile_numbers(directions, WIDEST_DISC_DEG)

    assert len(np.unique(numbers)) == pytest.approx(41253 / WIDEST_DISC_DEG**2, rel=0.1)


def test_objects_are_seen_where_assist_and_the_survey_have_them(survey, footprint):
    states = np.stack([survey.truth_states[name].to_numpy() for name in AXES], axis=1)
    sightings = sightings_of_states(states, survey.truth_states["epoch"][0].as_py(), footprint)

    names = survey.truth["object_id"].to_pylist()
    prepared = prepare_survey(survey.observations, SETTINGS)
    row_of_object = {name: k for k, name in enumerate(survey.truth_states["orbit_id"].to_pylist())}
    worst, missed = 0.0, 0
    for row, name in enumerate(names):
        if name is None:
            continue
        own = slice(*sightings.start[row_of_object[name] : row_of_object[name] + 2])
        here = np.flatnonzero(sightings.pointing[own] == prepared.exposure[row])
        missed += here.size == 0
        if here.size:
            off = sightings.direction[own][here[0]] - prepared.line_of_sight[row]
            worst = max(worst, np.degrees(np.linalg.norm(off)) * 3600)
    assert missed <= 3  # at the very edge of a disc, an arcsecond decides
    assert worst < 5.0  # noise of 0.1", and what the planets do in a week


def test_what_is_seen_on_too_few_nights_cannot_be_found(survey, footprint):
    states = np.stack([survey.truth_states[name].to_numpy() for name in AXES], axis=1)
    sightings = sightings_of_states(states, survey.truth_states["epoch"][0].as_py(), footprint)
    strict = replace(SETTINGS.cluster_and_link, min_nights=100)

    found = findable(sightings, footprint, SETTINGS.cluster_and_link)

    counts = np.diff(sightings.start)
    assert 0 < found.sum() < len(found)
    assert counts[found].min() >= SETTINGS.cluster_and_link.min_observations
    assert not findable(sightings, footprint, strict).any()


@pytest.mark.parametrize(("min_nights", "enough"), [(2, True), (3, False)])
def test_two_observatories_that_take_turns_make_no_more_nights_of_the_sky_than_there_are(min_nights, enough):
    times = [60000.1 + day + 0.01 * turn for day in (0, 1) for turn in range(6)]
    places = {"RA_deg": [10.0] * 12, "Dec_deg": [0.0] * 12, "observatory_code": ["X05", "W84"] * 6}
    seen = footprint_of_observations(pa.table({"mjd_utc": times, **places}), smallest_radius_deg=0.5)

    assert could_find(seen, ClusterAndLinkSettings(min_nights=min_nights)) == enough


def test_sightings_of_some_objects_are_theirs(survey, footprint):
    states = np.stack([survey.truth_states[name].to_numpy() for name in AXES], axis=1)
    every = sightings_of_states(states, survey.truth_states["epoch"][0].as_py(), footprint)
    rows = np.array([7, 0, 30])

    some = every.of_objects(rows)

    expected = np.concatenate([every.direction[every.start[k] : every.start[k + 1]] for k in rows])
    assert np.array_equal(some.direction, expected)
    assert np.array_equal(np.diff(some.start), np.diff(every.start)[rows])
