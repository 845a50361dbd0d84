"""ADES PSV against iau-ades' own converter: the same rows with the same values, wherever keyword records stand."""

import contextlib
import datetime as dt
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tasks.errors import BadInputError
from tasks.inputs.observations_file import read_detections
from tests.support.ades_schema import fresh_converter

HEADER = ["# observatory", "! mpcCode W84", "# submitter", "! name N. Body", "# comment", "! line obsTime|ra|dec"]
OPTICAL = ["mode", "stn", "obsTime", "ra", "dec", "astCat"]
OPTIONAL = ["permID", "trkSub", "rmsRA", "rmsDec", "mag", "rmsMag", "band", "remarks"]
OTHERS = {
    "offset": "mode|stn|obsTime|obsCenter|deltaRA|deltaDec",
    "occultation": "mode|stn|obsTime|raStar|decStar|astCat|deltaRA|deltaDec",
    "radar": "trx|rcv|obsTime|frq|delay",
}
ROWS_OF_OTHERS = {
    "offset": "CCD|W84|2023-09-14T02:57:46Z|Jupiter|0.01|0.02",
    "occultation": "OCC|244|2023-09-14T02:57:46Z|15.5|-0.2|Gaia3|0.1|0.2",
    "radar": "253|253|2023-09-14T02:57:46Z|8560|1.5",
}
VALUES = {
    "permID": ["", "433"],
    "trkSub": ["a1", "b_2"],
    "mode": ["CCD", "CMO"],
    "stn": ["W84", "703", "F51"],
    "obsTime": ["2023-09-14T02:57:46.123Z", "2016-08-30T00:00:00Z"],
    "ra": ["15.514401", "0.0", "359.9999999"],
    "dec": ["-0.209600", "+89.5", "90.0"],
    "astCat": ["Gaia3", "UCAC4"],
    "rmsRA": ["0.10", "", "1.5"],
    "rmsDec": ["0.12", ""],
    "mag": ["21.30", ""],
    "rmsMag": ["0.05", ""],
    "band": ["r", ""],
    "remarks": ["", "x # obsTime", "what, ever \"it's"],
}


@st.composite
def optical_section(draw):
    """A keyword record with a row or more, fields padded, bars at the ends of rows left out where there is nothing."""
    names = draw(st.permutations([*OPTICAL, *draw(st.lists(st.sampled_from(OPTIONAL), unique=True))]))
    lines = [draw(st.sampled_from(["|", " | "])).join(names)]
    least = 1 + max(names.index(each) for each in ("mode", "stn", "obsTime", "ra", "dec", "astCat"))
    for _ in range(draw(st.integers(1, 3))):
        row = [draw(st.sampled_from(VALUES[name])) for name in names]
        kept = draw(st.integers(least, len(row)))
        if not any(row[kept:]):
            row = row[:kept]
        lines += [draw(st.sampled_from(["|", "  |"])).join(row), *draw(st.sampled_from([[], ["", "   "]]))]
    return lines


@st.composite
def other_section(draw):
    kind = draw(st.sampled_from(list(OTHERS)))
    return [OTHERS[kind], *[ROWS_OF_OTHERS[kind]] * draw(st.integers(1, 2))]


SECTIONS = st.lists(
    st.tuples(st.booleans(), optical_section() | optical_section() | other_section()), min_size=1, max_size=5
)


def optical_of_converter(text):
    """The optical observations that iau-ades' converter makes of a PSV file, each the text of its elements."""
    with tempfile.TemporaryDirectory() as folder:
        source, xml = Path(folder, "mine.psv"), Path(folder, "mine.xml")
        source.write_text(text, encoding="utf-8", newline="")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                fresh_converter().psvtoxml(str(source), str(xml))
            except SystemExit:
                pytest.fail(f"the converter refuses it: {said.getvalue()}\n{text}")
        return [{each.tag: each.text for each in element} for element in etree.parse(xml).iter("optical")]


def read_text(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mine.psv")
        path.write_text(text, encoding="utf-8", newline="")
        return read_detections(path)


def number(text):
    return None if text is None else float(text)


def as_ours(optical):
    """What an optical observation of the converter is in our columns."""
    time = dt.datetime.fromisoformat(optical["obsTime"]) - dt.datetime(1858, 11, 17, tzinfo=dt.UTC)
    return {
        "mjd_utc": pytest.approx(time / dt.timedelta(days=1), abs=1e-10),
        "RA_deg": float(optical["ra"]),
        "Dec_deg": float(optical["dec"]),
        "observatory_code": optical["stn"],
        "mag": number(optical.get("mag")),
        "mag_sigma": number(optical.get("rmsMag")),
        "filter": optical.get("band"),
    }


@settings(max_examples=60)
@given(sections=SECTIONS, line_end=st.sampled_from(["\n", "\r\n"]))
def test_rows_and_values_are_those_of_iau_ades_converter(sections, line_end):
    lines = ["# version=2022"]
    for has_header, section in sections:
        lines += [*(HEADER if has_header else []), *section]
    text = line_end.join([*lines, ""])
    expected = optical_of_converter(text)

    if not expected:
        with pytest.raises(BadInputError, match=r"none of its .* can be used"):
            read_text(text)
        return
    found = read_text(text).table

    assert [
        {name: row[name] for name in as_ours(each)} for row, each in zip(found.to_pylist(), expected, strict=True)
    ] == [as_ours(each) for each in expected]
    for name, own in (("rmsRA", "RA_sigma_deg"), ("rmsDec", "Dec_sigma_deg")):
        given_sigmas = [
            (each[name], row[own]) for each, row in zip(expected, found.to_pylist(), strict=True) if name in each
        ]
        assert all(sigma * 3600 == pytest.approx(float(text)) for text, sigma in given_sigmas)


START = "# version=2022\n# observatory\n! mpcCode W84\n"
NAMES = "trkSub|mode|stn|obsTime|ra|dec|astCat|remarks\n"
ROW = "a1|CCD|W84|2023-09-14T02:57:46.123Z|15.514401|-0.2096|Gaia3|\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (START + ROW, "line 4 is 'a1|CCD"),
        (START + NAMES + ROW + "\n# comment\n! line x\n\n" + ROW, "line 10 is 'a1|CCD"),
        (START + NAMES + ROW + "a2|CCD|W84|2023-09-14T02:57:46Z|15.5\n", "line 6 has 5 fields, expected 8"),
        (START + NAMES + ROW + ROW.replace("|\n", "|x|y\n"), "line 6 has 9 fields, expected 8"),
        (START + NAMES + ROW + "a2|CCD|W84|2023-09-14T02:57:46Z|15.5|1|Gaia", "line 6 has 7 fields, expected 8"),
        (START + NAMES + ROW.replace("|\n", "|caf\udce9\n"), r"column 'remarks', line 5 is 'caf\\xe9', expected UTF-8"),
        (START + NAMES + ROW + NAMES.replace("ra|", "dec|"), "line 6 is"),
    ],
    ids=["no names", "no names after a comment", "too few", "too many", "cut off", "not UTF-8", "a name twice"],
)
def test_what_is_wrong_is_told_by_its_line(tmp_path, text, said):
    path = tmp_path / "mine.psv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BadInputError) as refusal:
        read_detections(path)

    assert said in str(refusal.value)


def test_lines_are_counted_past_blank_lines_and_second_keyword_records():
    text = START + NAMES + "\n\n" + ROW + NAMES.replace("|astCat", "") + "  \n" + ROW.replace("|Gaia3", "")

    assert read_text(text).table["obs_id"].to_pylist() == ["line-7", "line-10"]
