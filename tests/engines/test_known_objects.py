import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.known_objects import nearest_known
from tests.support.job_inputs import whole_demo
from tests.support.recovered import OBJECTS, merged_demo

AXES = ("x", "y", "z", "vx", "vy", "vz")


def detections(orbit_index=None):
    merged, observations = merged_demo()
    rows = pc.index_in(merged.members["obs_id"], observations["obs_id"].combine_chunks()).combine_chunks()
    table = observations.take(rows).append_column("orbit_index", merged.members["orbit_index"])
    return table if orbit_index is None else table.filter(pc.equal(table["orbit_index"], orbit_index))


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


def test_nothing_to_compare_gives_nothing():
    assert nearest_known(detections().slice(0, 0), whole_demo().test_orbits) == {}
    assert nearest_known(detections(), whole_demo().test_orbits.slice(0, 0)) == {}
