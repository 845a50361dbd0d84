"""What a survey can see of a population: sizes, limiting magnitudes, and the objects that are drawn for it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.orbit_selection import objects_in_field
from tasks.engines.orbit_selection.brightness import SIZES, Sizes, magnitudes_at_zero
from tasks.engines.orbit_selection.footprint import ASSUMED_LIMIT, footprint_of_observations
from tasks.engines.orbit_selection.longitudes import Longitudes
from tasks.engines.orbit_selection.objects_in_field import farthest_distance_au, window_of_model
from tasks.engines.orbit_selection.populations import FOLLOW_JUPITER, GROUPS, draw_states
from tasks.engines.orbit_selection.sightings import Sightings, sightings_of_states
from tasks.engines.settings import ClusterAndLinkSettings
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey

SETTINGS = ClusterAndLinkSettings()


@pytest.fixture(scope="module")
def survey():
    return generate_survey(replace(CASES["20k"], name="small", orbits=60, detections=8_000), seed=3)


@pytest.fixture(scope="module")
def footprint(survey):
    return footprint_of_observations(survey.observations, smallest_radius_deg=0.5)


def with_limit(footprint, limit):
    return replace(footprint, limit_mag=np.full(len(footprint), limit))


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def distances(window):
    middle = (window.sightings.start[:-1] + window.sightings.start[1:]) // 2
    return window.sightings.distance[middle]


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_sizes_of_which_there_are_ever_more(group):
    h = np.arange(-9.0, 27.0, 0.5)

    numbers = SIZES[group].number_brighter(h)

    assert (np.diff(numbers) >= 0.0).all()
    assert SIZES[group].number_brighter(np.array([-np.inf])) == 0.0


def test_known_numbers_of_near_earth_objects_are_met():
    numbers = SIZES["neo"].number_brighter(np.array([17.75, 25.0]))

    # Granvik et al. 2018, Icarus 312, 181: 962 and 8.0e5.
    assert numbers == pytest.approx([962.0, 8.0e5], rel=0.03)


def test_sizes_are_drawn_as_there_are_of_them():
    sizes = Sizes(((10.0, 0.0), (12.0, 1.0), (20.0, 3.0)))
    shares = (np.arange(10_000) + 1.0) / 10_000

    drawn = sizes.draw_brighter(np.full(10_000, 16.0), shares)

    assert drawn.max() == pytest.approx(16.0)
    for h in (11.0, 12.0, 14.0):
        expected = sizes.number_brighter(np.array([h])) / sizes.number_brighter(np.array([16.0]))
        assert (drawn <= h).mean() == pytest.approx(expected[0], abs=1e-3)


def test_a_comet_fades_faster_than_a_bare_body(footprint):
    toward = np.array([[1.0, 0.0, 0.0]])

    def seen(distance):
        return Sightings(np.array([0, 1]), np.array([0]), toward, np.array([distance]))

    bare, active = (
        float(np.diff([magnitudes_at_zero(SIZES[group], seen(d), footprint)[0] for d in (5.0, 10.0)])[0])
        for group in ("centaur", "comet")
    )

    assert 2.5 < bare < 4.0
    assert active > bare + 0.8


def test_the_limit_of_a_pointing_is_told_by_its_own_magnitudes(survey):
    rng = np.random.default_rng(1)
    count = len(survey.observations)
    # Counts that grow by 0.3 a magnitude up to the limit, 21 at one exposure and 19 at all others.
    table = survey.observations
    first = table["mjd_utc"].to_numpy() == table["mjd_utc"][0].as_py()
    mag = np.where(first, 21.0, 19.0) + np.log10(rng.uniform(size=count)) / 0.3

    footprint = footprint_of_observations(with_column(table, "mag", mag), smallest_radius_deg=0.5)

    assert footprint.limit_mag.max() == pytest.approx(20.85, abs=0.25)
    assert np.median(footprint.limit_mag) == pytest.approx(18.85, abs=0.15)


@pytest.mark.parametrize("mag", [99.0, -99.0, 0.0, np.nan])
def test_values_that_stand_for_no_magnitude_are_none(survey, mag):
    table = with_column(survey.observations, "mag", np.full(len(survey.observations), mag))

    footprint = footprint_of_observations(table, smallest_radius_deg=0.5)

    assert (footprint.limit_mag == ASSUMED_LIMIT).all()


def test_a_shallow_survey_expects_fewer_and_of_the_distant_hardly_any(footprint):
    shallow, deep = (
        window_of_model(with_limit(footprint, limit), ("neo", "tno"), settings=SETTINGS, wanted=200, seed=(1,))
        for limit in (17.0, 23.0)
    )

    assert 10.0 * shallow.expected[0] < deep.expected[0]
    assert 100.0 * shallow.expected[1] < deep.expected[1]


def test_a_survey_that_sees_none_of_a_group_expects_none(footprint):
    window = window_of_model(with_limit(footprint, -5.0), ("hilda", "tno"), settings=SETTINGS, wanted=40, seed=(1,))

    assert list(window.expected) == pytest.approx([0.0, 0.0], abs=1e-6)


def test_every_object_is_bright_enough_in_enough_pointings(footprint):
    window = window_of_model(with_limit(footprint, 20.0), tuple(GROUPS), settings=SETTINGS, wanted=40, seed=(2,))

    counts = np.diff(window.sightings.start)
    assert len(counts) > 200
    assert (counts >= SETTINGS.min_observations).all()
    nights = [
        len(np.unique(footprint.night[window.sightings.pointing[a:b]]))
        for a, b in zip(window.sightings.start[:-1], window.sightings.start[1:], strict=True)
    ]
    assert min(nights) >= SETTINGS.min_nights


def test_no_object_both_chooses_and_judges(footprint):
    window = window_of_model(footprint, ("main_belt",), settings=SETTINGS, wanted=100, seed=(3,))

    halves = [set(map(bytes, window.states[window.chooses == chooses])) for chooses in (True, False)]
    assert all(halves)
    assert not halves[0] & halves[1]


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in FOLLOW_JUPITER])
def test_turning_orbits_to_the_fields_changes_no_number(footprint, group, monkeypatch):
    """Objects within 25 deg of longitude of the fields, by weight and by plain counting."""
    rng = np.random.default_rng(4)
    states = draw_states(group, 60_000, epoch_mjd_tdb=footprint.middle_mjd_tdb, rng=rng)
    states = states[np.isfinite(states).all(axis=1)]
    longitudes = Longitudes(footprint)
    turned, weight = longitudes.turned(states, rng)
    middle = int(np.argmin(np.abs(footprint.mjd_tdb - footprint.middle_mjd_tdb)))

    def is_in_field(some):
        offset = some[:, :3] - footprint.observer_position[middle]
        return longitudes.near_fields(offset / np.linalg.norm(offset, axis=1, keepdims=True))

    plain, weighted = is_in_field(states).mean(), weight[is_in_field(turned)].sum() / len(states)
    assert weighted == pytest.approx(plain, rel=0.15)
    assert is_in_field(turned).mean() > 3.0 * plain


def test_what_the_span_cannot_tell_from_a_star_is_no_object(footprint):
    blurred = replace(footprint, sigma_rad=footprint.sigma_rad * farthest_distance_au(footprint) / 42.0)

    assert farthest_distance_au(footprint) > 100.0
    assert farthest_distance_au(blurred) == pytest.approx(42.0)
    sharp, window = (
        window_of_model(with_limit(each, 26.0), ("tno",), settings=SETTINGS, wanted=50, seed=(5,))
        for each in (footprint, blurred)
    )
    assert 0.0 < window.expected[0] < 0.9 * sharp.expected[0]
    assert distances(window).max() <= 42.5


def test_objects_are_followed_by_what_they_promise_without_bias(footprint, monkeypatch):
    def expected(followed):
        monkeypatch.setattr(objects_in_field, "FOLLOWED", followed)
        return window_of_model(footprint, ("hilda",), settings=SETTINGS, wanted=4000, seed=(6,)).expected[0]

    assert expected(500) == pytest.approx(expected(20_000), rel=0.2)


def test_sightings_that_are_left_out_leave_their_objects(footprint):
    states = draw_states("main_belt", 2000, epoch_mjd_tdb=footprint.middle_mjd_tdb, rng=np.random.default_rng(7))
    sightings = sightings_of_states(states, footprint.middle_mjd_tdb, footprint)
    kept = np.arange(len(sightings.pointing)) % 3 == 0

    fewer = sightings.where(kept)

    assert len(fewer.start) == len(sightings.start)
    assert fewer.start[-1] == kept.sum()
    assert np.array_equal(fewer.pointing, sightings.pointing[kept])
