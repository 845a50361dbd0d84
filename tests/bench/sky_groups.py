"""What there is in the sky of a whole survey: nine groups of orbits, each with a slope of sizes.

Made for these surveys, of other shapes than the model that test orbits are chosen from (`orbit_selection.populations`):
what is promised on the one must hold on the other. Frame: heliocentric ecliptic J2000; au, deg, MJD TDB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from tests.support.sky import GM_SUN, Vectors

Draw = Callable[[int, float, np.random.Generator], pd.DataFrame]
"""Draws so many orbits at an epoch: columns a, e, i, raan, ap, M."""


@dataclass(frozen=True)
class Group:
    """One kind of objects."""

    draw: Draw
    #: Slope of log10 N(< H), and the faintest H.
    slope: float
    faintest: float
    #: Whether it brightens as a comet's coma does, and not as a bare body.
    is_active: bool = False


def jupiter_longitude_deg(epoch_mjd_tdb: float) -> float:
    """Mean longitude of Jupiter: 34.4 deg at J2000, once around in 4332.6 days."""
    return float((34.4 + 360.0 / 4332.6 * (epoch_mjd_tdb - 51544.5)) % 360.0)


def _orbits(
    a: Vectors, e: Vectors, i: Vectors, rng: np.random.Generator, mean_longitude: Vectors | None = None
) -> pd.DataFrame:
    raan, ap, mean_anomaly = rng.uniform(0.0, 360.0, (3, len(a)))
    if mean_longitude is not None:
        mean_anomaly = (mean_longitude - raan - ap) % 360.0
    return pd.DataFrame({"a": a, "e": e, "i": np.abs(i), "raan": raan, "ap": ap, "M": mean_anomaly})


def _rayleigh(scale: float, highest: float, count: int, rng: np.random.Generator) -> Vectors:
    return np.minimum(rng.rayleigh(scale, count), highest * rng.uniform(0.8, 1.0, count))


def _belt(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    """A background and four clumps about families, some of them inclined."""
    clump = rng.integers(5, size=count)
    middle = np.array([2.7, 2.36, 2.60, 2.76, 3.12])[clump]
    a = np.clip(middle + np.where(clump == 0, rng.uniform(-0.55, 0.55, count), rng.normal(0, 0.06, count)), 2.1, 3.3)
    e = np.minimum(_rayleigh(0.13, 0.4, count, rng), 1.0 - 1.67 / a)
    i = np.where(rng.uniform(size=count) < 0.75, rng.rayleigh(5.5, count), rng.normal(16.0, 5.0, count))
    return _orbits(a, e, i, rng)


def _hungaria(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    return _orbits(rng.uniform(1.8, 1.98, count), rng.uniform(0.0, 0.12, count), rng.normal(22.0, 4.0, count), rng)


def _mars_crosser(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    q, a = rng.uniform(1.31, 1.65, count), rng.uniform(1.75, 2.9, count)
    return _orbits(a, 1.0 - q / a, _rayleigh(13.0, 55.0, count, rng), rng)


def _hilda(count: int, epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    """Perihelia where Jupiter is not: 3 lambda_J - 2 lambda - perihelion is within 40 deg of 0."""
    orbits = _orbits(
        rng.uniform(3.92, 4.0, count), rng.uniform(0.05, 0.3, count), _rayleigh(7.0, 20.0, count, rng), rng
    )
    perihelion = orbits["raan"] + orbits["ap"]
    turn = 180.0 * rng.integers(2, size=count)
    longitude = 0.5 * (3.0 * jupiter_longitude_deg(epoch) - perihelion - rng.uniform(-40, 40, count)) + turn
    return orbits.assign(M=(longitude - perihelion) % 360.0)


def _trojan(count: int, epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    side = np.where(rng.uniform(size=count) < 0.6, 60.0, -60.0) + rng.normal(0.0, 14.0, count)
    return _orbits(
        rng.uniform(5.1, 5.3, count),
        _rayleigh(0.07, 0.2, count, rng),
        rng.uniform(0.0, 30.0, count),
        rng,
        jupiter_longitude_deg(epoch) + side,
    )


def _near_earth(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    q = rng.uniform(0.3, 1.28, count)
    a = np.clip(np.exp(rng.normal(np.log(1.75), 0.3, count)), q / 0.97, 3.9)
    return _orbits(a, 1.0 - q / a, _rayleigh(14.0, 70.0, count, rng), rng)


def _centaur(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    q = rng.uniform(5.5, 20.0, count)
    a = np.minimum(q / (1.0 - rng.uniform(0.02, 0.6, count)), 29.9)
    return _orbits(a, 1.0 - q / a, _rayleigh(15.0, 60.0, count, rng), rng)


def _tno(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    """Three in five from 39 to 48 au, nearly round; the others scattered."""
    scattered = rng.uniform(size=count) < 0.4
    q = rng.uniform(32.0, 40.0, count)
    a = np.where(scattered, q / (1.0 - rng.uniform(0.05, 0.5, count)), rng.uniform(39.0, 48.0, count))
    e = np.where(scattered, 1.0 - q / a, _rayleigh(0.08, 0.25, count, rng))
    i = np.where(rng.uniform(size=count) < 0.5, rng.rayleigh(3.0, count), _rayleigh(17.0, 50.0, count, rng))
    return _orbits(a, e, i, rng)


def _comet(count: int, _epoch: float, rng: np.random.Generator) -> pd.DataFrame:
    """Half about Jupiter's distance, half nearly parabolic from anywhere; within three years of perihelion."""
    is_long = rng.uniform(size=count) < 0.5
    q = rng.uniform(0.8, np.where(is_long, 6.0, 3.0))
    a = np.where(is_long, 50.0 * 100.0 ** rng.uniform(size=count), rng.uniform(3.2, 7.0, count))
    i = np.where(is_long, np.degrees(np.arccos(rng.uniform(-1, 1, count))), _rayleigh(11.0, 50.0, count, rng))
    motion = np.degrees(np.sqrt(GM_SUN / a**3))
    return _orbits(a, 1.0 - q / a, i, rng).assign(M=(motion * rng.uniform(-1100, 1100, count)) % 360.0)


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "main_belt": Group(_belt, 0.35, 21.0),
        "hungaria": Group(_hungaria, 0.35, 21.0),
        "mars_crosser": Group(_mars_crosser, 0.35, 22.0),
        "hilda": Group(_hilda, 0.40, 19.0),
        "trojan": Group(_trojan, 0.45, 18.0),
        "neo": Group(_near_earth, 0.40, 26.0),
        "centaur": Group(_centaur, 0.50, 15.0),
        "tno": Group(_tno, 0.65, 12.0),
        "comet": Group(_comet, 0.30, 16.0, is_active=True),
    }
)
"""By the names that `flows.orbits` has for them."""
