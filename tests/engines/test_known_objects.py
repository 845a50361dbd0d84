import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from adam_core.observers import Observers
from adam_core.time import Timestamp

from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.astrodynamics.observers import observer_states
from tasks.engines.known_objects import nearest_known
from tests.support.job_inputs import whole_demo
from tests.support.recovered import OBJECTS, merged_demo
from tests.support.sky import assist, orbit_table, orbits_from_states, states_at

AXES = ("x", "y", "z", "vx", "vy", "vz")


def detections(orbit_index=None):
    merged, observations = merged_demo()
    rows = pc.index_in(merged.members["obs_id"], observations["obs_id"].combine_chunks()).combine_chunks()
    table = observations.take(rows).append_column("orbit_index", merged.members["orbit_index"])
    return table if orbit_index is None else table.filter(pc.equal(table["orbit_index"], orbit_index))


def places_of(ephemeris):
    """Orbit, time (MJD UTC), ICRF right ascension and declination of each row of adam-core's ephemeris."""
    coordinates = ephemeris.coordinates
    columns = {
        "orbit_id": ephemeris.orbit_id.to_pylist(),
        "mjd": coordinates.time.rescale("utc").mjd().to_pylist(),
        "lon": coordinates.lon.to_pylist(),
        "lat": coordinates.lat.to_pylist(),
    }
    return pa.table(columns).to_pylist()


def moved_to(catalogue, days):
    """The same orbits at other epochs."""
    states = np.column_stack([catalogue[name] for name in AXES])
    epochs = catalogue["epoch"].to_numpy()
    there = [
        propagate(state[None], epoch, np.array([epoch + days]))[0, 0]
        for state, epoch in zip(states, epochs, strict=True)
    ]
    for axis, name in enumerate(AXES):
        catalogue = catalogue.set_column(
            catalogue.column_names.index(name), name, pa.array([state[axis] for state in there])
        )
    return catalogue.set_column(catalogue.column_names.index("epoch"), "epoch", pa.array(epochs + days))


@pytest.mark.parametrize("days", [0.0, 1500.0])
def test_each_object_is_found_in_a_catalogue_of_any_epoch_within_its_noise(days):
    nearest = nearest_known(detections(), moved_to(whole_demo().test_orbits, days))

    merged, _ = merged_demo()
    names = merged.orbits["found_by"].to_pylist()
    assert {row: nearest[row][0] for row in sorted(nearest)} == dict(enumerate(names))
    # Noise of 0.1 arcsec in each coordinate: 0.14 arcsec on the sky.
    assert all(0.05 < distance < 0.3 for _, distance in nearest.values())


def test_an_object_that_is_not_in_the_catalogue_is_nobody():
    others = whole_demo().test_orbits.filter(
        pc.invert(pc.is_in(whole_demo().test_orbits["orbit_id"], pa.array(OBJECTS)))
    )

    assert nearest_known(detections(), others) == {}


def test_of_two_orbits_the_nearer_one_is_taken():
    own = whole_demo().test_orbits.filter(pc.equal(whole_demo().test_orbits["orbit_id"], "Hebe"))
    beside = own.set_column(own.column_names.index("x"), "x", pc.add(own["x"], 1e-5))
    beside = beside.set_column(0, own.schema.field(0), pa.array(["beside"]))
    both = pa.concat_tables([beside.cast(own.schema), own])

    hebe = merged_demo()[0].orbits["found_by"].to_pylist().index("Hebe")
    ((name, distance),) = nearest_known(detections(hebe), both).values()

    assert (name, round(distance, 1)) == ("Hebe", 0.1)


def test_objects_that_pass_near_the_earth_are_found_in_an_old_catalogue():
    passing, epoch = 8, 60000.0
    rng = np.random.default_rng(4)
    direction, motion = (each / np.linalg.norm(each, axis=1)[:, None] for each in rng.normal(size=(2, passing, 3)))
    earth = observer_states(pa.array(["500"]), np.array([epoch]))
    # At 0.05 au with the usual 14 km/s: some 9 deg a day.
    states = np.hstack([earth.position + 0.05 * direction, earth.velocity + 0.008 * motion])
    names = [f"near{number}" for number in range(passing)]
    orbits = orbits_from_states(names, states, epoch)
    # Each on three nights, all in one stretch of six hours.
    times = epoch + np.arange(passing)[:, None] * 0.2 / passing + np.array([-1.0, 0.0, 1.0])
    observers = Observers.from_codes(["X05"] * times.size, Timestamp.from_mjd(times.ravel(), scale="utc"))
    seen = assist().generate_ephemeris(orbits, observers, predict_magnitudes=False)
    place = {(row["orbit_id"], round(row["mjd"], 6)): (row["lon"], row["lat"]) for row in places_of(seen)}

    rows = [(number, mjd, *place[names[number], round(mjd, 6)]) for number in range(passing) for mjd in times[number]]
    columns = dict(
        zip(("orbit_index", "mjd_utc", "RA_deg", "Dec_deg"), map(list, zip(*rows, strict=True)), strict=True)
    )
    members = pa.table({**columns, "observatory_code": ["X05"] * len(rows)})
    nearest = nearest_known(members, orbit_table(names, states_at(orbits, epoch - 700.0), epoch - 700.0))

    assert {number: name for number, (name, _) in nearest.items()} == dict(enumerate(names))
    assert max(distance for _, distance in nearest.values()) < 5.0


def test_nothing_to_compare_gives_nothing():
    assert nearest_known(detections().slice(0, 0), whole_demo().test_orbits) == {}
    assert nearest_known(detections(), whole_demo().test_orbits.slice(0, 0)) == {}
