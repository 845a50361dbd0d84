"""The benchmark itself, on its smallest case."""

import json

import numpy as np
import pytest

from tasks.engines.interface import STAGES
from tests.bench.measure import Asked, measure, symmetric


def test_a_lower_triangle_becomes_its_symmetric_matrix():
    matrix = symmetric(list(range(21)))

    assert np.array_equal(matrix, matrix.T)
    assert matrix[2].tolist() == [3, 4, 5, 8, 12, 17]


@pytest.mark.slow
def test_the_small_cell_is_measured_in_a_process_of_its_own():
    measured = measure(Asked("cell", repeat=1))

    assert json.loads(json.dumps(measured)) == measured
    assert tuple(measured["cpu_seconds"]) == ("prepare", *STAGES)
    assert 100 < measured["memory_before_mb"] <= measured["peak_memory_mb"] < 1000
    score = measured["scores"]["merge_and_extend"]
    assert score["recovered"] == score["findable"] == score["one_orbit"] == score["orbits"] == 22
    assert 4.0 < measured["covariance"]["median"] < 7.0


@pytest.mark.slow
def test_a_measurement_can_end_after_linking():
    measured = measure(Asked("cell", repeat=1, stage="cluster_and_link"))

    assert list(measured["scores"]) == ["cluster_and_link"]
    assert measured["covariance"] == {}
