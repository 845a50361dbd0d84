"""What lies elsewhere in a cell costs no object its track, be it much or little."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.engines.builtin.linking.bounds import TrackBounds
from tasks.engines.builtin.linking.buckets import density_about_each, make_buckets
from tasks.engines.builtin.linking.find_tracks import find_tracks
from tasks.engines.interface import map_blocks_in_turn
from tasks.engines.settings import EngineSettings

LINKING = EngineSettings().cluster_and_link
BOUNDS = TrackBounds(speed=0.15, acceleration=0.004, jerk=0.0003, parallax=0.0003)
NIGHTS, VISITS = 8, 4
TIMES = (np.arange(NIGHTS)[:, None] + 0.03 * np.arange(VISITS)).ravel() - NIGHTS / 2
SIGMA_DEG = 0.1 / 3600
OBJECTS, APART_DEG = 6, 18.0 / 3600
"""Six objects beside each other on one path, 18 arcsec apart."""

NEAREST_DEG = 3.6 / 3600
"""Hundreds of detections nearer to each other than a camera parts them would try millions of pairs for nothing."""


def objects() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places and exposures of their detections, object after object."""
    exposure = np.tile(np.arange(len(TIMES)), OBJECTS)
    own = np.repeat(np.arange(OBJECTS), len(TIMES)) * APART_DEG
    noise = np.random.default_rng(1).normal(scale=SIGMA_DEG, size=(2, len(exposure)))
    t = TIMES[exposure]
    return own + 0.03 * t + 0.0004 * t**2 + noise[0], 0.4 * own - 0.02 * t + noise[1], exposure


def found_objects(x: np.ndarray, y: np.ndarray, exposure: np.ndarray) -> set[int]:
    """Which of the objects, the first detections, are among the tracks with all that they have and nothing else."""
    buckets = make_buckets(
        x,
        y,
        exposure.astype(np.int32),
        np.full(len(x), SIGMA_DEG**2),
        exposure_time=TIMES,
        exposure_night=np.repeat(np.arange(NIGHTS), VISITS).astype(np.int32),
        exposure_sky_night=np.repeat(np.arange(NIGHTS), VISITS).astype(np.int32),
        speed=BOUNDS.speed,
    )
    tracks = find_tracks(buckets, BOUNDS, LINKING, map_blocks_in_turn)
    sets = [set(part.tolist()) for part in np.split(tracks.members, tracks.start[1:-1])]
    return {k for k in range(OBJECTS) if set(range(k * len(TIMES), (k + 1) * len(TIMES))) in sets}


@st.composite
def clumps(draw):
    """Detections at least 3 deg away: up to four clumps, from a single detection to hundreds in a tenth of a degree."""
    x, y, exposure = [], [], []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 4))):
        angle, distance = draw(st.floats(0.0, 6.28)), draw(st.floats(3.5, 15.0))
        count, spread = draw(st.integers(1, 600)), draw(st.sampled_from([NEAREST_DEG, 0.1, 0.5]))
        first = draw(st.integers(0, len(TIMES) - 1))
        x.append(distance * np.cos(angle) + rng.uniform(-spread, spread, count))
        y.append(distance * np.sin(angle) + rng.uniform(-spread, spread, count))
        exposure.append(rng.integers(first, len(TIMES), count))
    empty = [np.empty(0)]
    return np.concatenate(x or empty), np.concatenate(y or empty), np.concatenate(exposure or empty).astype(int)


def test_objects_that_run_beside_each_other_are_all_found():
    assert found_objects(*objects()) == set(range(OBJECTS))


@settings(max_examples=40)
@given(elsewhere=clumps())
def test_detections_elsewhere_cost_no_object_its_track(elsewhere):
    together = [np.concatenate(parts) for parts in zip(objects(), elsewhere, strict=True)]

    assert found_objects(*together) == set(range(OBJECTS))


def test_the_density_about_a_detection_knows_nothing_of_what_is_far():
    x, y, exposure = objects()
    night = np.repeat(np.arange(NIGHTS), VISITS).astype(np.int32)
    densities = []
    for count in (0, 2000):
        far = np.random.default_rng(3).uniform(5.0, 5.2, (2, count))
        places = np.concatenate([x, far[0]]), np.concatenate([y, far[1]])
        buckets = make_buckets(
            *places,
            np.concatenate([exposure, np.arange(count) % len(TIMES)]).astype(np.int32),
            np.full(len(places[0]), SIGMA_DEG**2),
            exposure_time=TIMES,
            exposure_night=night,
            exposure_sky_night=night,
            speed=1e9,  # one slot a visit, whatever the density
        )
        density = np.empty(len(places[0]))
        density[buckets.detections["row"]] = density_about_each(buckets, 0.15)
        densities.append(density[: len(x)])

    np.testing.assert_array_equal(densities[0], densities[1])
