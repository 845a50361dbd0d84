import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.results.job_detections import ASKED, TRUTH, JobDetections
from tasks.results.sky_map import MOST_TRACKS, mollweide, picture_of_sky


def job(n_tracks, *, ra=lambda row: row, dec=0.0):
    """Tracks of three detections each, a tenth of a degree apart."""
    owner = np.repeat(np.arange(n_tracks), 3)
    step = np.tile(np.arange(3), n_tracks)
    members = pa.table(
        {
            "orbit_index": pa.array(owner, pa.int32()),
            "outlier": pa.array(np.zeros(len(owner)), pa.int8()),
            "mjd_utc": step * 1.0,
            "RA_deg": (ra(owner) + 0.1 * step) % 360.0,
            "Dec_deg": dec + 0.05 * step,
        }
    )
    nothing = ASKED.empty_table()
    drawn = members.select(["RA_deg", "Dec_deg"])
    return JobDetections(nothing, len(owner), {"X05": len(owner)}, drawn, 1, TRUTH.empty_table()), members


@given(st.floats(-89.0, 89.0))
def test_the_edge_of_the_map_is_an_ellipse(latitude):
    x, y = mollweide(np.array([-180.0]), np.array([latitude]))[0]

    assert (x / np.sqrt(8.0)) ** 2 + (y / np.sqrt(2.0)) ** 2 == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("latitude", [10.0, 30.0, 60.0, 85.0])
def test_the_map_keeps_areas(latitude):
    edge = mollweide(np.full(20_001, -180.0), np.linspace(0.0, latitude, 20_001))

    area = 2.0 * np.trapezoid(edge[:, 0], edge[:, 1])

    # Of a zone from the equator on the unit sphere.
    assert area == pytest.approx(2.0 * np.pi * np.sin(np.radians(latitude)), rel=1e-6)


def test_poles_are_points():
    assert mollweide(np.array([90.0, -90.0]), np.array([90.0, -90.0])) == pytest.approx(
        np.array([[0.0, np.sqrt(2.0)], [0.0, -np.sqrt(2.0)]]), abs=1e-4
    )


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(lambda row: row * 1.0, 10.0), (lambda row: 359.5 + 0.2 * row, -5.0), (lambda row: 180.0 + 0.0 * row, 89.8)],
    ids=["the whole sky", "a field across 0 h", "a field at the pole"],
)
def test_a_map_is_drawn_wherever_the_survey_looked(ra, dec, caplog):
    sky = picture_of_sky(*job(300, ra=ra, dec=dec))

    assert sky.png.startswith(b"\x89PNG")
    assert "300 recovered orbits" in sky.caption
    assert caplog.text == ""


def test_of_very_many_tracks_every_nth_is_drawn_and_the_caption_says_so():
    sky = picture_of_sky(*job(3 * MOST_TRACKS, ra=lambda row: row * 0.01))

    assert f"one in 3 of {3 * MOST_TRACKS} recovered orbits" in sky.caption
    assert len(sky.svg) < 1_000_000


def test_without_any_place_there_is_no_map():
    assert picture_of_sky(*job(0)) is None
