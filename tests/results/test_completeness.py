import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.settings import EngineSettings
from tasks.inputs.csv_text import csv_from_table
from tasks.results.completeness import binned, binned_fractions, completeness_of, wilson_interval
from tasks.results.job_detections import detections_from_csv
from tests.support.recovered import OBJECTS, merged_demo

FINDABLE = EngineSettings().cluster_and_link


def judged(members, observations):
    detections = detections_from_csv(csv_from_table(observations), members["obs_id"])
    return completeness_of(detections, members, settings=FINDABLE)


def test_objects_that_were_all_found_are_complete_and_pure():
    merged, observations = merged_demo()

    found = judged(merged.members, observations)

    assert found.totals == {"completeness": "100.0%", "of findable objects": "3 of 3", "purity": "100.0%"}
    assert sorted(found.tables["truth_objects"]["object_id"].to_pylist()) == sorted(OBJECTS)
    assert set(found.tables["truth_orbits"]["verdict"].to_pylist()) == {"pure"}
    assert [each.name for each in found.pictures] == ["completeness"]


def test_a_missed_object_and_a_wrong_detection_are_counted():
    merged, observations = merged_demo()
    first = merged.members.filter(pa.compute.equal(merged.members["orbit_index"], 0))
    truth = dict(zip(observations["obs_id"].to_pylist(), observations["object_id"].to_pylist(), strict=True))
    false = next(obs_id for obs_id, object_id in truth.items() if object_id is None)
    wrong = first.set_column(1, first.schema.field(1), pa.array([false, *first["obs_id"].to_pylist()[1:]]))

    found = judged(wrong, observations)

    assert found.totals == {"completeness": "0.0%", "of findable objects": "0 of 3", "purity": "0.0%"}
    assert found.tables["truth_orbits"]["verdict"].to_pylist() == ["contaminated"]


def test_magnitudes_are_the_medians_of_the_objects():
    merged, observations = merged_demo()

    objects = judged(merged.members, observations).tables["truth_objects"].to_pandas()

    truth = observations.to_pandas().dropna(subset="object_id")
    expected = truth.groupby("object_id")["mag"].median()
    assert dict(zip(objects["object_id"], objects["median_mag"], strict=True)) == pytest.approx(expected.to_dict())


def test_motions_are_those_of_the_sky():
    """Twice around the pole's neighbourhood: 0.1 deg of Dec in two days, and 10 deg of RA where a degree is 1/10."""
    north = 90.0 - np.degrees(np.arcsin(0.1))
    observations = pa.table(
        {
            "obs_id": ["a", "b", "c", "d", "e"],
            "mjd_utc": [60000.0, 60002.0, 60003.0, 60004.0, 60005.0],
            "RA_deg": [10.0, 10.0, 359.5, 0.5, 20.0],
            "Dec_deg": [0.0, 0.1, north, north, 5.0],
            "observatory_code": ["X05"] * 5,
            "object_id": ["south", "south", "pole", "pole", "once"],
        }
    )
    members = pa.table({"orbit_id": ["r"], "obs_id": ["a"]})

    objects = judged(members, observations).tables["truth_objects"].to_pydict()

    motions = dict(zip(objects["object_id"], objects["motion_deg_per_day"], strict=True))
    assert motions == {"south": pytest.approx(0.05), "pole": pytest.approx(0.1, rel=1e-3), "once": None}


def test_findable_and_found_are_counted_by_motion_nights_and_magnitude():
    merged, observations = merged_demo()

    by = judged(merged.members, observations).by

    assert list(by) == ["motion [deg/d]", "nights", "magnitude"]
    assert all(sum(findable for _, findable, _ in rows) == len(OBJECTS) for rows in by.values())
    assert all(found == findable for rows in by.values() for _, findable, found in rows)


def test_a_value_at_the_end_of_a_bin_is_counted_once_and_one_that_is_not_known_has_a_row():
    findable = pa.table(
        {
            "recovered": [True, False, True, True],
            "median_mag": [19.0, 19.99, 20.0, None],
            "num_nights": [3, 7, 8, 40],
            "motion_deg_per_day": [0.03, 0.2, 5.0, None],
        }
    )

    by = binned(findable)

    assert by["magnitude"] == [("19 to 20", 2, 1), ("20 to 21", 1, 1), ("not known", 1, 1)]
    assert by["nights"] == [("3 or fewer", 1, 1), ("6 or 7", 1, 0), ("8 to 11", 1, 1), ("12 or more", 1, 1)]
    assert [(found, of) for _, of, found in by["motion [deg/d]"]] == [(1, 1), (0, 1), (1, 1), (1, 1)]


def test_without_truth_nothing_is_said():
    merged, observations = merged_demo()
    unknown = observations.set_column(
        observations.column_names.index("object_id"), "object_id", pa.nulls(len(observations), pa.string())
    )

    found = judged(merged.members, unknown)

    assert (found.tables, found.totals, found.pictures, found.by) == ({}, {}, (), {})


def test_wilson_interval_is_that_of_its_formula():
    # z = 1, 8 of 10: centre 8.5 / 11, half-width sqrt(1.6 + 0.25) / 11.
    low, high = wilson_interval(np.array([8.0]), np.array([10.0]))

    assert (low[0], high[0]) == pytest.approx((8.5 / 11 - 1.85**0.5 / 11, 8.5 / 11 + 1.85**0.5 / 11))


@given(st.lists(st.tuples(st.floats(10.0, 25.0), st.booleans()), min_size=1, max_size=200))
def test_bins_hold_every_object_and_their_fractions_average_to_the_whole(pairs):
    values, found = np.array([pair[0] for pair in pairs]), np.array([float(pair[1]) for pair in pairs])

    middles, share, low, high = binned_fractions(values, found)

    assert np.all(np.diff(middles) > 0)
    assert np.all((low <= share + 1e-12) & (share <= high + 1e-12))
    assert share.min() - 1e-12 <= found.mean() <= share.max() + 1e-12
