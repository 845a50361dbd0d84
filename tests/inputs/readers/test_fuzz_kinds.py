"""Kinds of files, not characters: what only wraps a file changes nothing in it, what damages it is refused in words.

At another seed in every run: it stands in pytest's first lines, and FUZZ_SEED=NUMBER runs it again.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tasks.inputs.config_file import read_config
from tasks.inputs.observations_file import read_detections
from tasks.inputs.orbits_file import read_orbits
from tests.inputs.readers.test_formats import PSV, XML, obs80_line
from tests.inputs.readers.test_fuzz import CSV, OBS80, read_or_refused, refusals_naming

SEED = int(os.environ["FUZZ_SEED"])

SPACE = obs80_line(note="S", code="C51")
TWO_LINES = f"{SPACE}\n{SPACE[:14]}s{SPACE[15:32]}{'1 - 1234.5000 + 5678.9000 -  321.0000':<45}C51\n"
MOVING = PSV.replace("|mode|stn |", "|mode|stn |sys|ctr|pos1|pos2|pos3|", 1).replace(
    "|CCD |F51 |", "|CCD |C51 |ICRF_KM|399|1.5|-7000|12|"
)
TEXTS = {"csv": CSV, "psv": PSV, "xml": XML, "obs80": OBS80, "two lines": TWO_LINES + OBS80, "moving": MOVING}

ORBITS = "orbit_id,epoch,x,y,z,vx,vy,vz\n042,59000.0,2.0,0.5,0.1,0.001,0.01,0.0\n7,59000.0,2.0,0.5,0.1,0.001,0.01,0.0\n"
CONFIG = "key,value\nseed,7\ncolumns.ra,alpha\ncluster_and_link.min_nights,4\n"


def zipped(body):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("inner", body)
    return sink.getvalue()


PACKERS = [gzip.compress, bz2.compress, lzma.compress, zipped]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-16-be"]


def wrapped(text, form, draw):
    """The bytes of a file that means what the text means."""
    if draw(st.booleans()):
        text = "\n" * draw(st.integers(0, 3)) + text + "\n" * draw(st.integers(0, 3)) if form != "xml" else text + "\n"
    if form in {"psv", "moving"} and draw(st.booleans()):
        # Comments and a keyword record before another of the same names.
        at = text.index("provID")
        names = text[at : text.index("\n", at) + 1]
        text = text[:at] + names + "\n" + draw(st.sampled_from(["", "# comment\n! line mine\n"])) + text[at:]
    if form == "csv" and draw(st.booleans()):
        text = text.replace(",", draw(st.sampled_from([";", "\t", "|", "; "])))
    if form == "csv" and draw(st.booleans()):
        text = "# mine: made, by me\n" + text.lstrip("\n")
    if form in {"obs80", "two lines"} and draw(st.booleans()):
        text = "COD F51\nOBS N. Body\nTEL 0.5-m reflector\n" + text
    if form == "xml" and draw(st.booleans()):
        text = text.replace("<ades ", '<!-- mine --><ades xmlns="http://example.org/ades" ')
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"] if form == "xml" else ["\n", "\r\n", "\r"])))
    body = text.encode(draw(st.sampled_from(ENCODINGS)))
    for packer in draw(st.lists(st.sampled_from(PACKERS), max_size=2)):
        body = packer(body)
    return body


def read_body(body, reader=read_detections):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine"
        path.write_bytes(body)
        return reader(path)


def without_made_ids(table):
    """Ids that are made of the numbers of lines are others where lines were put in."""
    made = any(each.startswith("line-") for each in table["obs_id"].to_pylist())
    return table.drop_columns("obs_id") if made else table


@pytest.mark.parametrize("form", TEXTS)
@seed(SEED)
@settings(max_examples=40)
@given(data=st.data())
def test_what_only_wraps_a_file_changes_nothing_in_it(form, data):
    plain = read_body(TEXTS[form].encode()).table

    found = read_body(wrapped(TEXTS[form], form, data.draw)).table

    assert without_made_ids(found).equals(without_made_ids(plain))


SENTINELS = [
    "99",
    "-999",
    "99.99",
    "nan",
    "inf",
    "-inf",
    "null",
    "--",
    "0",
    "360",
    "10:20:30",
    "1e400",
    "é",
    "\udce9",
    "",
]


def spoiled(text, draw):
    """A text with a line, a field or a column that is where none should be, or another."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["double", "drop", "swap", "cut", "value", "field", "column", "blank", "odd"]))
        if kind == "double":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        elif kind == "value":
            numbers = list(re.finditer(r"[-+]?\d+(\.\d*)?", lines[at])) or [re.search("$", lines[at])]
            found = draw(st.sampled_from(numbers))
            lines[at] = lines[at][: found.start()] + draw(st.sampled_from(SENTINELS)) + lines[at][found.end() :]
        elif kind == "field":
            lines[at] += draw(st.sampled_from([",", "|", ";", ",,1", "|x"]))
        elif kind == "column":
            lines = [f"{line},{line.split(',')[-1]}" for line in lines]
        elif kind == "blank":
            lines.insert(at, draw(st.sampled_from(["", "  ", "\t", "#", "!", "# comment", "|||", ",,,"])))
        else:
            lines[at] = draw(
                st.sampled_from(["<ades>", "PAR1", "\x1f\x8b", "{", "COD F51", "# version=2017", '"', "\x00"])
            )
    return "\n".join(lines)


def damaged_body(text, draw):
    body = spoiled(text, draw).encode(draw(st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16"])), "replace")
    if draw(st.booleans()):
        body = draw(st.sampled_from(PACKERS))(body)
        if draw(st.booleans()):
            body = body[: draw(st.integers(0, len(body)))]
        elif draw(st.booleans()):
            at = draw(st.integers(0, len(body) - 1))
            body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
    return body


@pytest.mark.parametrize("form", TEXTS)
@seed(SEED)
@settings(max_examples=80)
@given(data=st.data())
def test_a_file_that_is_spoiled_is_refused_in_words_or_read_whole(form, data):
    read_or_refused(damaged_body(TEXTS[form], data.draw), "spoiled")


@pytest.mark.parametrize(("text", "reader"), [(ORBITS, read_orbits), (CONFIG, read_config)], ids=["orbits", "config"])
@seed(SEED)
@settings(max_examples=80)
@given(data=st.data())
def test_test_orbits_and_settings_that_are_spoiled_are_refused_in_words_or_read(text, reader, data):
    with refusals_naming("mine"):
        read_body(damaged_body(text, data.draw), reader)
