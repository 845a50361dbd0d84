"""Preparing observations: what is refused, and what the arrays say."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import known_observatory_codes, observer_states
from tasks.engines.builtin.exposures import numbered
from tasks.engines.builtin.observations_check import EARLIEST_MJD_UTC
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.errors import EngineInputError
from tasks.engines.settings import EngineSettings


def observations(n=3, **columns):
    table = {
        "obs_id": [f"o{k}" for k in range(n)],
        "mjd_utc": [60000.0 + k for k in range(n)],
        "RA_deg": [10.0 + k for k in range(n)],
        "Dec_deg": [-5.0] * n,
        "observatory_code": ["X05"] * n,
    }
    return pa.table(table | columns)


def prepared(table):
    return prepare_survey(table, EngineSettings())


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("RA_deg", [10.0, 360.0, 10.0], "360.0"),
        ("RA_deg", [10.0, 10.0, -0.1], "-0.1"),
        ("Dec_deg", [0.0, 90.01, 0.0], "90.01"),
        ("Dec_deg", [0.0, float("nan"), 0.0], "nan"),
        ("mjd_utc", [60000.0, 2460000.5, 60001.0], "2460000.5"),
        ("mjd_utc", [60000.0, 60001.0, 37684.0], "37684.0"),
        ("observatory_code", ["X05", "70", "X05"], "'70'"),
        ("observatory_code", ["X05", "C51", "X05"], "'C51'"),
        ("obs_id", ["a", "b", "b"], "'b'"),
        ("RA_sigma_deg", [1e-5, 0.0, None], "0.0"),
        ("Dec_sigma_deg", [1e-5, 100.0, None], "100.0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_column_and_row(column, values, found):
    row = next(k for k, value in enumerate(values) if repr(value) == found)

    with pytest.raises(EngineInputError, match=rf"'{column}'.*of 3 .*row {row + 1}: {found}"):
        prepared(observations(**{column: values}))


def test_the_earth_is_where_it_was_at_the_earliest_time_that_is_taken():
    survey = prepared(observations(1, mjd_utc=[EARLIEST_MJD_UTC]))

    assert 0.98 < np.linalg.norm(survey.observer_position) < 0.99  # in January, near perihelion


def test_an_empty_table_is_refused():
    with pytest.raises(EngineInputError, match="empty"):
        prepared(observations(0))


def test_a_missing_column_is_named():
    with pytest.raises(EngineInputError, match="'Dec_deg'"):
        prepared(observations().drop_columns(["Dec_deg"]))


def test_text_where_a_number_belongs_is_refused():
    with pytest.raises(EngineInputError, match="'RA_deg'"):
        prepared(observations(RA_deg=["1", "two", "3"]))


def test_rows_keep_their_order_and_exposures_ascend_in_time():
    survey = prepared(observations(4, mjd_utc=[60003.0, 60001.0, 60003.0, 60002.0]))

    assert survey.obs_ids.to_pylist() == ["o0", "o1", "o2", "o3"]
    assert survey.exposure.tolist() == [2, 0, 2, 1]
    assert survey.exposure_mjd_utc.tolist() == [60001.0, 60002.0, 60003.0]
    assert survey.by_exposure.tolist() == [1, 3, 0, 2]
    assert survey.exposure_start.tolist() == [0, 1, 2, 4]


def test_one_time_is_two_exposures_at_two_observatories_or_with_two_names():
    two_places = prepared(observations(2, mjd_utc=[60000.0] * 2, observatory_code=["X05", "I41"]))
    two_names = prepared(observations(2, mjd_utc=[60000.0] * 2, exposure_id=["a", "b"]))
    one = prepared(observations(2, mjd_utc=[60000.0] * 2))

    assert [each.n_exposures for each in (two_places, two_names, one)] == [2, 2, 1]
    assert two_names.exposure_night.tolist() == [0, 0]


def test_exposures_do_not_depend_on_the_order_of_rows():
    table = observations(4, mjd_utc=[60000.0] * 4, observatory_code=["X05", "I41", "W84", "I41"])
    shuffled = table.take([2, 3, 0, 1])

    first, second = prepared(table), prepared(shuffled)

    assert np.array_equal(first.observer_position, second.observer_position)
    assert first.exposure[[2, 3, 0, 1]].tolist() == second.exposure.tolist()


def test_a_night_lasts_from_local_noon_to_local_noon():
    # Rubin (X05, 70.7 deg west): local noon is at 16:43 UTC.
    survey = prepared(observations(4, mjd_utc=[60000.0, 60000.69, 60000.70, 60001.4]))

    assert survey.exposure_night.tolist() == [0, 0, 1, 1]


def test_a_named_night_wins_over_the_sun():
    survey = prepared(observations(3, night_id=["n1", "n1", None]))

    assert survey.exposure_night.tolist() == [0, 0, 1]


def test_what_several_observatories_see_on_one_date_is_one_night_of_the_sky():
    # Evening in Chile and, seven hours later, in Hawaii; then the next evening in Chile.
    codes = ["X05", "T08", "X05"]
    survey = prepared(observations(3, mjd_utc=[60000.0, 60000.3, 60001.0], observatory_code=codes))

    assert survey.exposure_night.tolist() == [0, 1, 2]
    assert survey.exposure_sky_night.tolist() == [0, 0, 1]


def test_a_named_night_belongs_to_the_date_on_which_it_begins():
    survey = prepared(observations(3, mjd_utc=[60000.6, 60000.8, 60001.8], night_id=["n1", "n1", None]))

    assert survey.exposure_sky_night.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("longitude", "night"), [(0.0, 59999), (179.0, 60000), (-180.0, 59999), (289.25, 59999)])
def test_solar_nights_count_from_the_local_date(longitude, night):
    assert solar_nights(np.array([60000.25]), np.array([longitude])).tolist() == [night]


def test_the_earth_passes_perihelion_when_and_where_the_almanac_says():
    # Perihelion of 2023: January 4, 16:17 UTC, 147 098 925 km (U.S. Naval Observatory, Earth's seasons and apsides).
    times = 59948.0 + np.arange(0.0, 2.0, 1.0 / 144)
    states = observer_states(pa.array(["500"] * len(times)), times)
    distance = np.linalg.norm(states.position, axis=1)

    assert times[np.argmin(distance)] == pytest.approx(59948 + 16.28 / 24, abs=0.02)
    assert distance.min() * 149597870.7 == pytest.approx(147098925, abs=300)


def test_times_are_given_in_tdb():
    # TDB - UTC since 2017: 37 leap seconds and 32.184 s, to 2 ms.
    states = observer_states(pa.array(["500"]), np.array([60000.0]))

    assert (states.mjd_tdb[0] - 60000.0) * 86400 == pytest.approx(69.184, abs=2e-3)


def test_an_observatory_is_an_earth_radius_from_the_geocentre():
    codes = pa.array(["500", "X05"])
    states = observer_states(codes, np.array([60000.0, 60000.0]))

    arm_km = np.linalg.norm(states.position[1] - states.position[0]) * 149597870.7

    assert arm_km == pytest.approx(6371, abs=15)


def test_spacecraft_are_not_among_the_observatories():
    codes = known_observatory_codes()

    assert {"500", "X05", "070"} <= codes | {"070"}
    assert not {"C51", "250", "247"} & codes


def test_missing_uncertainties_take_the_setting():
    survey = prepared(observations(2, RA_sigma_deg=[None, 2e-5], Dec_sigma_deg=[None, None]))

    default = np.radians(EngineSettings().default_sigma_deg)
    assert survey.sigma_ra_rad.tolist() == [default, np.radians(2e-5)]
    assert survey.sigma_dec_rad.tolist() == [default, default]


def test_line_of_sight_east_and_north_are_a_right_handed_basis():
    survey = prepared(observations(3, RA_deg=[0.0, 123.0, 359.9], Dec_deg=[-90.0, 12.0, 90.0]))

    basis = np.stack([survey.east, survey.north, survey.line_of_sight], axis=1)
    assert basis @ basis.transpose(0, 2, 1) == pytest.approx(np.stack([np.eye(3)] * 3), abs=1e-15)
    assert np.linalg.det(basis) == pytest.approx(np.ones(3))


def test_the_line_of_sight_is_in_the_ecliptic():
    # The pole of the ecliptic: RA 270 deg, Dec 90 deg - 84381.448".
    survey = prepared(observations(1, RA_deg=[270.0], Dec_deg=[90.0 - 84381.448 / 3600]))

    assert survey.line_of_sight[0] == pytest.approx([0.0, 0.0, 1.0], abs=1e-15)


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_distinct_values_are_numbered_in_their_order(kind):
    values = (np.random.default_rng(5).integers(-40, 40, 1000) / 3).astype(kind)
    expected, numbers = np.unique(values, return_inverse=True)

    found, distinct = numbered(values)

    assert np.array_equal(found, numbers)
    assert np.array_equal(distinct, expected)
