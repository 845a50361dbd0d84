"""The synthetic model: its elements make the right states, and its groups are where such objects are."""

import numpy as np
import pandas as pd
import pytest

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.astrodynamics.planets import planet_positions
from tasks.engines.orbit_selection.populations import GROUPS, draw_states
from tests.support import sky

EPOCH = 60000.0

SEMI_MAJOR_AXES = {
    "main_belt": (2.1, 3.28),
    "hungaria": (1.78, 2.0),
    "hilda": (3.8, 4.15),
    "trojan": (5.05, 5.35),
    "neo": (0.6, 4.2),
    "mars_crosser": (1.36, 3.2),
    "centaur": (5.5, 30.1),
    "comet": (3.0, 2000.0),
    "tno": (33.0, 141.0),
}


def drawn(group, count=2000, seed=1, epoch=EPOCH):
    return draw_states(group, count, epoch_mjd_tdb=epoch, rng=np.random.default_rng(seed))


def longitude_deg(positions):
    return np.degrees(np.arctan2(positions[..., 1], positions[..., 0])) % 360.0


def angle_between_deg(one, other):
    return np.abs((one - other + 180.0) % 360.0 - 180.0)


@pytest.mark.parametrize("group", GROUPS)
def test_states_agree_with_those_of_adam_core(group):
    elements = GROUPS[group](200, EPOCH, np.random.default_rng(3))

    states = drawn(group, 200, seed=3)

    expected = sky.states_from_elements(pd.DataFrame(vars(elements)), EPOCH)
    assert np.allclose(states[:, :3], expected[:, :3], rtol=1e-9, atol=1e-9)
    assert np.allclose(states[:, 3:], expected[:, 3:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_the_orbits_of_its_name(group):
    a, e, i, *_ = keplerian_from_states(drawn(group)).T

    low, high = SEMI_MAJOR_AXES[group]
    assert low - 1e-9 < a.min() < a.max() < high + 1e-9
    assert (e >= 0.0).all()
    assert (e < (1.0 if group == "comet" else 0.99)).all()
    assert i.max() < (180.0 if group == "comet" else 90.0)


PUBLISHED = {
    ("main_belt", "a"): (2.80, 3.20),
    ("main_belt", "e"): (0.13, 0.26),
    ("main_belt", "i"): (9.9, 22.4),
    ("hungaria", "i"): (22.0, 26.3),
    ("hilda", "a"): (3.965, 4.00),
    ("hilda", "e"): (0.20, 0.30),
    ("hilda", "i"): (7.2, 12.3),
    ("trojan", "a"): (5.21, 5.30),
    ("trojan", "e"): (0.07, 0.15),
    ("trojan", "i"): (13.6, 30.2),
    ("neo", "a"): (1.96, 3.04),
    ("neo", "e"): (0.54, 0.83),
    ("neo", "i"): (23.2, 61.1),
    ("tno", "i"): (14.3, 36.3),
}
"""Median and 95th percentile of a (au), e and i (deg) in samples of S3M (Grav et al. 2011), of the model of Granvik et
al. 2018 and of CFEPS L7 (Petit et al. 2011): 5000 objects each, of which 25 are Hungarias and 91 Hildas."""


@pytest.mark.parametrize(("group", "element"), PUBLISHED)
def test_distributions_are_about_those_of_published_models(group, element):
    values = getattr(GROUPS[group](5000, EPOCH, np.random.default_rng(2)), element)
    median, high = PUBLISHED[group, element]

    assert np.median(values) == pytest.approx(median, rel=0.12)
    assert np.percentile(values, 95) == pytest.approx(high, rel=0.2)


def test_a_seed_gives_the_same_objects_again():
    assert np.array_equal(drawn("neo"), drawn("neo"))
    assert not np.array_equal(drawn("neo"), drawn("neo", seed=2))


def test_near_earth_objects_come_near_and_hungarias_are_inclined():
    a, e, *_ = keplerian_from_states(drawn("neo")).T
    _, _, i, *_ = keplerian_from_states(drawn("hungaria")).T

    assert (a * (1.0 - e)).max() < 1.3 + 1e-9
    assert i.min() >= 16.0 - 1e-9


@pytest.mark.parametrize("epoch", [55000.0, 60000.0, 65000.0])
def test_trojans_are_sixty_degrees_from_where_jupiter_is(epoch):
    jupiter = longitude_deg(jupiter_at(epoch))

    away = (longitude_deg(drawn("trojan", epoch=epoch)) - jupiter + 180.0) % 360.0 - 180.0

    leading = away > 0.0
    assert np.median(away[leading]) == pytest.approx(60.0, abs=8.0)
    assert np.median(away[~leading]) == pytest.approx(-60.0, abs=8.0)
    assert leading.mean() == pytest.approx(1.4 / 2.4, abs=0.04)


def test_hildas_at_aphelion_are_away_from_jupiter():
    states = drawn("hilda", 20_000)
    *_, mean_anomaly = keplerian_from_states(states).T

    far_out = angle_between_deg(mean_anomaly, 180.0) < 20.0
    away = angle_between_deg(longitude_deg(states), longitude_deg(jupiter_at(EPOCH)))

    # Their aphelia are opposite of Jupiter and 60 deg before and behind it: the corners of the Hilda triangle.
    assert np.percentile(away[far_out], 5) > 30.0


def jupiter_at(epoch):
    positions = planet_positions(np.array([epoch]))
    distance = np.linalg.norm(positions.reshape(-1, 3), axis=1)
    return positions.reshape(-1, 3)[np.argmin(np.abs(distance - 5.2))]
