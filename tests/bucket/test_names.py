"""No name that a bucket accepts leads out of a directory, or to the directory bucket's own files."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.bucket.names import MAX_NAME_BYTES, checked_prefix, is_object_name

ROOT = Path("/bucket")
PARTS = st.one_of(
    st.sampled_from(["", ".", "..", ".thor-bucket", "a", "~", "a..b", "*", "%2e%2e"]), st.text(max_size=8)
)


@given(st.lists(PARTS, max_size=6).map("/".join))
def test_an_accepted_name_stays_below_the_root_and_is_spelt_in_one_way(name):
    if is_object_name(name):
        path = Path(f"{ROOT}/{name}")
        assert path.is_relative_to(ROOT)
        assert ".." not in path.parts
        assert str(PurePosixPath(name)) == name
        assert ".thor-bucket" not in path.parts
        assert len(name.encode()) <= MAX_NAME_BYTES


@given(st.lists(PARTS, max_size=6).map("/".join), st.integers(0, 40))
def test_every_beginning_of_a_name_that_ends_within_a_part_is_a_prefix(name, length):
    if is_object_name(name):
        assert checked_prefix(name[:length]) == name[:length]


@pytest.mark.parametrize("name", ["a", "a/b", "a-b_c.d/e f", "ünïcödé/名前", "x" * 255, "a..b", "a/b.c."])
def test_ordinary_names_are_accepted(name):
    assert is_object_name(name)
