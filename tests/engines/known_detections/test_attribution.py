from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.engines.demo import demo_problem
from tasks.engines.known_detections.attribution import attribute_known, windows_of
from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tests.bench.cases import Case
from tests.bench.survey import make_survey
from tests.support.sky import AXES, orbits_from_states, states_at

MOSTLY_CLUMPS = Case("known-clumps", detections=12_000, orbits=200, ghosts=0.9)


@cache
def demo():
    return demo_problem(seed=1)


@cache
def survey():
    return make_survey(MOSTLY_CLUMPS, seed=3)


def catalogue_of(orbits, **columns):
    """Rows of KNOWN_ORBITS; what is not given is null."""
    known = {name: orbits[name] for name in ("orbit_id", "epoch", *AXES)} | columns
    arrays = [known.get(field.name, pa.nulls(len(orbits), field.type)) for field in KNOWN_ORBITS]
    return pa.table(arrays, schema=KNOWN_ORBITS)


def judged(found, truth):
    """Detections attributed rightly and wrongly, and those of objects."""
    names = dict(zip(truth["obs_id"].to_pylist(), truth["object_id"].to_pylist(), strict=True))
    pairs = zip(found["obs_id"].to_pylist(), found["known_object"].to_pylist(), strict=True)
    right = sum(names[obs_id] == known for obs_id, known in pairs)
    return right, len(found) - right, sum(name is not None for name in names.values())


def true_states(days):
    """The survey's orbits by ASSIST at another epoch."""
    orbits = survey().truth_states
    states = np.stack([orbits[name].to_numpy() for name in AXES], axis=1)
    epoch = orbits["epoch"][0].as_py()
    ids = orbits["orbit_id"].to_pylist()
    moved = states_at(orbits_from_states(ids, states, epoch), epoch + days)
    columns = {name: moved[:, axis] for axis, name in enumerate(AXES)}
    return pa.table({"orbit_id": ids, "epoch": np.full(len(ids), epoch + days), **columns})


def along_by(orbits, days):
    """The same orbits, each later on its path by so many days: what a bad orbit is off by."""
    states = np.stack([orbits[name].to_numpy() for name in AXES], axis=1)
    epoch = orbits["epoch"][0].as_py()
    moved = states_at(orbits_from_states(orbits["orbit_id"].to_pylist(), states, epoch), epoch + days)
    columns = {name: moved[:, axis] for axis, name in enumerate(AXES)}
    return pa.table({"orbit_id": orbits["orbit_id"], "epoch": orbits["epoch"], **columns})


def test_the_real_objects_of_decades_get_their_horizons_positions_and_nothing_else():
    found = attribute_known(demo().observations, [catalogue_of(demo().test_orbits)]).observations

    _, wrong, _ = judged(found, demo().truth)
    # 1I/Oumuamua is pushed by what it gives off, which no catalogue of six numbers says.
    objects = demo().truth.filter(pc.not_equal(demo().truth["object_id"], "Oumuamua"))
    assert wrong == 0
    assert set(objects["obs_id"].to_pylist()) <= set(found["obs_id"].to_pylist())
    assert 0.08 < np.std(found["residual_ra_arcsec"].to_numpy()) < 0.15


def test_among_clumps_of_false_detections_objects_get_theirs_from_an_epoch_a_year_before():
    found = attribute_known(survey().observations, [catalogue_of(true_states(-365.0))]).observations

    right, wrong, of_objects = judged(found, survey().truth)
    assert right >= 0.999 * of_objects
    assert wrong <= 0.001 * of_objects


def test_an_orbit_that_is_minutes_of_arc_off_gets_its_own_detections_by_their_agreement():
    wrong_orbits = along_by(true_states(-100.0), 0.05)  # 0.05 d of 0.2 deg/d: 40 arcsec in longitude
    years = pa.array(np.full(len(wrong_orbits), 1500.0))
    found = attribute_known(survey().observations, [catalogue_of(wrong_orbits, runoff=years)]).observations

    right, wrong, of_objects = judged(found, survey().truth)
    # 100 d after an epoch with a runoff of 1500 arcsec in ten years: sigma 40 arcsec.
    assert right >= 0.9 * of_objects
    assert wrong <= 0.002 * of_objects


def test_an_orbit_that_is_off_gets_nothing_when_it_claims_to_be_good():
    found = attribute_known(survey().observations, [catalogue_of(along_by(true_states(-100.0), 0.05))]).observations

    right, _, of_objects = judged(found, survey().truth)
    assert right < 0.05 * of_objects


def test_a_detection_four_magnitudes_off_is_of_something_else():
    magnitudes = pa.array(np.full(len(demo().test_orbits), 40.0))
    table = demo().observations
    bright = table.set_column(
        table.column_names.index("mag"), table.schema.field("mag"), pa.array(np.full(len(table), 15.0))
    )

    assert len(attribute_known(bright, [catalogue_of(demo().test_orbits, H=magnitudes)]).observations) == 0


def test_the_order_and_the_blocks_of_a_catalogue_change_nothing():
    whole = catalogue_of(true_states(-365.0))
    backwards = whole.take(pa.array(np.arange(len(whole))[::-1].copy()))
    blocks = [backwards.slice(first, 37).combine_chunks() for first in range(0, len(backwards), 37)]

    one, other = (attribute_known(survey().observations, each) for each in ([whole], blocks))

    assert one.observations.drop(["residual_ra_arcsec"]).num_rows == other.observations.num_rows
    assert one.observations.select(["known_object", "obs_id"]) == other.observations.select(["known_object", "obs_id"])


def test_each_detection_is_of_one_object_and_each_object_once_in_an_exposure():
    orbits = catalogue_of(true_states(-365.0))
    twins = orbits.set_column(0, KNOWN_ORBITS.field(0), pc.binary_join_element_wise(orbits["orbit_id"], "twin", "-"))

    found = attribute_known(survey().observations, [orbits, twins]).observations

    assert len(found["obs_id"].unique()) == len(found)
    times = found.group_by(["known_object", "mjd_utc", "observatory_code"]).aggregate([([], "count_all")])
    assert max(times["count_all"].to_pylist()) == 1


def test_an_empty_catalogue_knows_nothing():
    found = attribute_known(demo().observations, [])

    assert (len(found.observations), len(found.orbits), found.n_orbits) == (0, 0, 0)


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], []), ([1.0], [(0, 1)]), ([0.0, 30.0, 30.1, 99.0], [(0, 2), (2, 3), (3, 4)])],
)
def test_windows_are_at_most_a_month_long(times, expected):
    assert [(each.start, each.stop) for each in windows_of(np.array(times))] == expected
