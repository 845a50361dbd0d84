"""Formats of observations: what is read, against the values that the file's text states, and what is refused how."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from adam_core.observations import Exposures, PointSourceDetections
from adam_core.time import Timestamp

from tasks.engines.tables import OBSERVATIONS
from tasks.errors import BadInputError
from tasks.inputs.config_file import read_config
from tasks.inputs.observations_file import read_detections

PSV = """\
# version=2022
# observatory
! mpcCode F51
provID     |trkSub |mode|stn |obsTime                |ra        |dec     |rmsRA|rmsDec|astCat|mag  |rmsMag|band
2016 QC45  |P10va5R|CCD |F51 |2016-08-29T12:23:34.12Z|215.10254 |-12.547 |0.04 |0.05  |Gaia2 |21.91|0.2   |w
           |P10va5S|CCD |F51 |2016-08-30T00:00:00Z   |0.0       |89.5    |     |      |Gaia2 |     |      |
# version=2022
# observatory
! mpcCode 703
permID |mode|stn |obsTime              |ra      |dec
433    |CCD |703 |2013-01-01T12:00:00Z |10.0    |20.0
434    |CCD |703 |2020-01-01T12:00:00Z |11.0    |-21.0
"""

XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<ades version="2022"><obsBlock>
 <obsContext><observatory><mpcCode>F51</mpcCode></observatory></obsContext>
 <obsData>
  <optical><obsSubID>a1</obsSubID><trkSub>x</trkSub><mode>CCD</mode><obsTime>2016-08-29T12:23:34.12Z</obsTime>
   <ra>215.10254</ra><dec>-12.547</dec><rmsRA>0.04</rmsRA><rmsDec>0.05</rmsDec></optical>
  <optical><obsSubID>a2</obsSubID><stn>703</stn><obsTime>2016-08-30T00:00:00Z</obsTime><ra>0.0</ra><dec>89.5</dec></optical>
  <radar><trx>253</trx></radar>
 </obsData></obsBlock></ades>
"""


@pytest.fixture
def file(tmp_path):
    def write(content, name="observations.txt"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def obs80_line(**changes):
    """A line of 80 columns with some fields changed; each field is cut or filled to its width."""
    fields = {
        "designation": ("     K16Q45C", 12),
        "discovery": ("", 1),
        "program": ("", 1),
        "note": ("C", 1),
        "time": ("2016 08 29.516360", 17),
        "ra": ("14 20 24.610", 12),
        "dec": ("-12 32 49.20", 12),
        "nothing": ("", 9),
        "mag": (" 21.9", 5),
        "band": ("w", 1),
        "reference": ("", 6),
        "code": ("F51", 3),
    }
    return "".join(f"{changes.get(name, text):<{width}}" for name, (text, width) in fields.items())


def test_ades_psv_gives_what_its_text_states_block_after_block(file):
    found = read_detections(file(PSV))

    assert found.table.schema.equals(OBSERVATIONS)
    rows = found.table.to_pylist()
    assert [row["observatory_code"] for row in rows] == ["F51", "F51", "703", "703"]
    assert rows[0]["mjd_utc"] == pytest.approx(57629 + (12 * 3600 + 23 * 60 + 34.12) / 86400, abs=1e-10)
    assert (rows[0]["RA_deg"], rows[0]["Dec_deg"]) == (215.10254, -12.547)
    assert rows[0]["RA_sigma_deg"] * 3600 == pytest.approx(0.04)
    assert (rows[0]["mag"], rows[0]["mag_sigma"], rows[0]["filter"]) == (21.91, 0.2, "w")
    assert rows[1]["mjd_utc"] == 57630.0
    assert [row["obs_id"] for row in rows] == ["line-5", "line-6", "line-11", "line-12"]


def test_missing_uncertainties_are_those_of_the_observatory_at_that_time_and_it_is_said(file):
    found = read_detections(file(PSV))

    sigmas = np.array(found.table["RA_sigma_deg"].to_pylist()) * 3600
    assert sigmas == pytest.approx([0.04, 0.2, 1.0, 0.8])
    assert any("3 of 4 detections" in note and "Vereš" in note for note in found.notes)


def test_ades_xml_takes_the_station_of_its_context_and_counts_what_it_leaves_out(file):
    found = read_detections(file(XML, "observations.xml"))

    assert found.table["obs_id"].to_pylist() == ["a1", "a2"]
    assert found.table["observatory_code"].to_pylist() == ["F51", "703"]
    assert found.table["Dec_sigma_deg"][0].as_py() * 3600 == pytest.approx(0.05)
    assert any("1 of 3 rows" in note and "radar" in note for note in found.notes)


def test_a_block_of_ades_xml_without_a_station_does_not_take_that_of_the_one_before(file):
    optical = "<obsData><optical><obsTime>2020-01-01T00:00:00Z</obsTime><ra>1</ra><dec>2</dec></optical></obsData>"
    context = "<obsContext><observatory><mpcCode>F51</mpcCode></observatory></obsContext>"
    text = f"<ades version='2022'><obsBlock>{context}{optical}</obsBlock><obsBlock>{optical}</obsBlock></ades>"

    with pytest.raises(BadInputError, match="column 'stn', observation 2 is None, expected a value that is not empty"):
        read_detections(file(text, "observations.xml"))


def test_eighty_columns_give_what_their_text_states(file):
    found = read_detections(file("\n".join([obs80_line(), obs80_line(ra="00 00.5", dec="+89 30", mag="", code="703")])))

    first, second = found.table.to_pylist()
    assert first["mjd_utc"] == pytest.approx(57629.516360, abs=1e-9)
    assert first["RA_deg"] == pytest.approx((14 + 20 / 60 + 24.610 / 3600) * 15, abs=1e-12)
    assert first["Dec_deg"] == pytest.approx(-(12 + 32 / 60 + 49.20 / 3600), abs=1e-12)
    assert (first["mag"], first["filter"], first["observatory_code"]) == (21.9, "w", "F51")
    assert (second["RA_deg"], second["Dec_deg"], second["mag"]) == (0.125, 89.5, None)


def test_a_small_southern_declination_keeps_its_sign(file):
    found = read_detections(file(obs80_line(dec="-00 00 30.0")))

    assert found.table["Dec_deg"][0].as_py() == pytest.approx(-30 / 3600)


def test_observations_that_were_replaced_are_left_out_and_counted(file):
    found = read_detections(file("\n".join([obs80_line(note="X"), obs80_line()])))

    assert len(found.table) == 1
    assert any("1 of 2 lines" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"note": "S"}, "line 2, column 15 is 'S'"),
        ({"code": "ZZZ"}, "columns 78-80 is 'ZZZ'"),
        ({"ra": "25 00 00.0"}, "columns 33-44"),
        ({"ra": "14 60 00.0"}, "columns 33-44"),
        ({"dec": "+90 00 00.1"}, "columns 45-56"),
        ({"dec": " 12 00 00.0"}, "columns 45-56"),
        ({"time": "2016 13 29.5"}, "columns 16-32"),
        ({"time": "2016 02 30.5"}, "columns 16-32"),
        ({"mag": "x"}, "columns 66-70"),
    ],
)
def test_a_line_of_eighty_columns_that_is_wrong_is_named(file, change, said):
    with pytest.raises(BadInputError) as refused:
        read_detections(file("\n".join([obs80_line(), obs80_line(**change)])))

    assert said in str(refused.value)
    assert "observations.txt" in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("215.10254", "415.10254", "column 'ra', line 5 is '415.10254', expected degrees in [0, 360)"),
        ("2020-01-01T12:00:00Z", "2020-13-01T12:00:00Z", "column 'obsTime', line 12"),
        ("2020-01-01T12:00:00Z", "today               ", "column 'obsTime', line 12 is 'today'"),
        ("|703 |2013", "|ZZZ |2013", "column 'stn', line 11 is 'ZZZ'"),
        ("|0.04 |", "|-0.1 |", "column 'rmsRA', line 5"),
        ("11.0    |-21.0", "11.0", "line 12 has 5 fields, expected 6"),
        ("|ra      |dec", "|ra      |ra", "line 10"),
    ],
)
def test_a_wrong_field_of_a_psv_is_told_by_its_line(file, old, new, said):
    assert old in PSV
    with pytest.raises(BadInputError) as refused:
        read_detections(file(PSV.replace(old, new)))

    assert said in str(refused.value)


def test_xml_that_is_cut_off_is_refused(file):
    with pytest.raises(BadInputError, match="well-formed"):
        read_detections(file(XML[:400]))


def test_a_config_maps_the_columns_of_any_table(file):
    config = file(
        "key,value\ncolumns.obs_id,\ncolumns.time,JD\ncolumns.time_format,jd\ncolumns.time_scale,tdb\ncolumns.ra,alpha\n"
        "columns.ra_unit,hours\ncolumns.dec,delta\ncolumns.ra_sigma,err\ncolumns.dec_sigma,err\ncolumns.sigma_unit,arcsec\n"
        "columns.observatory,X05\ncolumns.mag,m\nseed,3\n",
        "config.csv",
    )
    said = read_config(config)
    table = file("JD,alpha,delta,err,m\n2457629.5,12.5,-3,0.1,20\n", "mine.csv")

    found = read_detections(table, said.observations_format).table.to_pylist()[0]

    assert said.settings.seed == 3
    assert (found["obs_id"], found["RA_deg"], found["observatory_code"], found["mag"]) == ("row-1", 187.5, "X05", 20.0)
    assert found["RA_sigma_deg"] * 3600 == pytest.approx(0.1)
    # 36 leap seconds and 32.184 s lie between UTC and TDB in 2016, and at most 2 ms of period.
    assert (57629.0 - found["mjd_utc"]) * 86400 == pytest.approx(36 + 32.184, abs=3e-3)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("columns.colour,x", "Unknown setting 'columns.colour'"),
        ("columns.ra_unit,radians", "'columns.ra_unit' is 'radians': expected one of deg, hours"),
        ("columns.ra,", "'columns.ra' is '': expected the name of a column"),
    ],
)
def test_a_mapping_that_is_none_is_refused(file, row, said):
    with pytest.raises(BadInputError) as refused:
        read_config(file(f"key,value\n{row}\n", "config.csv"))

    assert said in str(refused.value)


def test_adam_cores_detections_and_exposures_are_read_unchanged(tmp_path):
    times = Timestamp.from_mjd([57629.25, 57630.5], scale="tai")
    PointSourceDetections.from_kwargs(
        id=["a", "b"], exposure_id=["e2", "e1"], time=times, ra=[10.0, 20.0], dec=[60.0, -5.0],
        ra_sigma=[2e-4, 1e-4], dec_sigma=[1e-4, 1e-4], mag=[20.0, 21.0],
    ).to_parquet(str(tmp_path / "detections.parquet"))  # fmt: skip
    Exposures.from_kwargs(
        id=["e1", "e2"], start_time=times, duration=[30.0, 30.0], filter=["g", "r"], observatory_code=["703", "X05"],
    ).to_parquet(str(tmp_path / "exposures.parquet"))  # fmt: skip

    found = read_detections(tmp_path / "detections.parquet").table.to_pylist()

    assert [(row["obs_id"], row["observatory_code"], row["filter"]) for row in found] == [
        ("a", "X05", "r"),
        ("b", "703", "g"),
    ]
    assert (57629.25 - found[0]["mjd_utc"]) * 86400 == pytest.approx(36.0, abs=1e-4)
    # adam-core's uncertainty is of the right ascension, ours of RA cos(Dec).
    assert found[0]["RA_sigma_deg"] == pytest.approx(1e-4)


@pytest.mark.parametrize(("scale", "seconds_after_utc"), [("utc", 0.0), ("tai", 36.0), ("tt", 68.184), ("tdb", 68.184)])
def test_adam_cores_times_are_in_the_scale_that_the_file_says(tmp_path, scale, seconds_after_utc):
    PointSourceDetections.from_kwargs(
        id=["a"], exposure_id=["e"], time=Timestamp.from_mjd([57629.25], scale=scale), ra=[10.0], dec=[60.0],
    ).to_parquet(str(tmp_path / "detections.parquet"))  # fmt: skip
    times = Timestamp.from_mjd([57629.25], scale=scale)
    Exposures.from_kwargs(
        id=["e"], start_time=times, duration=[30.0], filter=["g"], observatory_code=["703"]
    ).to_parquet(str(tmp_path / "exposures.parquet"))

    found = read_detections(tmp_path / "detections.parquet").table["mjd_utc"][0].as_py()

    # TDB is within 2 ms of TT.
    assert (57629.25 - found) * 86400 == pytest.approx(seconds_after_utc, abs=3e-3)


def test_adam_cores_detections_without_their_exposures_are_refused(tmp_path):
    times = pa.array([{"days": 57629, "nanos": 0}])
    table = pa.table({"id": ["a"], "exposure_id": ["e"], "time": times, "ra": [1.0], "dec": [2.0]})
    pa.parquet.write_table(table, tmp_path / "detections.parquet")

    with pytest.raises(BadInputError, match=r"there is no .*exposures\.parquet"):
        read_detections(tmp_path / "detections.parquet")


def test_a_config_with_a_default_uncertainty_of_its_own_has_its_way(file):
    said = read_config(file("key,value\ndefault_sigma_deg,1e-4\n", "config.csv"))

    found = read_detections(file(PSV), said.observations_format)

    assert found.table["RA_sigma_deg"].to_pylist()[1:] == [None, None, None]
    assert found.notes == ()


def test_a_mapping_of_columns_is_refused_where_the_format_has_its_own(file):
    said = read_config(file("key,value\ncolumns.ra,alpha\n", "config.csv"))

    with pytest.raises(BadInputError, match=r"names columns .* but the file is ADES"):
        read_detections(file(PSV), said.observations_format)


@pytest.mark.parametrize("text", [PSV, XML], ids=["PSV", "XML"])
def test_a_designation_of_ades_is_the_truth_only_where_the_config_says_so(file, text):
    config = file("key,value\ncolumns.object_id,trkSub\n", "config.csv")
    path = file(text)

    told = read_detections(path, read_config(config).observations_format).table
    silent = read_detections(path).table

    assert "object_id" not in silent.column_names
    expected = ["P10va5R", "P10va5S", None, None] if text is PSV else ["x", None]
    assert told["object_id"].to_pylist() == expected
    assert told.drop_columns("object_id").equals(silent)


def test_a_column_of_the_truth_that_the_file_does_not_have_is_an_error(file):
    config = file("key,value\ncolumns.object_id,artSat\n", "config.csv")

    with pytest.raises(BadInputError, match="artSat"):
        read_detections(file(PSV), read_config(config).observations_format)
    with pytest.raises(BadInputError, match="artSat"):
        read_detections(file("obs_id,mjd_utc,RA_deg,Dec_deg\n"), read_config(config).observations_format)
