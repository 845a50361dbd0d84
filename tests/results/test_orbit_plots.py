"""What the marks of the pictures mean is told in their legends."""

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from tasks.results import completeness, orbit_plots, sky_map


def orbits(flags=("", "short_arc")):
    return pa.table(
        {
            "a": [2.3, 45.0],
            "e": [0.1, 0.2],
            "a_sigma": [0.01, 2.0],
            "e_sigma": [0.01, 0.1],
            "orbit_class": ["MBA", "TNO"],
            "quality_flags": list(flags),
        }
    )


def legend_of(draw):
    axes = Figure().add_subplot()
    draw(axes)
    return set(axes.get_legend_handles_labels()[1])


@pytest.mark.parametrize(("flags", "hollow"), [(("", "short_arc"), {"hollow: with a flag"}), (("", ""), set())])
def test_classes_flags_sigmas_and_resonances_have_their_legend(flags, hollow):
    told = legend_of(lambda axes: orbit_plots._draw_elements(axes, orbits(flags), "e"))

    assert told == {"main belt (1)", "transneptunian (1)", "1 sigma", "resonance with Jupiter"} | hollow


def test_points_and_ticks_of_the_completeness_have_their_legend():
    values, found = np.arange(30.0), np.ones(30)

    told = legend_of(lambda axes: completeness._draw_curve(axes, values, found))

    assert told == {"single objects", "bins, with 1 sigma"}


def test_the_map_tells_what_is_a_track_and_what_the_ecliptic():
    assert [line.get_label() for line in sky_map._legend()] == [
        "detections",
        "recovered tracks, the dot at the end",
        "ecliptic",
    ]
