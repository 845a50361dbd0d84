import gzip

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.errors import BadInputError
from tasks.inputs.catalogue_file import read_catalogue
from tasks.inputs.readers.catalogue_blocks import runoff_from_parameter
from tasks.inputs.readers.packed_designations import designation_from_packed, mjd_from_packed
from tests.support.job_inputs import whole_demo
from tests.support.mpcorb import HEAD, mpcorb_lines

AXES = ("x", "y", "z", "vx", "vy", "vz")

CERES = (
    "00001    3.34  0.15 K239D  60.07881   73.42179   80.25496   10.58688  0.0789126  0.21411523   2.7672543  "
    "0 E2023-F87  7283 123 1801-2023 0.65 M-v 30k MPCLINUX   4000      (1) Ceres              20230321\n"
)

SBDB = (
    "spkid,full_name,pdes,H,G,epoch,e,a,q,i,om,w,ma,tp,condition_code,last_obs\n"
    '20000001,"     1 Ceres (A801 AA)",1,3.34,0.12,2460200.5,0.0789126,2.7672543,,10.58688,80.25496,73.42179,60.07881'
    ",,0,2023-03-21\n"
    '1003517,"       C/2020 F3 (NEOWISE)",C/2020 F3,,,2459036.5,0.99921,,0.29468,128.9375,61.0104,37.2786,'
    ",2459034.18,,\n"
    "54000001,(2099 ZZ9),2099 ZZ9,22.1,,2460200.5,0.1,,,,,,,,,\n"
)


# Minor Planet Center, "Packed Provisional and Permanent Designations": its own examples.
@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("03202", "3202"),
        ("50000", "50000"),
        ("A0345", "100345"),
        ("a0017", "360017"),
        ("K3289", "203289"),
        ("~0000", "620000"),
        ("~000z", "620061"),
        ("~AZaz", "3140113"),
        ("~zzzz", "15396335"),
        ("J95X00A", "1995 XA"),
        ("J95X01L", "1995 XL1"),
        ("J95F13B", "1995 FB13"),
        ("J98SA8Q", "1998 SQ108"),
        ("J98SC7V", "1998 SV127"),
        ("K99AJ3Z", "2099 AZ193"),
        ("K08Aa0A", "2008 AA360"),
        ("K07Tf8A", "2007 TA418"),
        ("PLS2040", "2040 P-L"),
        ("T1S3138", "3138 T-1"),
        ("T3S4101", "4101 T-3"),
        ("_QC0000", "2026 CA620"),
        ("_QC0aEM", "2026 CZ6190"),
    ],
)
def test_designations_are_those_of_the_minor_planet_centers_page(packed, expected):
    assert designation_from_packed(packed) == expected


# Minor Planet Center, "Packed Dates": 1996 Jan. 1, Jan. 10, Sept. 30, Oct. 1, 2001 Oct. 22.
@pytest.mark.parametrize(
    ("packed", "expected"),
    [("J9611", 50083.0), ("J961A", 50092.0), ("J969U", 50356.0), ("J96A1", 50357.0), ("K01AM", 52204.0)],
)
def test_dates_are_those_of_the_minor_planet_centers_page(packed, expected):
    assert mjd_from_packed(packed) == expected


# The Minor Planet Center's table of U: the runoff, arcsec a decade, at which each value ends.
@pytest.mark.parametrize(
    ("parameter", "expected"), [("0", 1.0), ("1", 4.4), ("4", 382.0), ("8", 146502.0), ("E", 648000.0), ("3.0", 86.5)]
)
def test_an_uncertainty_parameter_stands_for_its_largest_runoff(parameter, expected):
    assert runoff_from_parameter(parameter) == pytest.approx(expected, rel=0.02)


def only_block(path):
    (block,) = read_catalogue(path)
    return block


def elements_of(block):
    states = np.column_stack([block[name].to_numpy() for name in AXES])
    return np.column_stack(keplerian_from_states(states).T)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_mpcorb_is_read_in_its_own_columns(tmp_path, packed):
    path = tmp_path / "MPCORB.DAT"
    text = (HEAD + CERES + "\n" + CERES.replace("00001  ", "K23A01B").replace("20230321", "")).encode()
    path.write_bytes(gzip.compress(text) if packed else text)

    block = only_block(path)

    assert block["orbit_id"].to_pylist() == ["1", "2023 AB1"]
    assert block["epoch"].to_pylist() == [60200.0] * 2
    assert block["H"].to_pylist() == [3.34] * 2
    assert block["runoff"][0].as_py() == 1.0
    assert block["last_observed"].to_pylist() == [60024.0, None]
    np.testing.assert_allclose(
        elements_of(block)[0], [2.7672543, 0.0789126, 10.58688, 80.25496, 73.42179, 60.07881], rtol=1e-10
    )


def test_mpcorb_in_many_blocks_gives_the_same_orbits(tmp_path, monkeypatch):
    path = tmp_path / "MPCORB.DAT"
    names = [f"{number:05d}" for number in range(1, 301)]
    elements = np.tile([2.7, 0.1, 10.0, 80.0, 70.0, 60.0], (300, 1))
    path.write_text(HEAD + "".join(mpcorb_lines(names, elements, 60000.0, mag=[15.0] * 300)))
    whole = only_block(path)

    monkeypatch.setattr("tasks.inputs.readers.mpcorb.BLOCK_BYTES", 5000)
    blocks = list(read_catalogue(path))

    assert len(blocks) > 10
    assert pa.concat_tables(blocks).combine_chunks() == whole.combine_chunks()


@pytest.mark.parametrize(
    ("start", "end", "text", "said"),
    [
        (70, 79, "0.0x89126", "line 6 has '0.0x89126', expected a number as e"),
        (0, 5, "0#001", "line 6 has '0#001  ', expected a packed designation"),
        (60, 500, "\n", "line 6 has 60 characters"),
    ],
)
def test_what_is_wrong_with_mpcorb_is_told_by_its_line(tmp_path, start, end, text, said):
    path = tmp_path / "MPCORB.DAT"
    path.write_text(HEAD + CERES[:start] + text + CERES[end:] + CERES)

    with pytest.raises(BadInputError, match=said):
        read_catalogue(path)


def test_the_small_body_databases_csv_is_read_with_comets_and_without_what_has_no_elements(tmp_path):
    path = tmp_path / "sbdb.csv"
    path.write_text(SBDB)

    block = only_block(path)

    assert block["orbit_id"].to_pylist() == ["1", "C/2020 F3"]
    assert block["epoch"].to_pylist() == [60200.0, 59036.0]
    assert block["last_observed"].to_pylist() == [60024.0, None]
    np.testing.assert_allclose(elements_of(block)[0, :3], [2.7672543, 0.0789126, 10.58688], rtol=1e-10)
    assert elements_of(block)[1, 1] == pytest.approx(0.99921)


def test_a_small_body_database_without_an_epoch_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "sbdb.csv"
    path.write_text(SBDB.replace("epoch", "era"))

    with pytest.raises(BadInputError, match=r"column 'epoch' is missing.*Small-Body Database"):
        read_catalogue(path)


def test_test_orbits_are_a_catalogue_and_their_magnitudes_and_covariances_are_kept(tmp_path):
    orbits = whole_demo().test_orbits
    path = tmp_path / "orbits.parquet"
    pa.parquet.write_table(orbits.append_column("H", pa.array(np.full(len(orbits), 17.5))), path)

    block = only_block(path)

    assert block["orbit_id"].to_pylist() == orbits["orbit_id"].to_pylist()
    assert set(block["H"].to_pylist()) == {17.5}
    assert block["covariance"].null_count == orbits["covariance"].null_count


def test_an_empty_catalogue_is_refused(tmp_path):
    path = tmp_path / "MPCORB.DAT"
    path.write_text("")

    with pytest.raises(BadInputError, match="it is empty"):
        read_catalogue(path)
