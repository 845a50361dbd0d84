"""Values that are no measurements: none of them becomes a magnitude, an uncertainty or a name, and all are counted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import BadInputError
from tasks.inputs.config_file import read_config
from tasks.inputs.observations_file import read_detections
from tests.inputs.readers.test_formats import PSV, obs80_line

HEADER = (
    "obs_id,mjd_utc,RA_deg,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code,"
    "mag,mag_sigma,filter,exposure_id,object_id"
)
ROW = "{id},60000.5,{ra},{dec},{sigma},1e-5,{code},{mag},{mag_sigma},{filter},{exposure},{object}"
USUAL = {"ra": "10", "dec": "-5", "sigma": "1e-5", "code": "X05", "mag": "20", "mag_sigma": "0.1", "filter": "r"}


@pytest.fixture
def read(tmp_path):
    def read_rows(*rows, config=None):
        path = tmp_path / "mine.csv"
        texts = [ROW.format(**{"id": n, "exposure": "", "object": ""} | USUAL | row) for n, row in enumerate(rows)]
        path.write_text("\n".join([HEADER, *texts, ""]))
        form = []
        if config is not None:
            (tmp_path / "config.csv").write_text(f"key,value\n{config}\n")
            form = [read_config(tmp_path / "config.csv").observations_format]
        return read_detections(path, *form)

    return read_rows


NO_MAGNITUDES = ["99", "99.9", "99.99", "-99", "-999", "-999.0", "35", "-5", "1e30"]


@pytest.mark.parametrize("mag", NO_MAGNITUDES)
def test_a_magnitude_that_no_asteroid_has_is_none_and_counted(read, mag):
    found = read({"mag": mag}, {}, {"mag": mag})

    assert found.table["mag"].to_pylist() == [None, 20.0, None]
    assert [note for note in found.notes if "mag" in note] == [
        f"2 of 3 values of mag are not measurements and were taken as missing: {float(mag):g} (2)."
    ]


@pytest.mark.parametrize("text", ["", "NaN", "nan", "inf", "-inf", "null", "None", "N/A", "NA", "--", "masked", "<NA>"])
def test_nan_infinity_masked_and_null_have_one_meaning(read, text):
    found = read({"mag": text, "mag_sigma": text, "sigma": text}, {})

    assert [found.table[name].to_pylist()[0] for name in ("mag", "mag_sigma")] == [None, None]
    assert not any("not measurements" in note for note in found.notes)
    with pytest.raises(BadInputError, match="'RA_deg', row 1"):
        read({"ra": text})


@pytest.mark.parametrize(
    ("mag", "mag_sigma", "expected", "expected_sigma"),
    [
        ("0.0", "0", None, None),
        ("0", "", None, None),
        ("-1", "-1", None, None),
        ("-1.5", "0.1", -1.5, 0.1),
        ("20", "0", 20.0, None),
        ("20", "99", 20.0, None),
        ("20", "-9", 20.0, None),
        ("20", "0.5", 20.0, 0.5),
        ("4.2", "", 4.2, None),
    ],
)
def test_a_magnitude_of_nought_without_a_sigma_is_none(read, mag, mag_sigma, expected, expected_sigma):
    found = read({"mag": mag, "mag_sigma": mag_sigma}).table

    assert (found["mag"][0].as_py(), found["mag_sigma"][0].as_py()) == (expected, expected_sigma)


@pytest.mark.parametrize("sigma", ["0", "0.0", "99", "-1", "-99.9", "999", "-999", "9999"])
def test_an_uncertainty_that_stands_for_none_is_none_and_counted(read, sigma):
    found = read({"sigma": sigma, "code": "703"}, {})

    assert found.table["RA_sigma_deg"].to_pylist() == pytest.approx([0.8 / 3600, 1e-5])
    assert any("1 of 2 values of RA_sigma_deg are not measurements" in note for note in found.notes)


@pytest.mark.parametrize("sigma", ["0.1e1x", "-0.1", "1.5", "3600"])
def test_an_uncertainty_in_another_unit_is_a_fault_of_the_file(read, sigma):
    with pytest.raises(BadInputError, match="'RA_sigma_deg', row 1"):
        read({"sigma": sigma})


@pytest.mark.parametrize("text", ["nan", "NaN", "null", "None", "--", " ", "N/A", "NA"])
@pytest.mark.parametrize("name", ["filter", "exposure", "object"])
def test_a_name_that_says_there_is_none_is_none(read, name, text):
    found = read({name: text}, {name: text}, {name: " Na "}).table

    column = {"filter": "filter", "exposure": "exposure_id", "object": "object_id"}[name]
    assert found[column].to_pylist() == [None, None, "Na"]


def test_masked_values_of_parquet_are_none_and_sentinels_are_counted(tmp_path):
    table = pa.table(
        {"obs_id": ["a", "b", "c"], "mjd_utc": [60000.5] * 3, "RA_deg": [1.0, 2.0, 360.0], "Dec_deg": [0.0] * 3,
         "RA_sigma_deg": [1e-5, float("inf"), None], "Dec_sigma_deg": [1e-5, 1e-5, float("nan")],
         "observatory_code": ["703"] * 3, "mag": pa.array([99.0, float("inf"), None])}
    )  # fmt: skip
    pq.write_table(table, tmp_path / "mine")

    found = read_detections(tmp_path / "mine")

    assert found.table["mag"].null_count == 3
    assert found.table["RA_deg"].to_pylist() == [1.0, 2.0, 0.0]
    assert [note for note in found.notes if "mag" in note] == [
        "1 of 3 values of mag are not measurements and were taken as missing: 99 (1)."
    ]


def test_magnitudes_of_ades_and_eighty_columns_are_looked_at_in_the_same_way(tmp_path):
    psv, lines = tmp_path / "a", tmp_path / "b"
    psv.write_text(PSV.replace("21.91|0.2", "99.99|0.0"))
    lines.write_text(obs80_line(mag="99.9") + "\n")

    assert read_detections(psv).table["mag"].null_count == 4
    assert read_detections(lines).table["mag"].null_count == 1


@pytest.mark.parametrize("ra", ["360", "360.0", "359.99999999999999999"])
def test_a_full_turn_is_nought(read, ra):
    assert read({"ra": ra}).table["RA_deg"].to_pylist() == [0.0]


@pytest.mark.parametrize("ra", ["24 00 00.0", "23 59 60.00"])
def test_a_full_turn_in_eighty_columns_is_nought(tmp_path, ra):
    path = tmp_path / "mine"
    path.write_text(obs80_line(ra=ra) + "\n")

    assert read_detections(path).table["RA_deg"].to_pylist() == [0.0]


@pytest.mark.parametrize("between", [":", " "])
def test_sexagesimal_angles_are_read_where_their_unit_is_known(read, between):
    ra, dec = f"14{between}20{between}24.610", f"-00{between}32{between}49.20"

    found = read({"ra": ra, "dec": dec}, {"ra": "14.5", "dec": "5"}, config="columns.ra_unit,hours").table

    assert found["RA_deg"].to_pylist() == pytest.approx([(14 + 20 / 60 + 24.610 / 3600) * 15, 217.5], abs=1e-12)
    assert found["Dec_deg"].to_pylist() == pytest.approx([-(32 / 60 + 49.20 / 3600), 5.0], abs=1e-12)
    with pytest.raises(BadInputError, match="'Dec_deg', row 1"):
        read({"dec": "-91:00:00"})


@pytest.mark.parametrize("second", ["60", "60.01", "60.999"])
def test_a_leap_second_is_the_last_moment_before_it(tmp_path, second):
    path = tmp_path / "mine"
    path.write_text(PSV.replace("2016-08-30T00:00:00Z", f"2016-12-31T23:59:{second}Z"))

    assert read_detections(path).table["mjd_utc"][1].as_py() == pytest.approx(57754.0, abs=1e-9)


def test_a_time_before_1962_says_what_to_do(tmp_path):
    path, lines = tmp_path / "mine", tmp_path / "lines"
    path.write_text(PSV.replace("2016-08-30T00:00:00Z", "1961-08-30T00:00:00Z"))
    lines.write_text(obs80_line(time="1950 08 29.516360"))

    for each in (path, lines):
        with pytest.raises(BadInputError, match="leave earlier rows out"):
            read_detections(each)
