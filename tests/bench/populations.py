"""Orbits of a population that lie in front of the telescope, and the test orbit that stands for them."""

from typing import Literal, get_args

import numpy as np
import pandas as pd

from tests.support.sky import GM_SUN, Vectors, states_from_elements

Population = Literal["main_belt", "hungaria", "trojan", "near_earth", "interior", "centaur", "outer", "hyperbolic"]
POPULATIONS: tuple[Population, ...] = get_args(Population)

TEST_ORBIT_DISTANCE_AU: dict[Population, float] = {
    "main_belt": 2.6,
    "hungaria": 1.9,
    "trojan": 5.2,
    "near_earth": 1.3,
    "interior": 0.75,
    "centaur": 15.0,
    "outer": 40.0,
    "hyperbolic": 2.0,
}
"""Heliocentric distance of the test orbit."""

HYPERBOLIC_SPEED = 1.25 * np.sqrt(2.0)
"""Speed of the hyperbolic test orbit over that of a circular one: a quarter above escape."""

SPREAD = 0.04
"""Near-Earth, interior, distant and hyperbolic objects: relative spread of distance and velocity about the test orbit.
One test orbit reaches only a shell of these populations; which objects are drawn here is what its shell is."""


def test_orbit_state(population: Population, observer_au: Vectors, line_of_sight: Vectors) -> Vectors:
    """State of a circular orbit, inclined by 5 deg, seen at the field centre; a hyperbolic one is as fast as it says.

    Interior orbits cross the line of sight twice: the nearer place is taken.
    """
    r = TEST_ORBIT_DISTANCE_AU[population]
    along = observer_au @ line_of_sight
    root = np.sqrt(along**2 + r**2 - observer_au @ observer_au)
    rho = -along - root if population == "interior" else -along + root
    position = observer_au + rho * line_of_sight
    outward = position / np.linalg.norm(position)
    east = np.cross([0.0, 0.0, 1.0], outward)
    east /= np.linalg.norm(east)
    north = np.cross(outward, east)
    tilt = np.radians(5.0)
    speed = np.sqrt(GM_SUN / r) * (HYPERBOLIC_SPEED if population == "hyperbolic" else 1.0)
    return np.concatenate([position, speed * (np.cos(tilt) * east + np.sin(tilt) * north)])


test_orbit_state.__test__ = False  # type: ignore[attr-defined]  # its name is the field's term, not a test


def draw_states(
    population: Population, count: int, epoch_mjd_tdb: float, rng: np.random.Generator, test_state: Vectors
) -> Vectors:
    """States of the population anywhere on their orbits, shape (count, 6)."""
    if population in ("main_belt", "hungaria", "trojan"):
        return states_from_elements(_elements(population, count, rng), epoch_mjd_tdb)
    return _shell(test_state, count, rng)


def _elements(population: Population, count: int, rng: np.random.Generator) -> pd.DataFrame:
    low, high = {"main_belt": (2.1, 3.3), "hungaria": (1.78, 2.0), "trojan": (5.05, 5.35)}[population]
    angles = rng.uniform(0, 360, (3, count))
    inclination = {"main_belt": 8.0, "hungaria": 15.0, "trojan": 10.0}[population]
    eccentricity = {"main_belt": 0.12, "hungaria": 0.06, "trojan": 0.05}[population]
    return pd.DataFrame(
        {
            "a": rng.uniform(low, high, count),
            "e": np.clip(rng.rayleigh(eccentricity, count), 0, 0.6),
            "i": rng.rayleigh(inclination, count),
            "raan": angles[0],
            "ap": angles[1],
            "M": angles[2],
        }
    )


def _shell(test_state: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """States near the test orbit's: rotated about the Sun by up to 20 deg, then scaled and bent by `SPREAD`."""
    r, v = test_state[:3], test_state[3:]
    axes = rng.normal(size=(count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angle = np.radians(rng.uniform(0, 20, (count, 1)))
    speed = np.linalg.norm(v)
    position = _rotated(r, axes, angle) * (1 + rng.uniform(-SPREAD, SPREAD, (count, 1)))
    velocity = _rotated(v, axes, angle) + speed * SPREAD * rng.normal(size=(count, 3))
    return np.hstack([position, velocity])


def _rotated(vector: Vectors, axes: Vectors, angle: Vectors) -> Vectors:
    """Rodrigues' formula."""
    c, s = np.cos(angle), np.sin(angle)
    return vector * c + np.cross(axes, vector) * s + axes * (axes @ vector)[:, None] * (1 - c)
