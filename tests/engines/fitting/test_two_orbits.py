"""Where on the sky an arc may be that of two orbits."""

import numpy as np
import pytest

from tasks.engines.builtin.fitting.astrometry import EAST, OBSERVER, ROW_WIDTH, TOWARD
from tasks.engines.builtin.fitting.two_orbits import TWO_ORBITS_ELONGATION_DEG, allow_two_orbits


def seen_at(*elongations_deg):
    """Rows of an observer at 1 au on the x axis, who looks so far from the Sun."""
    rows = np.zeros((len(elongations_deg), ROW_WIDTH))
    rows[:, OBSERVER] = 1.0
    angle = np.pi - np.radians(elongations_deg)
    rows[:, TOWARD:EAST] = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    return rows


@pytest.mark.parametrize(
    ("elongations_deg", "expected"),
    [((180.0, 175.0), False), ((117.0, 120.0), False), ((117.0, 116.0), True), ((45.0, 46.0), True)],
)
def test_an_arc_that_comes_nearer_to_the_sun_than_the_limiting_curve_may_have_two_orbits(elongations_deg, expected):
    assert allow_two_orbits(seen_at(*elongations_deg), np.array([0, 2])).tolist() == [expected]


def test_each_arc_is_judged_by_its_own_detections():
    rows = seen_at(60.0, 61.0, 150.0, 151.0, 152.0, 110.0)

    assert allow_two_orbits(rows, np.array([0, 2, 5, 6])).tolist() == [True, False, True]


def test_no_arcs_are_no_answer():
    assert allow_two_orbits(seen_at(), np.array([0])).tolist() == []


def test_the_limit_is_that_of_charlier():
    # Gronchi 2009: 63.43 deg from opposition.
    from_opposition = 180.0 - TWO_ORBITS_ELONGATION_DEG
    assert from_opposition == pytest.approx(63.43, abs=0.01)
