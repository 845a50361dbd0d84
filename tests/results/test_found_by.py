"""What each test orbit found, what was expected of the chosen ones, and what chi^2 fitted orbits leave."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.orbit_classes import CLASSES
from tasks.engines.orbit_selection.populations import GROUPS
from tasks.records.manifest import ExpectedGroup
from tasks.results.found_by import (
    KINDS,
    ShareOfOrbit,
    expected_coverage,
    expected_kinds,
    picture_of_test_orbits,
    shares_of_test_orbits,
)
from tasks.results.orbit_plots import expected_in_bins, variance_left

FOUND = pa.table({"found_by": ["a", "a;b", "b;c", "c"], "orbit_class": ["MBA", "OMB", "APO", "TNO"]})


def expected(group, objects, coverage):
    return ExpectedGroup(group=group, objects=objects, coverage=coverage)


def test_each_test_orbit_is_told_what_it_found_what_no_other_did_and_how_many_there_are_by_then():
    shares = shares_of_test_orbits(FOUND, ["b", "a", "idle", "c"])

    assert shares == [
        ShareOfOrbit("b", objects=2, only_here=0, so_far=2),
        ShareOfOrbit("a", objects=2, only_here=1, so_far=3),
        ShareOfOrbit("idle", objects=0, only_here=0, so_far=3),
        ShareOfOrbit("c", objects=2, only_here=1, so_far=4),
    ]


def test_a_name_with_a_semicolon_costs_no_report():
    (share,) = shares_of_test_orbits(pa.table({"found_by": ["a;b"]}), ["a;b"])

    assert share.objects == 0


def test_kinds_hold_every_group_of_the_model_and_every_class_once():
    groups = [group for groups, _ in KINDS.values() for group in groups]
    classes = [name for _, classes in KINDS.values() for name in classes]

    assert sorted(groups) == sorted(GROUPS)
    assert sorted(classes) == sorted(CLASSES)


def test_what_was_expected_of_a_kind_stands_beside_what_was_found():
    said = [expected("main_belt", 90.0, 1.0), expected("hilda", 10.0, 0.5), expected("tno", 4.0, 0.75),
            expected("trojan", 0.0, None)]  # fmt: skip

    belt, beyond = expected_kinds(said, FOUND)

    assert (belt.kind, belt.objects, belt.coverage, belt.found) == ("main belt, Hungarias, Hildas", 100.0, 0.95, 2)
    assert (beyond.objects, beyond.coverage, beyond.found) == (4.0, 0.75, 1)
    assert expected_coverage(said) == pytest.approx(98.0 / 104.0)


def test_where_nobody_chose_the_test_orbits_nothing_is_expected():
    assert expected_kinds([], FOUND) == []
    assert expected_coverage([]) is None


def test_several_test_orbits_are_drawn_and_one_is_not():
    shares = shares_of_test_orbits(FOUND, ["b", "a", "idle", "c"])

    (drawn,) = picture_of_test_orbits(shares)

    assert drawn.caption.startswith("4 recovered objects by 4 test orbits; 2 of these found nothing that no other did.")
    assert picture_of_test_orbits(shares[:1]) == []


def test_expected_chi2_of_fitted_orbits_is_two_of_each_detection_less_six_of_each_orbit():
    owner = np.repeat([0, 1, 2], [6, 10, 40])
    edges = np.linspace(0.0, 200.0, 20_001)

    expected_counts = expected_in_bins(edges, variance_left(owner))

    assert expected_counts.sum() == pytest.approx(len(owner))
    assert expected_counts @ (0.5 * (edges[1:] + edges[:-1])) == pytest.approx(2 * len(owner) - 3 * 6, rel=1e-4)


def test_an_orbit_of_three_detections_fits_them_all():
    assert variance_left(np.zeros(3, np.int64)).tolist() == [0.0] * 3
    assert expected_in_bins(np.array([0.0, 1.0]), np.zeros(3)).tolist() == [0.0]


def test_expected_chi2_is_that_of_straight_lines_fitted_to_noise():
    """Two lines of three parameters each, as in RA and Dec of short arcs; drawn 4 000 times."""
    rng = np.random.default_rng(1)
    times = np.linspace(-1.0, 1.0, 8)
    design = np.stack([np.ones(8), times, times**2], axis=1)
    left = np.eye(8) - design @ np.linalg.pinv(design)
    chi2 = ((rng.standard_normal((4000, 2, 8)) @ left) ** 2).sum(axis=1)
    edges = np.array([0.0, 1.0, 3.0, 6.0])

    counts = np.histogram(chi2, edges)[0] / 4000

    assert counts == pytest.approx(expected_in_bins(edges, variance_left(np.zeros(8, np.int64))), rel=0.12)
