"""ADES files against the Minor Planet Center's own schema of a submission (PyPI iau-ades): ours are never looser."""

import string
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import BadInputError
from tasks.inputs.ades_rules import VALUES, faults_of_psv
from tasks.inputs.ades_settings import RULES, checked_ades
from tasks.results.ades_file import ades_files
from tasks.results.recovered_tables import trk_subs
from tests.results.test_ades import WHO, completed, replaced
from tests.support.ades_schema import schema_faults
from tests.support.recovered import merged_demo

EVERY_KEY = {
    **WHO,
    "ades.observers.name": "Á. Bée; C. Dee",
    "ades.telescope.name": "Simonyi",
    "ades.telescope.fRatio": "1.2",
    "ades.telescope.pixelScale": "0.2",
    "ades.photCat": "PS1_DR2",
    "ades.fundingSource": "Somewhere's Fund",
    "ades.comment": "first line; second line",
    "ades.703.telescope.aperture": "0.68",
    "ades.703.mode": "CMO",
    "ades.band.open": "G",
}

TWO_ROWS = (
    "# version=2022\n# observatory\n! mpcCode X05\n# submitter\n! name J. Doe\n! institution Somewhere\n# observers\n"
    "! name A. Bee\n# measurers\n! name J. Doe\n# telescope\n! name Big\n! design reflector\n! aperture 8.4\n"
    "! detector CCD\n! fRatio 1.2\n! pixelScale 0.2\n# fundingSource Fund\n# comment\n! line Linked\n"
    "permID|provID|trkSub|obsSubID|mode|stn|sys|ctr|pos1|pos2|pos3|obsTime|"
    "ra|dec|rmsRA|rmsDec|astCat|mag|rmsMag|band|photCat\n"
    "433|2011 UE4|T1|a 1|CCD|X05|ICRF_KM|399|1.5|-2.5|3|2020-01-01T00:00:00.000Z|"
    "10.5|-0.25|0.1|0.1|Gaia3|20.1|0.1|r|Gaia3\n"
    "||T1||CCD|X05||||||2020-01-02T00:00:00.000Z|350|+89.9|||Gaia3||||\n"
)


def varied_observations():
    """Detections of three observatories, in several filters, with magnitudes and sigmas that are missing."""
    _, observations = merged_demo()
    number = range(len(observations))
    ids = [("703", "X05", "W84")[k % 3] for k in number]
    observations = replaced(observations, "observatory_code", ids)
    observations = replaced(observations, "filter", [("r", "open", "PG", None, "a long name")[k % 5] for k in number])
    observations = replaced(observations, "mag", [(21.25, None, -1.5, 34.99, 9.999)[k // 3 % 5] for k in number])
    observations = replaced(observations, "mag_sigma", [(0.1, None, 1e-5, 2.0)[k // 2 % 4] for k in number])
    sigmas = [(0.1, None, 1e-4, 30.0, 3.0)[k // 5 % 5] for k in number]
    for name in ("RA_sigma_deg", "Dec_sigma_deg"):
        observations = replaced(observations, name, [None if s is None else s / 3600 for s in sigmas])
    return observations


def test_the_rows_that_the_other_tests_change_are_right():
    assert faults_of_psv(TWO_ROWS) == []
    assert schema_faults(TWO_ROWS) == []


def test_every_file_of_several_observatories_bands_and_gaps_is_a_valid_submission():
    files = ades_files(completed(varied_observations()), EVERY_KEY, job_id="survey-07")

    assert list(files.bodies) == ["ades_703.psv", "ades_W84.psv", "ades_X05.psv"]
    for body in files.bodies.values():
        assert schema_faults(body.decode()) == []
    assert b"! aperture 0.68" in files.bodies["ades_703.psv"]
    assert all(b"|photCat" in body and b"|PG " in body for body in files.bodies.values())


def test_the_least_that_must_be_said_is_a_valid_submission():
    least = {key: value for key, value in WHO.items() if key != "ades.submitter.institution"}

    body = ades_files(completed(), least, job_id="survey-07").bodies["ades_X05.psv"].decode()

    assert schema_faults(body) == []


def test_names_of_objects_are_valid_and_stay_the_same():
    names = trk_subs([[f"a{k}", f"b{k}"] for k in range(40)])

    for name in names:
        assert schema_faults(TWO_ROWS.replace("T1|", f"{name}|")) == []
    assert trk_subs([[f"a{k}", f"b{k}"] for k in range(40)]) == names


@pytest.mark.parametrize("length", [35, 36])
def test_an_id_of_the_survey_is_kept_as_long_as_the_schema_has_room_for_it(length):
    _, observations = merged_demo()
    merged = completed()
    new = {old: old.ljust(length, "x") for old in observations["obs_id"].to_pylist()}
    members = replaced(merged.members, "obs_id", [new[old] for old in merged.members["obs_id"].to_pylist()])

    body = ades_files(type(merged)(merged.orbits, members, merged.n_before), WHO, job_id="j").bodies["ades_X05.psv"]

    assert (b"obsSubID" in body) == (length == 35)
    assert schema_faults(body.decode()) == []


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("version=2022", "version=2030"),
        ("# version=2022\n", ""),
        ("! mpcCode X05\n", ""),
        ("! mpcCode X05", "! mpcCode X0"),
        ("# telescope\n", "# scope\n"),
        ("! detector CCD\n", ""),
        ("! detector CCD", "! detector " + 26 * "C"),
        ("! aperture 8.4", "! aperture 8.4 m"),
        ("! aperture 8.4", "! aperture 100000"),
        ("! aperture 8.4", "! aperture 0.0"),
        ("! name J. Doe", "! name J. \x07 Doe"),
        ("! name J. Doe", "! name J. | Doe"),
        ("! line Linked", "! row Linked"),
        ("|obsTime|", "|time|"),
        ("|astCat|", "|"),
        ("|X05|", "|X0|"),
        ("|Gaia3|20", "||20"),
        ("000Z|", "000|"),
        ("2020-01-01", "2020-02-30"),
        ("T1|", "T12345678|"),
        ("T1|", "T 1|"),
        ("|r|", "||"),
        ("|20.1|0.1|", "|||"),
        ("|0.1|0.1|", "|0.0|0.1|"),
        ("|0.1|0.1|", "|123456.|0.1|"),
        ("|10.5|", "|010.5|"),
        ("|10.5|", "|360.0|"),
        ("|10.5|", "|10.1234567891|"),
        ("|-0.25|", "|-00.25|"),
        ("|-0.25|", "|-90.1|"),
        ("|20.1|", "|36|"),
        ("|20.1|", "|1e1|"),
        ("|20.1|", "|\uff12\uff10|"),
        ("|a 1|", f"|{36 * 'a'}|"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_our_rules_and_by_the_schema(found, instead):
    broken = TWO_ROWS.replace(found, instead)

    assert broken != TWO_ROWS
    assert faults_of_psv(broken) != []
    assert schema_faults(broken) != []


@pytest.mark.parametrize("lost", ["# observers\n! name A. Bee\n", "trkSub|obsSubID"])
def test_where_our_rules_ask_for_more_than_the_schema_it_is_on_purpose(lost):
    """Who observed must be said; and columns stand in one order, so that files are alike."""
    instead = {"trkSub|obsSubID": "obsSubID|trkSub"}.get(lost, "")
    changed = TWO_ROWS.replace(lost, instead).replace("T1||", "T1|b|")
    if instead:
        changed = changed.replace("T1|a 1|", "a 1|T1|").replace("T1|b|", "b|T1|")

    assert faults_of_psv(changed) != []
    assert schema_faults(changed) == []


CELL = st.one_of(
    st.text(st.sampled_from("0123456789.+-eE"), max_size=9),
    st.text(st.sampled_from(string.ascii_letters + string.digits + "._- #!|é\u00a0\u2028\uff11\t"), max_size=40),
)


@given(st.data(), st.integers(0, 1), st.sampled_from(sorted(VALUES)))
@settings(max_examples=60)
def test_no_value_that_our_rules_let_pass_is_refused_by_the_schema(data, row, column):
    value = data.draw(st.one_of(CELL, st.from_regex(VALUES[column], fullmatch=True)))
    *head, first, second = TWO_ROWS.splitlines()
    rows = [first.split("|"), second.split("|")]
    rows[row][list(VALUES).index(column)] = value
    changed = "\n".join([*head, *("|".join(cells) for cells in rows)]) + "\n"

    if faults_of_psv(changed) == []:
        assert schema_faults(changed) == []


@given(st.sampled_from(sorted(RULES)), CELL)
@settings(max_examples=60)
def test_no_setting_that_is_accepted_makes_a_file_that_is_refused(key, value):
    try:
        who = {**EVERY_KEY, **checked_ades({f"ades.{key}": value}, name="who.csv")}
    except BadInputError:
        return

    files = ades_files(few_detections(), who, job_id="survey-07")

    assert [note for note in files.notes if "would break" in note] == []
    assert schema_faults(files.bodies["ades_X05.psv"].decode()) == []


@cache
def few_detections():
    merged = completed()
    members = merged.members.slice(0, 4)
    filters = pa.array(["r", "open", None, "PG"], pa.string())
    column = members.column_names.index("filter")
    return type(merged)(merged.orbits, members.set_column(column, "filter", filters), merged.n_before)
