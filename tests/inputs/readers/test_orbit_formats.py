"""Formats of test orbits: the same 28 real objects from each, as JPL Horizons has them, and what is refused how."""

from pathlib import Path

import adam_core
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from adam_core.coordinates import (
    CartesianCoordinates,
    CometaryCoordinates,
    CoordinateCovariances,
    Origin,
    OriginCodes,
    transform_coordinates,
)
from adam_core.orbits import Orbits
from adam_core.time import Timestamp
from adam_core.utils.helpers.orbits import make_real_orbits

from tasks.engines.tables import TEST_ORBITS
from tasks.errors import BadInputError
from tasks.inputs.orbits_file import read_orbits

HORIZONS = Path(adam_core.__file__).parent / "utils" / "helpers" / "data"
STATE = ["x", "y", "z", "vx", "vy", "vz"]
NAMES = {"incl": "i", "Omega": "raan", "w": "ap", "mjd_tdb": "epoch", "tp_mjd": "tp", "targetname": "orbit_id"}
KEPLERIAN = ["a", "e", "i", "raan", "ap", "M"]
COMETARY = ["q", "e", "i", "raan", "ap", "tp"]
UNITS = {
    "keplerian": "--,mjd [TDB],au,--,deg,deg,deg,deg",
    "cometary": "--,mjd [TDB],au,--,deg,deg,deg,mjd [TDB]",
}
HEADERS = {"keplerian": "orbit_id,epoch,a,e,i,raan,ap,M", "cometary": "orbit_id,epoch,q,e,i,raan,ap,tp"}
GOOD = {
    "keplerian": "042,59000.0,2.5,0.1,5.0,10.0,20.0,30.0",
    "cometary": "042,59000.0,0.9,1.0,175.0,10.0,20.0,58900.0",
}


def horizons(name="elements_sun_ec.csv"):
    return pd.read_csv(HORIZONS / name).rename(columns=NAMES)


def states(orbits):
    return np.column_stack([orbits[name].to_numpy() for name in STATE])


def assert_same_states(orbits, expected, relative):
    found = states(orbits)
    for part in (slice(0, 3), slice(3, 6)):
        size = np.linalg.norm(expected[:, part], axis=1, keepdims=True)
        assert np.abs((found[:, part] - expected[:, part]) / size).max() < relative


def matrices(orbits):
    full = np.empty((len(orbits), 6, 6))
    rows, columns = np.tril_indices(6)
    full[:, rows, columns] = full[:, columns, rows] = np.array(orbits["covariance"].to_pylist())
    return full


def assert_same_covariances(found, expected):
    sigmas = np.sqrt(np.diagonal(expected, axis1=1, axis2=2))
    scale = sigmas[:, :, None] * sigmas[:, None, :]
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)


@pytest.fixture
def text(tmp_path):
    def write(*rows):
        path = tmp_path / "orbits.csv"
        path.write_text("".join(f"{row}\n" for row in rows))
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    def write(table):
        path = tmp_path / "orbits.parquet"
        pq.write_table(table, path) if isinstance(table, pa.Table) else table.to_parquet(str(path))
        return path

    return write


@pytest.mark.parametrize(("columns", "relative"), [(KEPLERIAN, 1e-9), (COMETARY, 1e-8)], ids=["keplerian", "cometary"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_elements_give_horizons_states(tmp_path, columns, relative, suffix):
    table, path = horizons(), tmp_path / f"orbits.{suffix}"
    chosen = table[["orbit_id", "epoch", *columns, "Q"]]
    chosen.to_csv(path, index=False) if suffix == "csv" else chosen.to_parquet(path)

    orbits = read_orbits(path)

    assert orbits.schema.equals(TEST_ORBITS)
    assert orbits["orbit_id"].to_pylist() == table["orbit_id"].to_list()
    assert orbits["epoch"].to_pylist() == table["epoch"].to_list()
    assert_same_states(orbits, table[STATE].to_numpy(), relative)


@pytest.mark.parametrize("kind", UNITS)
def test_elements_are_read_with_the_row_of_units_and_without(text, kind):
    with_units = read_orbits(text(HEADERS[kind], UNITS[kind], GOOD[kind]))
    without = read_orbits(text(HEADERS[kind], GOOD[kind]))

    assert with_units.equals(without)
    assert with_units["orbit_id"].to_pylist() == ["042"]


def test_where_states_and_elements_are_in_one_file_the_states_are_taken(tmp_path):
    table = horizons()
    table["a"] = 1000.0
    table.to_csv(tmp_path / "orbits.csv", index=False)

    assert np.array_equal(states(read_orbits(tmp_path / "orbits.csv")), table[STATE].to_numpy())


def test_half_a_state_beside_whole_elements_is_no_state(text):
    orbits = read_orbits(text("x,y," + HEADERS["keplerian"], "7,8," + GOOD["keplerian"]))

    assert np.linalg.norm(states(orbits)[0, :3]) == pytest.approx(2.5, abs=0.3)


BAD = {
    "negative e": ("keplerian", {2: "2.5", 3: "-0.1"}, ["'e', row 1 is '-0.1'", "at least 0"]),
    "ellipse with e of a hyperbola": ("keplerian", {3: "1.1"}, ["'e', row 1 is '1.1'", "below 1, as a is positive"]),
    "hyperbola with e of an ellipse": ("keplerian", {2: "-2.5"}, ["'e', row 1 is '0.1'", "above 1, as a is negative"]),
    "parabola by a": ("keplerian", {3: "1"}, ["'e', row 1 is '1'", "give q and tp"]),
    "a of 0": ("keplerian", {2: "0"}, ["'a', row 1 is '0'", "not 0"]),
    "a that is infinite": ("keplerian", {2: "inf"}, ["'a', row 1 is 'inf'", "au"]),
    "a missing": ("keplerian", {2: ""}, ["'a', row 1 is ''"]),
    "a in km": ("keplerian", {2: "3.7e8"}, ["'a', row 1 is '3.7e8'", "10000 au"]),
    "i above 180": ("keplerian", {4: "181"}, ["'i', row 1 is '181'", "[0, 180]"]),
    "raan that is no number": ("keplerian", {5: "NaN"}, ["'raan', row 1 is 'NaN'"]),
    "ap in hours and minutes": ("keplerian", {6: "10:20"}, ["'ap', row 1 is '10:20'", "a number"]),
    "M that is infinite": ("keplerian", {7: "inf"}, ["'M', row 1 is 'inf'", "finite"]),
    "M of a hyperbola that left": (
        "keplerian",
        {2: "-1.0", 3: "1.5", 7: "1e9"},
        ["'a', row 1", "within 10000 au of the Sun"],
    ),
    "q of 0": ("cometary", {2: "0"}, ["'q', row 1 is '0'", "more than 0"]),
    "negative q": ("cometary", {2: "-1"}, ["'q', row 1 is '-1'"]),
    "tp a Julian date": ("cometary", {7: "2458900.5"}, ["'tp', row 1 is '2458900.5'", "not a Julian date"]),
    "tp missing": ("cometary", {7: ""}, ["'tp', row 1 is ''"]),
    "negative e of a comet": ("cometary", {3: "-1"}, ["'e', row 1 is '-1'"]),
}


@pytest.mark.parametrize(("kind", "changes", "words"), BAD.values(), ids=BAD)
def test_bad_elements_are_refused_by_file_column_row_and_value(text, kind, changes, words):
    fields = GOOD[kind].split(",")
    for place, value in changes.items():
        fields[place] = value
    path = text(HEADERS[kind], ",".join(fields))

    with pytest.raises(BadInputError) as refusal:
        read_orbits(path)

    assert [word for word in [str(path), *words] if word not in str(refusal.value)] == []


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("orbit_id,epoch,a,e,i,raan,ap", "'M' is missing"),
        ("orbit_id,epoch,q,e,i,raan,ap", "'tp' is missing"),
        ("orbit_id,q,e,i,raan,ap,tp", "'epoch' is missing"),
        ("orbit_id,epoch,x,y,z,vx,vy", "'vz' is missing"),
        ("orbit_id,epoch", "'x' is missing"),
    ],
)
def test_the_column_that_is_missing_is_named(text, header, missing):
    with pytest.raises(BadInputError, match=missing):
        read_orbits(text(header, ",".join("1" for _ in header.split(","))))


def test_elements_in_radians_are_told_by_their_unit(text):
    with pytest.raises(BadInputError, match="column 'i' has the unit 'rad', expected 'deg'"):
        read_orbits(text(HEADERS["keplerian"], UNITS["keplerian"].replace("deg", "rad", 1), GOOD["keplerian"]))


def test_adam_cores_orbits_are_read_as_they_are(parquet):
    real = make_real_orbits()

    orbits = read_orbits(parquet(real))

    assert orbits["orbit_id"].to_pylist() == real.orbit_id.to_pylist()
    assert np.array_equal(states(orbits), real.coordinates.values)
    assert np.array_equal(orbits["epoch"], real.coordinates.time.mjd())
    assert_same_covariances(matrices(orbits), real.coordinates.covariance.to_matrix())


@pytest.mark.parametrize(
    ("file", "frame", "origin"),
    [
        ("elements_sun_eq.csv", "equatorial", "SUN"),
        ("elements_ssb_ec.csv", "ecliptic", "SOLAR_SYSTEM_BARYCENTER"),
        ("elements_ssb_eq.csv", "equatorial", "SOLAR_SYSTEM_BARYCENTER"),
    ],
)
def test_frames_and_origins_are_converted_as_horizons_does(parquet, file, frame, origin):
    given = horizons(file)
    path = parquet(
        adam_core_orbits(given[STATE].to_numpy(), given["epoch"], frame=frame, origins=[origin] * len(given))
    )

    assert_same_states(read_orbits(path), horizons()[STATE].to_numpy(), 1e-12)


def test_each_row_has_an_origin_of_its_own(parquet):
    real = make_real_orbits(3)
    origins = ["SUN", "EARTH", "JUPITER_BARYCENTER"]
    about = [transform_coordinates(real.coordinates, origin_out=OriginCodes[code]).values for code in origins]
    moved = np.stack([about[row][row] for row in range(3)])

    orbits = read_orbits(parquet(adam_core_orbits(moved, real.coordinates.time.mjd(), origins=origins)))

    assert_same_states(orbits, real.coordinates.values, 1e-12)


def test_covariances_turn_with_their_states(parquet):
    real = make_real_orbits()
    equatorial = transform_coordinates(real.coordinates, frame_out="equatorial")
    table = Orbits.from_kwargs(orbit_id=real.orbit_id, coordinates=equatorial)

    found = matrices(read_orbits(parquet(table)))

    assert_same_covariances(found, real.coordinates.covariance.to_matrix())


@pytest.mark.parametrize(("scale", "seconds_after_utc"), [("utc", 0.0), ("tai", 37.0), ("tt", 69.184)])
def test_epochs_of_other_scales_become_tdb(parquet, scale, seconds_after_utc):
    path = parquet(adam_core_orbits(horizons()[STATE].to_numpy()[:1], [59000.25], scale=scale))

    # TDB is within 2 ms of TT, which is 69.184 s after UTC.
    later = (read_orbits(path)["epoch"][0].as_py() - 59000.25) * 86400
    assert later == pytest.approx(69.184 - seconds_after_utc, abs=3e-3)


@pytest.mark.parametrize("kind", ["keplerian", "cometary"])
@pytest.mark.parametrize("frame", ["ecliptic", "equatorial"])
def test_adam_cores_elements_are_read_with_their_covariances(parquet, kind, frame):
    real = make_real_orbits()
    turned = transform_coordinates(real.coordinates, frame_out=frame)
    elements = turned.to_keplerian() if kind == "keplerian" else turned.to_cometary()

    orbits = read_orbits(parquet(elements))

    assert orbits["orbit_id"].to_pylist() == [f"row-{row}" for row in range(1, len(real) + 1)]
    assert_same_states(orbits, real.coordinates.values, 1e-8)
    # 'Oumuamua and the trans-Neptunian objects too: to first order, there and back.
    assert_same_covariances(matrices(orbits), real.coordinates.covariance.to_matrix())


def test_a_time_of_perihelion_is_tdb_whatever_the_scale_of_the_epochs_as_adam_core_takes_it(parquet):
    table = horizons().iloc[:3]
    elements = CometaryCoordinates.from_kwargs(
        **{name: table[name] for name in COMETARY},
        time=Timestamp.from_mjd(table["epoch"].to_numpy(), scale="tai"),
        origin=Origin.from_kwargs(code=["SUN"] * 3),
        frame="ecliptic",
    )

    orbits = read_orbits(parquet(elements))

    assert_same_states(orbits, elements.to_cartesian().values, 1e-11)
    assert (orbits["epoch"][0].as_py() - table["epoch"].iloc[0]) * 86400 == pytest.approx(32.184, abs=3e-3)


def test_a_covariance_that_is_not_there_is_null(parquet):
    real = make_real_orbits(2)
    full = real.coordinates.covariance.to_matrix()
    full[1] = np.nan
    coordinates = real.coordinates.set_column("covariance", CoordinateCovariances.from_matrix(full))

    found = read_orbits(parquet(Orbits.from_kwargs(orbit_id=["a", "b"], coordinates=coordinates)))

    assert found["covariance"].is_valid().to_pylist() == [True, False]


def adam_core_orbits(values, mjd, *, frame="ecliptic", scale="tdb", origins=None, ids=None):
    return Orbits.from_kwargs(
        orbit_id=ids or [f"o{row}" for row in range(len(values))],
        coordinates=CartesianCoordinates.from_kwargs(
            **dict(zip(STATE, values.T, strict=True)),
            time=Timestamp.from_mjd(np.asarray(mjd), scale=scale),
            origin=Origin.from_kwargs(code=origins or ["SUN"] * len(values)),
            frame=frame,
        ),
    )


ADAM_CORE_BAD = {
    "origin": ({"origins": ["SUN", "CERES"]}, ["'coordinates.origin.code', row 2 is 'CERES'", "SUN, SOLAR_SYSTEM"]),
    "frame": ({"frame": "itrf93"}, ["'coordinates.frame'", "'itrf93'", "'ecliptic' or 'equatorial'"]),
    "no frame": ({"frame": "unspecified"}, ["'unspecified'"]),
    "time scale": ({"scale": "ut1"}, ["'ut1'", "tdb"]),
    "id twice": ({"ids": ["a", "a"]}, ["'orbit_id', row 2 is 'a'"]),
    "too early": ({"mjd": [59000.0, -30000.0]}, ["'coordinates.time.days', row 2 is -30000", "1800 to 2200"]),
    "too early for UTC": ({"mjd": [59000.0, 30000.0], "scale": "utc"}, ["'coordinates.time.days', row 2", "1960"]),
}


@pytest.mark.parametrize(("changes", "words"), ADAM_CORE_BAD.values(), ids=ADAM_CORE_BAD)
def test_what_is_wrong_with_adam_cores_orbits_is_named(parquet, changes, words):
    path = parquet(
        adam_core_orbits(**{"values": horizons()[STATE].to_numpy()[:2], "mjd": [59000.0, 59001.0], **changes})
    )

    with pytest.raises(BadInputError) as refusal:
        read_orbits(path)

    assert [word for word in [str(path), *words] if word not in str(refusal.value)] == []


def test_elements_about_the_barycentre_are_refused_since_they_are_of_another_mass(parquet):
    values = horizons("elements_ssb_ec.csv")
    elements = CometaryCoordinates.from_kwargs(
        **{name: values[name][:2] for name in COMETARY},
        time=Timestamp.from_mjd([59000.0, 59001.0], scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN", "SOLAR_SYSTEM_BARYCENTER"]),
        frame="ecliptic",
    )

    with pytest.raises(BadInputError, match=r"'origin\.code', row 2 is 'SOLAR_SYSTEM_BARYCENTER', expected SUN"):
        read_orbits(parquet(elements))


def test_a_covariance_that_is_none_is_refused_by_its_row(parquet):
    real = make_real_orbits(2)
    full = real.coordinates.covariance.to_matrix()
    full[1, 0, 1] *= 2.0
    coordinates = real.coordinates.set_column("covariance", CoordinateCovariances.from_matrix(full))

    with pytest.raises(BadInputError, match=r"'coordinates\.covariance\.values', row 2"):
        read_orbits(parquet(Orbits.from_kwargs(orbit_id=["a", "b"], coordinates=coordinates)))


def test_an_orbit_without_an_origin_is_refused(parquet):
    table = adam_core_orbits(horizons()[STATE].to_numpy()[:2], [59000.0, 59001.0]).table
    struct = table["coordinates"].combine_chunks().flatten()
    names = [field.name for field in table.schema.field("coordinates").type]
    struct[names.index("origin")] = pa.StructArray.from_arrays([pa.array(["SUN", None])], ["code"])
    broken = table.set_column(2, "coordinates", pa.StructArray.from_arrays(struct, names))
    assert pc.is_null(broken["coordinates"]).to_pylist() == [False, False]

    with pytest.raises(BadInputError, match=r"'coordinates\.origin\.code', row 2 is None"):
        read_orbits(parquet(broken.replace_schema_metadata(table.schema.metadata)))
