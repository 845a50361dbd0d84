"""One object seen from the ground and from space: all of its detections are linked, from where each observer was."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from adam_core.observers import Observers
from adam_core.time import Timestamp

from tasks.engines.builtin.engine import BuiltinEngine
from tasks.engines.errors import EngineInputError
from tasks.engines.known_objects import nearest_known
from tasks.engines.orbit_selection.footprint import footprint_of_observations
from tasks.engines.settings import EngineSettings
from tasks.engines.upstream import UpstreamEngine
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.observations_file import observations_from_csv, read_detections
from tasks.results.ades_file import obs_time
from tests.support.linking import run_stages
from tests.support.sky import assist, orbit_table, orbits_from_states, states_from_elements

AU_KM = 149_597_870.7
START = 60_204.0
NIGHTS = ((0.2, "X05"), (2.7, "C57"), (5.2, "274"), (8.2, "X05"), (10.7, "C57"), (13.7, "274"))
"""The ground alone sees it in two nights, each spacecraft in two: none of them could link it."""

#: Equatorial, au from the Earth's centre: seen from JWST the object is 0.4 deg from where the ground sees it.
WHERE = {"X05": [0.0, 0.0, 0.0], "C57": [0.0011, -0.0018, 0.0009], "274": [0.009, 0.003, -0.004]}
OBLIQUITY = np.radians(84381.448 / 3600)
NOISE_ARCSEC = 0.05


def exposures():
    return [(START + night + minutes / 1440, code) for night, code in NIGHTS for minutes in (0, 45)]


def observers():
    times = Timestamp.from_mjd([time for time, _ in exposures()], scale="utc")
    codes = pa.array([code if code == "X05" else "500" for _, code in exposures()], pa.large_string())
    states = Observers.from_codes(codes, times)
    x, y, z = np.array([WHERE[code] for _, code in exposures()]).T
    turned = [x, y * np.cos(OBLIQUITY) + z * np.sin(OBLIQUITY), z * np.cos(OBLIQUITY) - y * np.sin(OBLIQUITY)]
    coordinates = states.coordinates
    for name, offset in zip("xyz", turned, strict=True):
        coordinates = coordinates.set_column(name, pc.add(getattr(coordinates, name), pa.array(offset)))
    return states.set_column("coordinates", coordinates)


@pytest.fixture(scope="module")
def orbit():
    elements = pd.DataFrame({"a": [2.4], "e": [0.12], "i": [6.0], "raan": [80.0], "ap": [40.0], "M": [235.0]})
    return states_from_elements(elements, START)


@pytest.fixture(scope="module")
def psv(orbit, tmp_path_factory):
    """What the three observers report, in ADES."""
    ephemeris = assist().generate_ephemeris(
        orbits_from_states(["one"], orbit, START), observers(), predict_magnitudes=False
    )
    ra, dec = (getattr(ephemeris.coordinates, name).to_numpy(zero_copy_only=False) for name in ("lon", "lat"))
    noise = np.random.default_rng(3).normal(0, NOISE_ARCSEC / 3600, (2, len(ra)))
    lines = ["# version=2022", "trkSub|obsSubID|mode|stn|sys|ctr|pos1|pos2|pos3|obsTime|ra|dec|rmsRA|rmsDec|astCat"]
    for row, (time, code) in enumerate(exposures()):
        where = (
            "||||" if code == "X05" else "|".join(["ICRF_KM", "399", *(f"{each * AU_KM:.3f}" for each in WHERE[code])])
        )
        place = f"{ra[row] + noise[0, row] / np.cos(np.radians(dec[row])):.9f}|{dec[row] + noise[1, row]:.9f}"
        lines.append(f"a|d{row}|CCD|{code}|{where}|{obs_time(time)}|{place}|{NOISE_ARCSEC}|{NOISE_ARCSEC}|Gaia3")
    path = tmp_path_factory.mktemp("space") / "mine.psv"
    path.write_text("\n".join([*lines, ""]))
    return path


def test_an_object_seen_from_the_ground_and_from_space_is_linked_whole(psv, orbit):
    observations = read_detections(psv).table
    settings = EngineSettings()

    found = run_stages(BuiltinEngine(), observations, orbit_table(["t"], orbit * 1.0005, START), settings)

    assert found["recovered_orbits"]["num_obs"].to_pylist() == [len(exposures())]
    assert found["recovered_orbits"]["rchi2"][0].as_py() < 3.0
    epoch = found["recovered_orbits"]["epoch"][0].as_py()
    moved = assist().propagate_orbits(
        orbits_from_states(["one"], orbit, START), Timestamp.from_mjd([epoch], scale="tdb")
    )
    state = np.array([found["recovered_orbits"][name][0].as_py() for name in "xyz"])
    assert state == pytest.approx(moved.coordinates.values[0, :3], abs=2e-3)


def test_without_their_positions_the_same_detections_are_of_no_orbit(psv, orbit):
    """The test can fail: what is linked is linked by where the observers were."""
    observations = read_detections(psv).table
    grounded = observations.drop_columns(["observer_x_au", "observer_y_au", "observer_z_au"])
    codes = pc.if_else(pc.equal(grounded["observatory_code"], "X05"), "X05", "500")
    place = grounded.schema.get_field_index("observatory_code")

    grounded = grounded.set_column(place, grounded.schema.field(place), codes)
    found = run_stages(BuiltinEngine(), grounded, orbit_table(["t"], orbit * 1.0005, START), EngineSettings())

    assert found["recovered_orbits"]["num_obs"].to_pylist() != [len(exposures())]


def test_positions_survive_the_canonical_csv_and_the_choice_of_test_orbits(psv):
    observations = read_detections(psv).table

    assert observations_from_csv(csv_from_table(observations), name="observations.csv").equals(observations)
    assert len(footprint_of_observations(observations, smallest_radius_deg=0.1).mjd_tdb) == len(exposures())


def test_an_object_seen_from_space_is_recognised_in_a_catalogue(psv, orbit):
    members = read_detections(psv).table.append_column("orbit_index", pa.array([0] * len(exposures())))

    nearest = nearest_known(members, orbit_table(["known"], orbit, START))

    assert nearest[0][0] == "known"
    assert nearest[0][1] < 0.3


def test_upstream_refuses_observers_that_move(psv):
    with pytest.raises(EngineInputError, match="no observers that move"):
        UpstreamEngine("python").prepare(read_detections(psv).table, EngineSettings())
