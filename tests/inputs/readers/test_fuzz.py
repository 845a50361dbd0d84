"""Every reader against damaged files: it refuses with words, or every row that was there is in the table or counted."""

import contextlib
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.engines.tables import OBSERVATIONS
from tasks.errors import BadInputError
from tasks.inputs.observations_file import read_detections
from tests.inputs.readers.test_formats import PSV, XML, obs80_line

CSV = (
    "obs_id,mjd_utc,RA_deg,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code,mag,filter\n"
    "001,60000.5,10.25,-20.5,2.5e-5,2.5e-5,X05,21.5,r\n"
    "002,60000.5,359.99,89.5,,,703,,\n"
    "003,60001.25,0,0,1e-5,1e-5,X05,20,g\n"
)
OBS80 = (
    "\n".join([obs80_line(), obs80_line(note="X"), obs80_line(dec="-00 00 30.0"), obs80_line(mag="", band="")]) + "\n"
)
TEXTS = {"csv": CSV, "psv": PSV, "xml": XML, "obs80": OBS80}
ROWS = {"csv": 3, "psv": 4, "xml": 3, "obs80": 4}

USUAL = "0123456789.+-eE |,<>/\"'#!&;:TZNaInf\t\x00"


def damaged(text, draw):
    """A text with a few characters changed, cut out, doubled or put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text) - 1)) if text else 0
        width = draw(st.sampled_from([0, 1, 1, 1, 2, 9]))
        put_in = draw(st.text(USUAL, max_size=3) | st.text(max_size=2) | st.just(text[at : at + 9]))
        text = text[:at] + put_in + text[at + width :]
    return text


def encoded(text):
    return text.encode("utf-8", "surrogatepass")


def require_valid(found):
    table = found.table
    assert table.select(OBSERVATIONS.names).schema.equals(OBSERVATIONS)
    assert len(table) > 0
    mjd, ra, dec = (table[name].to_numpy() for name in ("mjd_utc", "RA_deg", "Dec_deg"))
    assert np.all((mjd > -21505) & (mjd < 124594) & (ra >= 0) & (ra < 360) & (np.abs(dec) <= 90))
    for name in ("obs_id", "observatory_code"):
        assert table[name].null_count == 0
    assert len(set(table["obs_id"].to_pylist())) == len(table)


def read_bytes(body, name):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(body)
        return read_detections(path)


@contextlib.contextmanager
def refusals_naming(name):
    """Let errors pass that a person can act on, and nothing else."""
    try:
        yield
    except BadInputError as refusal:
        message = str(refusal)
    else:
        return
    assert name in message
    assert len(message) < 2000


def read_or_refused(body, name):
    """What was read; None when it was refused with words that name the file."""
    with refusals_naming(name):
        found = read_bytes(body, name)
        require_valid(found)
        return found


def left_out(found):
    return sum(int(re.match(r"\d+", note)[0]) for note in found.notes if "left out" in note)


@pytest.mark.parametrize("form", TEXTS)
@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_text_is_refused_or_read(form, data):
    read_or_refused(encoded(damaged(TEXTS[form], data.draw)), f"damaged.{form}")


@pytest.mark.parametrize("form", TEXTS)
@settings(max_examples=150)
@given(data=st.data())
def test_no_row_gets_lost_when_one_character_is_another(form, data):
    text = TEXTS[form]
    # A row's first character can make another kind of line of it, and markup another document.
    places = [at for at, each in enumerate(text) if each not in "\n<>" and at and text[at - 1] != "\n"]
    at = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from("0123456789.+-eE |xXsS"))

    found = read_or_refused(encoded(text[:at] + other + text[at + 1 :]), f"changed.{form}")

    if found is not None:
        assert len(found.table) + left_out(found) == ROWS[form]


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(body):
    for name in ("noise.csv", "noise.parquet"):
        read_or_refused(body, name)


@pytest.mark.parametrize("form", TEXTS)
def test_a_file_cut_off_anywhere_is_refused_or_says_whole_rows(form):
    for end in range(0, len(TEXTS[form]), 3):
        read_or_refused(encoded(TEXTS[form][:end]), f"cut.{form}")


def parquet_of(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_parquet_is_refused_or_read(data):
    body = bytearray(parquet_of(read_bytes(CSV.encode(), "whole.csv").table))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    read_or_refused(bytes(body), "damaged.parquet")


TYPES = [
    pa.int8(),
    pa.float32(),
    pa.string(),
    pa.large_string(),
    pa.bool_(),
    pa.binary(),
    pa.null(),
    pa.timestamp("ms"),
]
TYPES += [pa.date32(), pa.list_(pa.float64()), pa.struct([("days", pa.int64())]), pa.decimal128(9, 2)]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("name", OBSERVATIONS.names)
def test_a_parquet_column_of_any_type_is_refused_or_read(name, kind):
    whole = read_bytes(CSV.encode(), "whole.csv").table
    place = whole.schema.get_field_index(name)
    nulls = whole.set_column(place, pa.field(name, kind), pa.nulls(len(whole), kind))

    read_or_refused(parquet_of(nulls), "typed.parquet")


def adam_core_tables():
    times = pa.array([{"days": 57629, "nanos": 0}, {"days": 57630, "nanos": 5}])
    detections = pa.table(
        {"id": ["a", "b"], "exposure_id": ["e", "f"], "time": times, "ra": [1.0, 2.0], "dec": [2.0, 3.0],
         "ra_sigma": [1e-5, None], "dec_sigma": [1e-5, 1e-5], "mag": [20.0, None]}
    )  # fmt: skip
    exposures = pa.table({"id": ["e", "f"], "observatory_code": ["X05", "703"], "filter": ["r", None]})
    return detections.replace_schema_metadata({"time.scale": "utc"}), exposures


@pytest.mark.parametrize("kind", [*TYPES, "missing", "text"], ids=str)
@pytest.mark.parametrize("name", ["id", "exposure_id", "time", "ra", "dec", "ra_sigma", "dec_sigma", "mag"])
def test_adam_cores_columns_of_any_type_are_refused_or_read(tmp_path, name, kind):
    detections, exposures = adam_core_tables()
    place = detections.schema.get_field_index(name)
    if kind == "missing":
        detections = detections.remove_column(place)
    elif kind == "text":
        detections = detections.set_column(place, name, pa.array(["x", "y"]))
    else:
        detections = detections.set_column(place, pa.field(name, kind), pa.nulls(2, kind))
    pq.write_table(detections, tmp_path / "detections.parquet")
    pq.write_table(exposures, tmp_path / "exposures.parquet")

    with refusals_naming("detections.parquet"):
        require_valid(read_detections(tmp_path / "detections.parquet"))


@pytest.mark.parametrize("kind", [*TYPES, "missing"], ids=str)
@pytest.mark.parametrize("name", ["id", "observatory_code", "filter"])
def test_exposures_with_columns_of_any_type_are_refused_or_read(tmp_path, name, kind):
    detections, exposures = adam_core_tables()
    place = exposures.schema.get_field_index(name)
    exposures = exposures.remove_column(place)
    if kind != "missing":
        exposures = exposures.append_column(pa.field(name, kind), pa.nulls(2, kind))
    pq.write_table(detections, tmp_path / "detections.parquet")
    pq.write_table(exposures, tmp_path / "exposures.parquet")

    with refusals_naming("parquet"):
        require_valid(read_detections(tmp_path / "detections.parquet"))
