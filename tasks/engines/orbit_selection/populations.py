"""The populations from which test orbits are chosen: a synthetic model of six groups, or somebody's own catalogue.

The model says where objects of a group may be, not how many there are: simple distributions rounded from the sources
named below, good for deciding where to look. Frame: heliocentric ecliptic J2000; angles in degrees, au, MJD TDB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.element_states import states_from_keplerian

FloatArray = NDArray[np.float64]

NEPTUNE_INSIDE_AU = 30.0
"""Perihelia of the scattered disc begin beyond Neptune's orbit: nearer ones are not stable (Centaurs)."""

_JUPITER_LONGITUDE_DEG = 34.39644051
_JUPITER_MOTION_DEG_PER_DAY = 3034.74612775 / 36525.0
"""Jupiter's mean longitude at J2000.0 and its motion: Standish & Williams 1992 (JPL's approximate positions)."""

_J2000_MJD = 51544.5


@dataclass(frozen=True)
class Elements:
    """Keplerian elements of m orbits at one epoch, each of shape (m,): au, deg."""

    a: FloatArray
    e: FloatArray
    i: FloatArray
    raan: FloatArray
    ap: FloatArray
    M: FloatArray


Draw = Callable[[int, float, np.random.Generator], Elements]


def _rayleigh_below(scale: float | FloatArray, highest: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw from a Rayleigh distribution cut off at `highest`, by its inverse."""
    share = rng.uniform(size=count) * (1.0 - np.exp(-0.5 * (highest / np.asarray(scale)) ** 2))
    drawn: FloatArray = scale * np.sqrt(-2.0 * np.log1p(-share))
    return drawn


def _anywhere(a: FloatArray, e: FloatArray, i: FloatArray, rng: np.random.Generator) -> Elements:
    """Orbits of any orientation, the bodies anywhere on them."""
    raan, ap, mean_anomaly = rng.uniform(0.0, 360.0, (3, len(a)))
    return Elements(a, e, i, raan, ap, mean_anomaly)


def main_belt(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw the main belt: three zones between the 4:1, 3:1, 5:2 and 2:1 resonances, evenly in a within each.

    e: Rayleigh (Plummer 1916; Malhotra & Wang 2017, MNRAS 465, 4381), perihelia outside Mars' orbit. i: Rayleigh about
    the ecliptic; widths as in the synthetic belt of Grav et al. 2011, PASP 123, 423, rounded.
    """
    edges = np.array([2.10, 2.50, 2.82, 3.28])
    zone = rng.choice(3, size=count, p=[0.34, 0.33, 0.33])
    a = rng.uniform(edges[zone], edges[zone + 1])
    e = np.minimum(_rayleigh_below(0.115, 0.4, count, rng), 1.0 - 1.6 / a)
    return _anywhere(a, e, _rayleigh_below(7.0, 35.0, count, rng), rng)


def hungaria(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw Hungarias: 1.78 < a < 2.00 au, e < 0.18, 16 < i < 34 deg, most near 21.

    After Warner et al. 2009, Icarus 204, 172.
    """
    i = np.clip(rng.normal(21.0, 3.0, count), 16.0, 34.0)
    return _anywhere(rng.uniform(1.78, 2.00, count), _rayleigh_below(0.07, 0.18, count, rng), i, rng)


def hilda(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:
    """Draw Hildas: Jupiter's 3:2 resonance, a about 3.97 au, e to 0.3, i to 20 deg.

    After Broz & Vokrouhlicky 2008, MNRAS 390, 715. The resonant angle 3 lambda_J - 2 lambda - (longitude of
    perihelion) librates about 0: drawn normal, 25 deg.
    """
    a, e = rng.normal(3.965, 0.02, count), np.clip(rng.normal(0.17, 0.06, count), 0.0, 0.32)
    perihelion, raan = rng.uniform(0.0, 360.0, (2, count))
    resonant = rng.normal(0.0, 25.0, count)
    turn = 180.0 * rng.integers(2, size=count)
    longitude = 0.5 * (3.0 * _jupiter_longitude_deg(epoch_mjd_tdb) - perihelion - resonant) + turn
    return Elements(
        a,
        e,
        _rayleigh_below(6.5, 22.0, count, rng),
        raan,
        (perihelion - raan) % 360.0,
        (longitude - perihelion) % 360.0,
    )


def trojan(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:
    """Draw Jupiter's Trojans: about L4 and L5, 1.4 to 1 (Grav et al. 2011, ApJ 742, 40), spread of 14 deg in longitude.

    i: Rayleigh, 11 deg (Jewitt, Trujillo & Luu 2000, AJ 120, 1140: broad, to 40 deg); a 5.05 to 5.35 au, small e.
    """
    side = np.where(rng.uniform(size=count) < 1.4 / 2.4, 60.0, -60.0)
    longitude = _jupiter_longitude_deg(epoch_mjd_tdb) + side + rng.normal(0.0, 14.0, count)
    a, e = np.clip(rng.normal(5.2, 0.06, count), 5.05, 5.35), _rayleigh_below(0.055, 0.2, count, rng)
    perihelion, raan = rng.uniform(0.0, 360.0, (2, count))
    return Elements(
        a,
        e,
        _rayleigh_below(11.0, 45.0, count, rng),
        raan,
        (perihelion - raan) % 360.0,
        (longitude - perihelion) % 360.0,
    )


def neo(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw near-Earth objects: q < 1.3 au, a to 4.2 au and most about 2, i Rayleigh, 14 deg.

    The density of q grows as q. Rounded from the marginal distributions of a, e and i in Granvik et al.
    2018, Icarus 312, 181.
    """
    q = 1.3 * np.sqrt(rng.uniform((0.1 / 1.3) ** 2, 1.0, count))
    a = np.clip(rng.normal(2.0, 0.7, count), np.maximum(0.65, q / 0.98), 4.2)
    return _anywhere(a, 1.0 - q / a, _rayleigh_below(14.0, 60.0, count, rng), rng)


def tno(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw trans-Neptunian objects: classical belt (cold, hot), Plutinos and the scattered disc, 25 : 30 : 20 : 25.

    After the CFEPS L7 model (Petit et al. 2011, AJ 142, 131), rounded; i as sin(i) times a Gaussian (Brown 2001,
    AJ 121, 2804). The longitudes of Plutinos are drawn anywhere, though the resonance keeps them from some.
    """
    kind = rng.choice(4, size=count, p=[0.25, 0.30, 0.20, 0.25])
    spread = rng.uniform(size=count)
    scattered_q = rng.uniform(NEPTUNE_INSIDE_AU + 3.0, 40.0, count)
    scattered_a = scattered_q / (1.0 - rng.uniform(0.05, 0.7, count))
    a = np.choose(kind, [43.0 + 3.0 * spread, 40.0 + 7.5 * spread, 39.2 + 0.6 * spread, scattered_a])
    small = _rayleigh_below(np.array([0.035, 0.08])[np.minimum(kind, 1)], 0.24, count, rng)
    e = np.choose(kind, [small, small, rng.uniform(0.08, 0.32, count), 1.0 - scattered_q / scattered_a])
    tilt = _rayleigh_below(np.array([2.0, 14.0, 13.0, 14.0])[kind], 60.0, count, rng)
    return _anywhere(a, e, tilt, rng)


def _jupiter_longitude_deg(epoch_mjd_tdb: float) -> float:
    return (_JUPITER_LONGITUDE_DEG + _JUPITER_MOTION_DEG_PER_DAY * (epoch_mjd_tdb - _J2000_MJD)) % 360.0


GROUPS: Mapping[str, Draw] = MappingProxyType(
    {"main_belt": main_belt, "hungaria": hungaria, "hilda": hilda, "trojan": trojan, "neo": neo, "tno": tno}
)
"""The groups of the synthetic model."""


def draw_states(group: str, count: int, *, epoch_mjd_tdb: float, rng: np.random.Generator) -> FloatArray:
    """Draw `count` objects of a group of the synthetic model: states at the epoch, shape (count, 6), au and au/d."""
    drawn = GROUPS[group](count, epoch_mjd_tdb, rng)
    return states_from_keplerian(np.stack([drawn.a, drawn.e, drawn.i, drawn.raan, drawn.ap, drawn.M], axis=1))
