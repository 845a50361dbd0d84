"""Test orbits and configs in damaged files: refused with words that name the file, or every row that was there is read.

`--catalogue` and `--population` are read by the same function as `--orbits`.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adam_core.utils.helpers.orbits import make_real_orbits
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.engines.tables import TEST_ORBITS
from tasks.inputs.config_file import Config, csv_from_settings, read_config
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.orbits_file import orbits_from_csv, read_orbits
from tasks.results.adam_core_tables import adam_core_orbits
from tests.inputs.readers.test_fuzz import TYPES, damaged, encoded, refusals_naming
from tests.inputs.readers.test_orbit_formats import GOOD, HEADERS, UNITS
from tests.support.recovered import merged_demo

STATES = (
    "orbit_id,epoch,x,y,z,vx,vy,vz\n"
    "--,mjd [TDB],au,au,au,au / d,au / d,au / d\n"
    "001,59000.0,2.0,0.5,0.1,0.001,0.01,0.0\n"
    "002,59000.5,-2.0,0.5,0.1,0.001,-0.01,0.0\n"
    "003,59001,40,1e-3,-.1,0,2.5e-3,1e-4\n"
)
ELEMENTS = {
    kind: f"{HEADERS[kind]}\n{UNITS[kind]}\n{GOOD[kind]}\n{GOOD[kind].replace('042', '007')}\n" for kind in HEADERS
}
TEXTS = {"states": STATES, **ELEMENTS}
ROWS = {"states": 3, "keplerian": 2, "cometary": 2}
CONFIG = csv_from_settings(Config().settings, {"ades.mpcCode": "X05"}).decode() + "columns.ra,alpha\n"


def read_bytes(body, name, read=read_orbits):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(body)
        return read(path)


def require_valid(table):
    assert table.schema.equals(TEST_ORBITS)
    assert len(table) > 0
    numbers = np.column_stack([table[name].to_numpy() for name in TEST_ORBITS.names[1:-1]])
    assert np.isfinite(numbers).all()
    assert len(set(table["orbit_id"].to_pylist())) == len(table)
    # What is uploaded is read by every worker, with the same checks.
    assert orbits_from_csv(csv_from_table(table), name="orbits.csv").equals(table)


def read_or_refused(body, name):
    """What was read; None when it was refused with words that name the file."""
    with refusals_naming(name):
        table = read_bytes(body, name)
        require_valid(table)
        return table


def parquet_of(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def recovered():
    return merged_demo()[0].orbits


@pytest.fixture(scope="module")
def adam_core():
    return make_real_orbits(3).table


@pytest.mark.parametrize("form", TEXTS)
@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_text_is_refused_or_read(form, data):
    read_or_refused(encoded(damaged(TEXTS[form], data.draw)), f"damaged-{form}.csv")


@pytest.mark.parametrize("form", TEXTS)
@settings(max_examples=80)
@given(data=st.data())
def test_no_row_gets_lost_when_one_character_is_another(form, data):
    text = TEXTS[form]
    at = data.draw(st.sampled_from([at for at, each in enumerate(text) if each != "\n"]))
    other = data.draw(st.sampled_from("0123456789.+-eE |xXsSaN"))

    found = read_or_refused(encoded(text[:at] + other + text[at + 1 :]), f"changed-{form}.csv")

    if found is not None:
        assert len(found) == ROWS[form]


@pytest.mark.parametrize("form", TEXTS)
def test_a_file_cut_off_anywhere_is_refused_or_says_whole_rows(form):
    for end in range(0, len(TEXTS[form]), 3):
        read_or_refused(encoded(TEXTS[form][:end]), f"cut-{form}.csv")


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_of_recovered_orbits_is_refused_or_read(recovered, data):
    text = csv_from_table(recovered.slice(0, 2)).decode()

    read_or_refused(encoded(damaged(text, data.draw)), "recovered_orbits.csv")


NUMBERS = st.floats(allow_nan=True) | st.floats(-400, 400) | st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e308, 180.0])


@pytest.mark.parametrize("kind", ["keplerian", "cometary"])
@settings(max_examples=100)
@given(values=st.lists(NUMBERS, min_size=6, max_size=6))
def test_elements_of_any_numbers_are_refused_or_make_an_orbit(kind, values):
    row = ",".join(map(repr, values))

    read_or_refused(f"{HEADERS[kind]}\na,59000,{row}\n".encode(), "any.csv")


@settings(max_examples=80)
@given(data=st.data())
def test_a_damaged_parquet_is_refused_or_read(adam_core, data):
    body = bytearray(parquet_of(adam_core))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    read_or_refused(bytes(body), "damaged.parquet")


@pytest.mark.parametrize("name", [b"orbit_id", b"values"], ids=["at the top", "nested"])
def test_a_parquet_with_a_name_that_is_not_utf8_is_refused(adam_core, name):
    body = parquet_of(adam_core.replace_schema_metadata())
    assert name in body

    assert read_or_refused(body.replace(name, b"\x80" + name[1:]), "names.parquet") is None


def test_a_covariance_whose_correlations_overflow_is_refused(adam_core):
    values = np.eye(6) * 1e-300
    values[0, 1] = values[1, 0] = 1e300
    lists = pa.array([values.ravel().tolist(), None, None], pa.list_(pa.float64()))
    changed = with_leaf(adam_core["coordinates"].combine_chunks(), ("covariance", "values"), lists)

    assert read_or_refused(parquet_of(adam_core.set_column(2, "coordinates", changed)), "large.parquet") is None


@pytest.mark.parametrize("kind", [*TYPES, pa.int64(), pa.list_(pa.string()), "missing"], ids=str)
def test_a_parquet_column_of_any_type_is_refused_or_read(kind):
    whole = read_bytes(STATES.encode(), "whole.csv")
    for place, name in enumerate(TEST_ORBITS.names):
        changed = whole.remove_column(place)
        if kind != "missing":
            changed = changed.append_column(pa.field(name, kind), pa.nulls(len(whole), kind))

        read_or_refused(parquet_of(changed), "typed.parquet")


def leaves(kind, path=()):
    """Paths to everything nested in a type."""
    for field in kind:
        yield (*path, field.name)
        if pa.types.is_struct(field.type):
            yield from leaves(field.type, (*path, field.name))


def with_leaf(array, path, new):
    """The struct with what lies at the path replaced; None: without it."""
    names = [field.name for field in array.type]
    children = dict(zip(names, array.flatten(), strict=True))
    children[path[0]] = new if len(path) == 1 else with_leaf(children[path[0]], path[1:], new)
    kept = {name: child for name, child in children.items() if child is not None}
    return pa.StructArray.from_arrays(list(kept.values()), list(kept)) if kept else None


@pytest.mark.parametrize("kind", [*TYPES, pa.int64(), "missing", "text", "huge"], ids=str)
def test_whatever_is_nested_in_adam_cores_orbits_is_refused_or_read(adam_core, kind):
    values = {"missing": None, "text": pa.array(["x", None, "z"]), "huge": pa.array([2**62, -(2**62), 0])}
    new = values[kind] if kind in values else pa.nulls(3, kind)
    coordinates = adam_core["coordinates"].combine_chunks()
    for path in leaves(coordinates.type):
        changed = with_leaf(coordinates, path, new)
        table = adam_core.set_column(adam_core.schema.get_field_index("coordinates"), "coordinates", changed)

        read_or_refused(parquet_of(table), "nested.parquet")


@st.composite
def covariance_lists(draw):
    """A diagonal matrix, 6 by 6 or 9 by 9, with a few of its values changed, or one too many."""
    side = draw(st.sampled_from([6, 6, 6, 9]))
    values = (np.eye(side) * draw(st.floats(0.0, 1.7e308))).ravel().tolist()
    for _ in range(draw(st.integers(0, 2))):
        values[draw(st.integers(0, len(values) - 1))] = draw(NUMBERS | st.none())
    return values + draw(st.sampled_from([[], [], [], [0.0]]))


@pytest.mark.parametrize("frame", ["ecliptic", "equatorial"])
@settings(max_examples=60)
@given(data=st.data())
def test_covariances_of_any_numbers_are_refused_or_read(adam_core, frame, data):
    coordinates = adam_core["coordinates"].combine_chunks()
    lists = pa.array(
        data.draw(st.lists(st.none() | covariance_lists(), min_size=3, max_size=3)), pa.list_(pa.float64())
    )
    changed = with_leaf(coordinates, ("covariance", "values"), lists)

    table = adam_core.set_column(2, "coordinates", changed)
    metadata = {**table.schema.metadata, b"coordinates.frame": frame.encode()}
    found = read_or_refused(parquet_of(table.replace_schema_metadata(metadata)), "covariance.parquet")

    if found is not None:
        is_there = [
            values is not None and not all(v is None or np.isnan(v) for v in values) for values in lists.to_pylist()
        ]
        assert found["covariance"].is_valid().to_pylist() == is_there


def test_our_own_table_for_adam_core_survives_the_same(recovered):
    whole = read_or_refused(parquet_of(adam_core_orbits(recovered_with_names(recovered))), "own.parquet")

    assert whole["orbit_id"].to_pylist() == recovered["orbit_id"].to_pylist()


def recovered_with_names(recovered):
    magnitudes = pa.nulls(len(recovered), pa.float64())
    return recovered if "G" in recovered.column_names else recovered.append_column("G", magnitudes)


@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_config_is_refused_or_read(data):
    body = encoded(damaged(CONFIG, data.draw))

    with refusals_naming("damaged-config.csv"):
        assert isinstance(read_bytes(body, "damaged-config.csv", read_config), Config)


@settings(max_examples=100)
@given(key=st.sampled_from(CONFIG.splitlines()[1:]).map(lambda row: row.split(",")[0]), value=st.text(max_size=8))
def test_any_value_of_a_key_is_refused_or_read(key, value):
    quoted = value.replace('"', '""')
    body = encoded(f'key,value\n{key},"{quoted}"\n')

    with refusals_naming("value-config.csv"):
        assert isinstance(read_bytes(body, "value-config.csv", read_config), Config)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body):
    for name in ("noise.csv", "noise.parquet"):
        read_or_refused(body, name)
        with refusals_naming(name):
            read_bytes(body, name, read_config)
