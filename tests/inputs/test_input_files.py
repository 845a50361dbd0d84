"""People's files: what is read unchanged, and what is refused with which words."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engines.settings import EngineSettings, settings_from_items
from tasks.engines.tables import OBSERVATIONS, TEST_ORBITS
from tasks.errors import BadInputError
from tasks.inputs.config_file import csv_from_settings, read_settings, settings_from_csv
from tasks.inputs.csv_text import COVARIANCE_COLUMNS, csv_from_table
from tasks.inputs.observations_file import (
    ObservationsFormat,
    observations_from_csv,
    read_detections,
    read_observations,
)
from tasks.inputs.orbits_file import orbits_from_csv, read_orbits
from tests.support.job_inputs import whole_demo

OBSERVATIONS_HEADER = "obs_id,mjd_utc,RA_deg,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code"
GOOD_OBSERVATION = "0070,60000.5,10.25,-20.5,2.5e-5,2.5e-5,070"
ORBITS_HEADER = "orbit_id,epoch,x,y,z,vx,vy,vz"
UNITS = "--,mjd [TDB],au,au,au,au / d,au / d,au / d"
GOOD_ORBIT = "042,59000.0,2.0,0.5,0.1,0.001,0.01,0.0"


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


@pytest.fixture
def file(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_ids_that_look_like_numbers_stay_text(file):
    observations = read_observations(file(lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION)))

    assert observations.schema.equals(OBSERVATIONS)
    assert observations["obs_id"].to_pylist() == ["0070"]
    assert observations["observatory_code"].to_pylist() == ["070"]


def test_columns_in_another_order_and_unknown_columns_are_fine(file):
    header = "night,Dec_deg,RA_deg,obs_id,mjd_utc,observatory_code,RA_sigma_deg,Dec_sigma_deg,filter"
    observations = read_observations(file(lines(header, "7,-5,10,a,60000,X05,1e-5,1e-5,r")))

    assert observations.to_pylist()[0]["Dec_deg"] == -5.0
    assert observations["filter"].to_pylist() == ["r"]


@pytest.mark.parametrize("content", ["\ufeff{}", "{}\r\n", "\n\n{}\n\n"])
def test_files_of_other_systems_are_read(file, content):
    rows = content.format(lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION))

    assert len(read_observations(file(rows))) == 1


@pytest.mark.parametrize(("code", "sigma_arcsec"), [("W84", 0.5), ("H01", 0.3), ("X05", 1.0), ("T05", 1.0)])
def test_an_uncertainty_that_is_not_there_is_the_observatorys_or_one_arcsecond(file, code, sigma_arcsec):
    observations = read_observations(file(lines(OBSERVATIONS_HEADER, f"a,60000,10,20,,NaN,{code}")))

    assert observations["RA_sigma_deg"].to_pylist() == pytest.approx([sigma_arcsec / 3600])
    assert observations["Dec_sigma_deg"].to_pylist() == pytest.approx([sigma_arcsec / 3600])


BAD_OBSERVATIONS = {
    "empty file": ("", ["it is empty"]),
    "header only": (OBSERVATIONS_HEADER, ["no rows", "at least one"]),
    "missing column": (
        lines("obs_id,mjd_utc,ra,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code", GOOD_OBSERVATION),
        ["'RA_deg' is missing", "'ra'"],
    ),
    "column twice": (lines(f"{OBSERVATIONS_HEADER},RA_deg", f"{GOOD_OBSERVATION},1"), ["'RA_deg' is there 2 times"]),
    "not a number": (
        lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION, "b,60000,10h,20,1e-5,1e-5,070"),
        ["'RA_deg', row 2 is '10h'", "a number"],
    ),
    "RA above 360": (
        lines(OBSERVATIONS_HEADER, "a,60000,360.1,20,1e-5,1e-5,070"),
        ["'RA_deg', row 1 is '360.1'", "[0, 360)"],
    ),
    "sexagesimal RA": (
        lines(OBSERVATIONS_HEADER, "a,60000,10:20:30.5,20,1e-5,1e-5,070"),
        ["'RA_deg', row 1 is '10:20:30.5'", "columns.ra_unit,hours"],
    ),
    "decimal comma": (
        lines(OBSERVATIONS_HEADER, "a,60000,1,20,1e-5,1e-5,070").replace(",", ";").replace(";1;", ";1,5;"),
        ["'RA_deg', row 1 is '1,5'", "with a decimal point"],
    ),
    "RA below 0": (lines(OBSERVATIONS_HEADER, "a,60000,-0.1,20,1e-5,1e-5,070"), ["'RA_deg', row 1 is '-0.1'"]),
    "Dec above 90": (lines(OBSERVATIONS_HEADER, "a,60000,1,90.1,1e-5,1e-5,070"), ["'Dec_deg'", "[-90, 90]"]),
    "NaN": (lines(OBSERVATIONS_HEADER, "a,60000,NaN,20,1e-5,1e-5,070"), ["'RA_deg', row 1 is 'NaN'"]),
    "infinite": (lines(OBSERVATIONS_HEADER, "a,inf,1,20,1e-5,1e-5,070"), ["'mjd_utc', row 1 is 'inf'"]),
    "no value": (lines(OBSERVATIONS_HEADER, "a,,1,20,1e-5,1e-5,070"), ["'mjd_utc', row 1 is ''"]),
    "Julian date": (lines(OBSERVATIONS_HEADER, "a,2460000.5,1,20,1e-5,1e-5,070"), ["not a Julian date"]),
    "before the Earth's orientation is known": (
        lines(OBSERVATIONS_HEADER, "a,37684,1,20,1e-5,1e-5,070"),
        ["'mjd_utc', row 1 is '37684'", "years 1962 to 2099"],
    ),
    "sigma that no engine takes": (
        lines(OBSERVATIONS_HEADER, "a,60000,1,20,1e-5,1.5,070"),
        ["'Dec_sigma_deg', row 1 is '1.5'", "at most 1"],
    ),
    "negative sigma": (lines(OBSERVATIONS_HEADER, "a,60000,1,20,-0.1,1e-5,070"), ["'RA_sigma_deg'", "more than 0"]),
    "unknown observatory": (
        lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION, "b,60000,1,20,1e-5,1e-5,70"),
        ["'observatory_code', row 2 is '70'", "Minor Planet Center"],
    ),
    "spacecraft": (lines(OBSERVATIONS_HEADER, "a,60000,1,20,1e-5,1e-5,C51"), ["'C51'", "on the Earth"]),
    "no id": (lines(OBSERVATIONS_HEADER, ",60000,1,20,1e-5,1e-5,070"), ["'obs_id', row 1", "not empty"]),
    "id twice": (
        lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION, "b,60000,1,20,1e-5,1e-5,070", GOOD_OBSERVATION),
        ["'obs_id', row 3 is '0070'", "row 1 has the same"],
    ),
    "too few fields": (
        lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION, "b,60000"),
        ["row 2 has 2 fields, expected 7"],
    ),
    "not UTF-8": (
        lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION).encode() + b"\xe9,60000,1,20,1e-5,1e-5,070\n",
        ["column 'obs_id', row 2 is '\\\\xe9'", "expected UTF-8"],
    ),
    "optional column twice": (
        lines(f"{OBSERVATIONS_HEADER},mag,mag", f"{GOOD_OBSERVATION},1,2"),
        ["'mag' is there 2 times"],
    ),
}


@pytest.mark.parametrize(("content", "words"), BAD_OBSERVATIONS.values(), ids=BAD_OBSERVATIONS)
def test_bad_observations_are_refused_by_file_column_row_and_value(file, content, words):
    path = file(content)

    with pytest.raises(BadInputError) as refusal:
        read_observations(path)

    assert str(path) in str(refusal.value)
    assert [word for word in words if word not in str(refusal.value)] == []


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"no such file.*Check the path"):
        read_observations(tmp_path / "nowhere.csv")


def test_a_directory_is_called_one(tmp_path):
    with pytest.raises(BadInputError, match="it is a directory"):
        read_observations(tmp_path)


def test_how_many_rows_are_wrong_is_told(file):
    rows = [f"{number},60000,400,0,1e-5,1e-5,070" for number in range(5)]

    with pytest.raises(BadInputError, match="5 of 6 rows"):
        read_observations(file(lines(OBSERVATIONS_HEADER, GOOD_OBSERVATION, *rows)))


def test_parquet_and_csv_of_the_same_observations_are_the_same(tmp_path):
    observations = whole_demo().observations
    pq.write_table(observations, tmp_path / "observations.parquet")
    (tmp_path / "observations.csv").write_bytes(csv_from_table(observations))

    assert read_observations(tmp_path / "observations.parquet").equals(observations)
    assert read_observations(tmp_path / "observations.csv").equals(observations)


@pytest.mark.parametrize("name", ["mjd_utc", "RA_deg", "Dec_deg"])
def test_a_column_of_parquet_that_has_lost_its_digits_is_refused(tmp_path, name):
    observations = whole_demo().observations
    place = observations.column_names.index(name)
    shortened = observations.set_column(place, name, observations[name].cast(pa.float32()))
    pq.write_table(shortened, tmp_path / "observations.parquet")

    with pytest.raises(BadInputError, match=rf"'{name}' is of type float32, which holds 7 digits"):
        read_observations(tmp_path / "observations.parquet")


def test_parquet_as_pandas_writes_it_is_read(tmp_path):
    frame = whole_demo().observations.to_pandas()
    frame["observatory_code"] = frame["observatory_code"].astype("category")
    frame["RA_sigma_deg"] = np.nan
    frame["filter"] = np.nan  # as pandas reads an empty column of a csv
    frame.to_parquet(tmp_path / "observations.parquet")

    as_it_is = ObservationsFormat(fills_uncertainties=False)
    observations = read_detections(tmp_path / "observations.parquet", as_it_is).table

    assert observations["RA_sigma_deg"].null_count == observations["filter"].null_count == len(frame)
    assert observations["observatory_code"].equals(whole_demo().observations["observatory_code"])


def test_parquet_with_ids_as_floats_is_refused_since_zeros_are_lost(tmp_path):
    table = whole_demo().observations.slice(0, 2)
    pq.write_table(table.set_column(0, "obs_id", pa.array([70.0, 71.0])), tmp_path / "observations.parquet")

    with pytest.raises(BadInputError, match="ids lose leading zeros"):
        read_observations(tmp_path / "observations.parquet")


def test_a_damaged_parquet_file_is_refused(file):
    with pytest.raises(BadInputError, match="Expected a parquet table"):
        read_observations(file("PAR1 and nothing more", "observations.parquet"))


def test_canonical_csv_gives_the_same_table_and_the_same_bytes_again():
    observations = whole_demo().observations
    body = csv_from_table(observations)

    again = observations_from_csv(body, name="observations.csv")

    assert again.equals(observations)
    assert csv_from_table(again) == body


def test_text_that_needs_quotes_survives_canonical_csv(file):
    path = file(lines(OBSERVATIONS_HEADER, '"a, ""b""",60000,1,20,1e-5,1e-5,070'))
    observations = read_observations(path)

    again = observations_from_csv(csv_from_table(observations), name="observations.csv")

    assert again["obs_id"].to_pylist() == ['a, "b"']


@pytest.mark.parametrize("units", [(), (UNITS,), (UNITS.replace(" / ", "/"),)], ids=["none", "v1.2", "close"])
def test_orbits_are_read_with_the_row_of_units_and_without(file, units):
    orbits = read_orbits(file(lines(ORBITS_HEADER, *units, GOOD_ORBIT)))

    assert orbits.schema.equals(TEST_ORBITS)
    assert orbits.to_pylist() == [
        {"orbit_id": "042", "epoch": 59000.0, "x": 2.0, "y": 0.5, "z": 0.1, "vx": 0.001, "vy": 0.01, "vz": 0.0}
        | {"covariance": None}
    ]


BAD_ORBITS = {
    "units only": (lines(ORBITS_HEADER, UNITS), ["no rows"]),
    "epoch in UTC": (lines(ORBITS_HEADER, UNITS.replace("TDB", "UTC"), GOOD_ORBIT), ["'mjd [UTC]'", "mjd [TDB]"]),
    "velocity per second": (lines(ORBITS_HEADER, UNITS.replace("au / d", "km / s"), GOOD_ORBIT), ["'vx'", "'km / s'"]),
    "position in km": (lines(ORBITS_HEADER, GOOD_ORBIT.replace("2.0", "3e8")), ["'x', row 1", "in au"]),
    "id twice": (lines(ORBITS_HEADER, GOOD_ORBIT, GOOD_ORBIT), ["'orbit_id', row 2 is '042'"]),
    "no state": (lines(ORBITS_HEADER, "a,59000,,0,0,0,0.01,0"), ["'x', row 1 is ''"]),
    "at the Sun": (lines(ORBITS_HEADER, "a,59000,0,0,0,0,0.01,0"), ["at the Sun"]),
    "half a covariance": (lines(f"{ORBITS_HEADER},cov_x_x", f"{GOOD_ORBIT},1"), ["'cov_y_x' is missing"]),
}


@pytest.mark.parametrize(("content", "words"), BAD_ORBITS.values(), ids=BAD_ORBITS)
def test_bad_orbits_are_refused_by_file_column_row_and_value(file, content, words):
    with pytest.raises(BadInputError) as refusal:
        read_orbits(file(content))

    assert [word for word in words if word not in str(refusal.value)] == []


def test_a_covariance_survives_canonical_csv(tmp_path):
    root = np.tril(np.arange(1.0, 37.0).reshape(6, 6)) * 1e-6
    triangle = (root @ root.T)[np.tril_indices(6)].tolist()
    row = {**whole_demo().test_orbits.to_pylist()[0], "covariance": triangle}
    orbits = pa.Table.from_pylist([row], schema=TEST_ORBITS)
    pq.write_table(orbits, tmp_path / "orbits.parquet")

    body = csv_from_table(read_orbits(tmp_path / "orbits.parquet"))

    assert COVARIANCE_COLUMNS[1] in body.decode().splitlines()[0]
    assert orbits_from_csv(body, name="orbits.csv").equals(orbits)


def test_settings_are_read_and_the_rest_have_their_defaults(file):
    settings = read_settings(file("key,value\nseed,7\ncluster_and_link.min_nights,4\n"))

    assert (settings.seed, settings.cluster_and_link.min_nights) == (7, 4)
    assert settings.range_and_shift == EngineSettings().range_and_shift


def test_canonical_settings_name_every_key_and_give_the_same_settings():
    settings = settings_from_items({"seed": "3"})

    assert settings_from_csv(csv_from_settings(settings), name="config.csv") == settings


BAD_SETTINGS = {
    "unknown key": ("key,value\nseeds,7\n", ["Unknown setting 'seeds'", "seed"]),
    "wrong type": ("key,value\nseed,seven\n", ["'seed' is 'seven'", "a whole number, at least 0"]),
    "out of range": (
        "key,value\nmerge_and_extend.radius_arcsec,nan\n",
        ["'merge_and_extend.radius_arcsec' is 'nan'", "a finite number, more than 0"],
    ),
    "key twice": ("key,value\nseed,1\nseed,2\n", ["'key', row 2 is 'seed'"]),
    "other columns": ("name,value\nseed,1\n", ["'key' is missing"]),
}


@pytest.mark.parametrize(("content", "words"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused(file, content, words):
    path = file(content)

    with pytest.raises(BadInputError) as refusal:
        read_settings(path)

    assert [word for word in [str(path), *words] if word not in str(refusal.value)] == []


def test_a_row_below_the_row_of_units_is_counted_as_it_stands_in_the_file(file):
    bad = GOOD_ORBIT.replace("042", "043").replace("59000.0", "soon")

    with pytest.raises(BadInputError, match="'epoch', row 3 is 'soon'"):
        read_orbits(file(lines(ORBITS_HEADER, UNITS, GOOD_ORBIT, bad)))


def test_orbits_in_kilometres_are_told_by_their_unit(file):
    with pytest.raises(BadInputError, match="column 'x' has the unit 'km'"):
        read_orbits(file(lines(ORBITS_HEADER, UNITS.replace("au,", "km,", 1), GOOD_ORBIT)))


@pytest.mark.parametrize(
    "triangle", [[np.nan] * 21, [-1.0] * 21, [1.0] + [5.0] * 20], ids=["nan", "negative", "impossible"]
)
def test_a_covariance_that_can_be_none_is_refused(tmp_path, triangle):
    row = dict(zip(ORBITS_HEADER.split(","), ["a", 59000.0, 2.0, 0.5, 0.1, 0.001, 0.01, 0.0], strict=True))
    pq.write_table(pa.Table.from_pylist([{**row, "covariance": triangle}]), tmp_path / "orbits.parquet")

    with pytest.raises(BadInputError, match="'covariance', row 1"):
        read_orbits(tmp_path / "orbits.parquet")
