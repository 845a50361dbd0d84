"""ADES files: what is in them is what was observed, they keep ADES's rules, and nothing in them is invented."""

import re

import numpy as np
import pyarrow as pa
import pytest
from adam_core.observations.ades import ADES_string_to_tables
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import BadInputError
from tasks.inputs.ades_rules import faults_of_psv
from tasks.inputs.ades_settings import checked_ades, settings_of_observatory
from tasks.inputs.csv_text import csv_from_table
from tasks.results.ades_file import ades_files, obs_time, position, small_number
from tasks.results.designations import designation_of
from tasks.results.job_detections import detections_from_csv
from tasks.results.merge_results import MergedResults
from tasks.results.recovered_tables import complete_tables
from tests.jobs.test_collect import LAYOUT, collected
from tests.support.ades_schema import schema_faults
from tests.support.buckets import FakeBucket
from tests.support.recovered import merged_demo

WHO = {
    "ades.submitter.name": "J. Doe",
    "ades.submitter.institution": "University of Somewhere",
    "ades.observers.name": "A. Bee; C. Dee",
    "ades.measurers.name": "J. Doe",
    "ades.telescope.design": "reflector",
    "ades.telescope.aperture": "8.4",
    "ades.telescope.detector": "CCD",
    "ades.mode": "CCD",
    "ades.astCat": "Gaia3",
}


def completed(observations=None):
    merged, own = merged_demo()
    body = csv_from_table(own if observations is None else observations)
    return complete_tables(merged, detections_from_csv(body, merged.members["obs_id"]))


@pytest.fixture(scope="module")
def psv():
    return ades_files(completed(), WHO, job_id="survey-07").bodies["ades_X05.psv"].decode()


def replaced(table, name, values):
    column = table.column_names.index(name)
    return table.set_column(column, name, pa.array(values, table.schema.field(name).type))


def test_the_file_keeps_the_rules(psv):
    assert faults_of_psv(psv) == []


def test_adam_core_reads_the_detections_that_were_observed(psv):
    tables = completed()
    name_of = dict(zip(tables.orbits["orbit_id"].to_pylist(), tables.orbits["trkSub"].to_pylist(), strict=True))
    used = {row["obs_id"]: row for row in tables.members.to_pylist() if row["outlier"] == 0}

    contexts, observations = ADES_string_to_tables(psv)

    assert contexts["X05"].submitter.name == "J. Doe"
    assert contexts["X05"].observers == ["A. Bee", "C. Dee"]
    assert contexts["X05"].telescope.aperture == 8.4
    assert sorted(observations.obsSubID.to_pylist()) == sorted(used)
    rows = [used[obs_id] for obs_id in observations.obsSubID.to_pylist()]
    assert observations.trkSub.to_pylist() == [name_of[row["orbit_id"]] for row in rows]
    # A millisecond; a tenth of the sigma of 0.1 arcsec; a hundredth of a magnitude.
    np.testing.assert_allclose(observations.obsTime.mjd(), [r["mjd_utc"] for r in rows], rtol=0, atol=0.6e-3 / 86400)
    np.testing.assert_allclose(observations.ra, [row["RA_deg"] for row in rows], rtol=0, atol=0.01 / 3600)
    np.testing.assert_allclose(observations.dec, [row["Dec_deg"] for row in rows], rtol=0, atol=0.01 / 3600)
    np.testing.assert_allclose(observations.rmsRACosDec, [row["RA_sigma_deg"] * 3600 for row in rows], rtol=1e-3)
    np.testing.assert_allclose(observations.rmsDec, [row["Dec_sigma_deg"] * 3600 for row in rows], rtol=1e-3)
    np.testing.assert_allclose(observations.mag, [row["mag"] for row in rows], rtol=0, atol=0.00501)
    assert set(observations.band.to_pylist()) == {"V"}
    assert set(observations.astCat.to_pylist()) == {"Gaia3"}


def test_the_same_results_give_the_same_file(psv):
    assert ades_files(completed(), WHO, job_id="survey-07").bodies["ades_X05.psv"].decode() == psv


def test_without_names_nothing_is_invented_and_the_missing_keys_are_named():
    some = {key: value for key, value in WHO.items() if key not in {"ades.observers.name", "ades.astCat"}}

    files = ades_files(completed(), some, job_id="survey-07")

    assert files.bodies == {}
    assert len(files.notes) == 1
    assert "X05" in files.notes[0]
    assert re.findall(r"ades\.[\w.]+\w", files.notes[0]) == ["ades.observers.name", "ades.astCat"]


def test_observatories_that_lack_the_same_keys_share_a_note():
    merged, observations = merged_demo()
    first = set(merged.members.filter(pa.compute.equal(merged.members["orbit_index"], 0))["obs_id"].to_pylist())
    codes = ["703" if obs_id in first else "X05" for obs_id in observations["obs_id"].to_pylist()]

    files = ades_files(completed(replaced(observations, "observatory_code", codes)), {}, job_id="survey-07")

    (note,) = files.notes
    assert note.startswith("ADES: no file for observatories 703, X05, since the config has no ")


def test_an_observatory_that_is_not_described_does_not_stop_the_others():
    merged, observations = merged_demo()
    first = set(merged.members.filter(pa.compute.equal(merged.members["orbit_index"], 0))["obs_id"].to_pylist())
    codes = ["703" if obs_id in first else "X05" for obs_id in observations["obs_id"].to_pylist()]
    who = {key.replace("ades.telescope", "ades.703.telescope"): value for key, value in WHO.items()}

    files = ades_files(completed(replaced(observations, "observatory_code", codes)), who, job_id="survey-07")

    assert list(files.bodies) == ["ades_703.psv"]
    assert "observatory X05" in files.notes[0]
    assert b"! mpcCode 703" in files.bodies["ades_703.psv"]


def test_what_was_not_measured_stays_empty():
    _, observations = merged_demo()
    for name in ("RA_sigma_deg", "Dec_sigma_deg", "mag"):
        observations = replaced(observations, name, [None] * len(observations))

    files = ades_files(completed(observations), WHO, job_id="survey-07")

    keywords = files.bodies["ades_X05.psv"].decode().partition("trkSub")[2].splitlines()[0]
    assert not any(name in keywords for name in ("rmsRA", "rmsDec", "mag", "band"))
    assert faults_of_psv(files.bodies["ades_X05.psv"].decode()) == []


def test_a_magnitude_without_a_band_is_left_out_and_counted():
    _, observations = merged_demo()
    unknown = completed(replaced(observations, "filter", ["wide-open"] * len(observations)))

    files = ades_files(unknown, WHO, job_id="survey-07")
    named = ades_files(unknown, {**WHO, "ades.band.wide-open": "G"}, job_id="survey-07")

    assert "63 of 63 magnitudes" in files.notes[0] or "64 of 64 magnitudes" in files.notes[0]
    assert b"|band" not in files.bodies["ades_X05.psv"]
    assert named.notes == []
    assert b"|G" in named.bodies["ades_X05.psv"]


def test_doubtful_objects_are_not_reported():
    tables = completed()
    flags = ["few_nights;loose_orbit", "loose_orbit", ""]
    tables = MergedResults(replaced(tables.orbits, "quality_flags", flags), tables.members, tables.n_before)

    files = ades_files(tables, WHO, job_id="survey-07")

    names = tables.orbits["trkSub"].to_pylist()
    assert [name in files.bodies["ades_X05.psv"].decode() for name in names] == [False, True, True]
    assert "1 object left out" in files.notes[0]


def test_known_objects_have_their_designations_beside_the_name_for_the_report():
    tables = completed()
    tables = MergedResults(
        replaced(tables.orbits, "known_object", ["(433) Eros", "2011 UE4", "Hebe"]), tables.members, 3
    )

    files = ades_files(tables, WHO, job_id="survey-07")

    text = files.bodies["ades_X05.psv"].decode()
    _, observations = ADES_string_to_tables(text)
    named = zip(*(observations.table[name].to_pylist() for name in ("trkSub", "permID", "provID")), strict=True)
    first, second, third = tables.orbits["trkSub"].to_pylist()
    assert set(named) == {(first, "433", None), (second, None, "2011 UE4"), (third, None, None)}
    assert faults_of_psv(text) == []
    assert schema_faults(text) == []
    assert [note for note in files.notes if "(Hebe)" in note]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("433", ("permID", "433")),
        ("00433", ("permID", "433")),
        ("433 Eros", ("permID", "433")),
        ("(99942) Apophis", ("permID", "99942")),
        ("620000", ("permID", "620000")),
        ("2010 TK7", ("provID", "2010 TK7")),
        ("2010_TK7", ("provID", "2010 TK7")),
        ("K10T07K", ("provID", "2010 TK7")),
        ("A0345", ("permID", "100345")),
        ("2040 P-L", ("provID", "2040 P-L")),
        ("C/2020 F3 (NEOWISE)", ("provID", "C/2020 F3")),
        ("1P/Halley", ("permID", "1P")),
        ("73P-BB", ("permID", "73P-BB")),
        ("Ceres", None),
        ("r0f3a", None),
        ("", None),
    ],
)
def test_a_name_of_a_catalogue_is_a_number_or_a_provisional_designation_or_none(name, expected):
    assert designation_of(name) == expected


def test_where_an_observer_that_moves_was_stands_in_its_rows():
    merged, observations = merged_demo()
    for name, value in (("observer_x_au", 0.01), ("observer_y_au", -0.002), ("observer_z_au", 1e-5)):
        observations = observations.append_column(name, pa.array([value] * len(observations)))
    observations = replaced(observations, "observatory_code", ["274"] * len(observations))
    detections = detections_from_csv(csv_from_table(observations), merged.members["obs_id"])

    files = ades_files(complete_tables(merged, detections), WHO, job_id="survey-07", observers=detections.asked)

    text = files.bodies["ades_274.psv"].decode()
    assert "|ICRF_KM|399|1495978.7070|-299195.7414|1495.9787|" in text
    assert faults_of_psv(text) == []
    assert schema_faults(text) == []


def test_a_detection_of_two_objects_is_reported_once_for_the_larger_one():
    tables = completed()
    rows = tables.members.to_pylist()
    first, second = (next(row for row in rows if row["orbit_index"] == number) for number in (0, 1))
    assert first["outlier"] == second["outlier"] == 0
    shared = {**first, **{name: second[name] for name in ("orbit_id", "orbit_index")}}
    members = pa.Table.from_pylist([*rows, shared], tables.members.schema)

    files = ades_files(MergedResults(tables.orbits, members, tables.n_before), WHO, job_id="survey-07")

    _, observations = ADES_string_to_tables(files.bodies["ades_X05.psv"].decode())
    names = observations.trkSub.to_pylist()
    of_it = [names[row] for row, each in enumerate(observations.obsSubID.to_pylist()) if each == first["obs_id"]]
    assert of_it == tables.orbits["trkSub"].to_pylist()[:1]
    assert "1 detection of a second object, too" in files.notes[0]


@pytest.mark.parametrize(
    ("found", "instead", "fault"),
    [
        ("# version=2022", "# version=2017", "line 1"),
        ("! mpcCode X05\n", "", "no observatory mpcCode"),
        ("# telescope\n", "# scope\n", "no header record 'scope'"),
        ("! detector CCD\n", "", "no telescope detector"),
        ("|obsTime ", "|time    ", "no column obsTime"),
        ("|X05|", "|X0|", "stn is 'X0'"),
        ("|Gaia3", "|     ", "astCat is empty"),
        ("Z|", "|", "obsTime"),
        ("T", "T0123456", "trkSub"),
        ("|V", "| ", "mag without band"),
        ("|0.1000|", "|0.0000|", "rmsRA is '0.0000'"),
    ],
)
def test_a_file_that_breaks_a_rule_is_told_which(psv, found, instead, fault):
    header, table = psv.split("trkSub  ", 1)
    body = "trkSub  " + table
    broken = psv.replace(found, instead, 1) if found in header else header + body.replace(found, instead)

    assert any(fault in each for each in faults_of_psv(broken)), faults_of_psv(broken)


@pytest.mark.parametrize(
    ("mjd_utc", "expected"),
    [
        (60000.0, "2023-02-25T00:00:00.000Z"),
        (60000.5 + 1.0004e-3 / 86400, "2023-02-25T12:00:00.001Z"),
        (60000.0 - 1e-10, "2023-02-25T00:00:00.000Z"),  # rounds up into the next day
        (57753.999999, "2016-12-31T23:59:59.914Z"),
        (51544.25, "2000-01-01T06:00:00.000Z"),
    ],
)
def test_times_are_to_the_millisecond(mjd_utc, expected):
    assert obs_time(mjd_utc) == expected


@given(st.floats(0.0, 359.999), st.floats(1e-8, 1.0))
def test_positions_lose_less_than_a_tenth_of_their_sigma_within_ades_nine_decimals(degrees, sigma):
    text = position(degrees, sigma)

    assert abs(float(text) - degrees) <= max(0.1 * sigma, 1e-9)
    assert len(text.partition(".")[2]) <= 9


@given(st.floats(0.0, 1e8))
def test_small_numbers_fit_or_are_left_out(value):
    text = small_number(value, width=7, decimals=4)

    assert len(text) <= 7
    assert text == "" or abs(float(text) - value) <= 0.51 * 10.0 ** -len(text.partition(".")[2])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("ades.submiter.name", "J. Doe", "'ades.submiter.name': did you mean 'ades.submitter.name'?"),
        ("ades.telescope.aperture", "8.4 m", "metres"),
        ("ades.telescope.aperture", "0.0", "metres"),
        ("ades.X05.mode", "a CCD", "kind of detector"),
        ("ades.astCat", "Gaia DR3", "star catalogue"),
        ("ades.observers.name", "A. Bee;;", "texts of 1 to 100"),
        ("ades.submitter.name", "J. | Doe", "without '|'"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_what_was_expected(key, value, expected):
    with pytest.raises(BadInputError, match=re.escape(expected)):
        checked_ades({key: value}, name="who.csv")


def test_an_observatorys_own_value_goes_before_the_general_one():
    items = checked_ades({"ades.mode": "CCD", "ades.X05.mode": "CMO", "seed": "1"}, name="who.csv")

    assert settings_of_observatory(items, "X05").values == {"mode": "CMO"}
    assert settings_of_observatory(items, "703").values == {"mode": "CCD"}


def test_files_of_an_earlier_collect_do_not_stay(tmp_path):
    (tmp_path / "ades_703.psv").write_text("old")

    results = collected(FakeBucket(), [], tmp_path)

    assert list(tmp_path.glob("ades_*")) == []
    assert results.ades.bodies == {}
    assert LAYOUT.job_id in results.report.read_text()
