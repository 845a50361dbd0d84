import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.settings import EngineSettings
from tasks.inputs.csv_text import csv_from_table
from tasks.results.completeness import binned_fractions, completeness_of, wilson_interval
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


def test_without_truth_nothing_is_said():
    merged, observations = merged_demo()
    unknown = observations.set_column(
        observations.column_names.index("object_id"), "object_id", pa.nulls(len(observations), pa.string())
    )

    found = judged(merged.members, unknown)

    assert (found.tables, found.totals, found.pictures) == ({}, {}, ())


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
