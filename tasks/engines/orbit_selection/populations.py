"""The populations from which test orbits are chosen: a synthetic model of nine groups, or somebody's own catalogue.

The model says where objects of a group may be; `brightness` how many there are. Simple distributions rounded from the
sources named below, good for deciding where to look. docs/test-orbits.md says which figures were checked, and against
what.
Frame: heliocentric ecliptic J2000; angles in degrees, au, MJD TDB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
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


def _normal_within(
    mean: float, width: float, bounds: tuple[float | FloatArray, float], count: int, rng: np.random.Generator
) -> FloatArray:
    """Draw from a normal distribution cut off at both bounds, by its inverse."""
    low, high = (ndtr((np.asarray(bound) - mean) / width) for bound in bounds)
    drawn: FloatArray = mean + width * ndtri(low + (high - low) * rng.uniform(size=count))
    return drawn


def _anywhere(a: FloatArray, e: FloatArray, i: FloatArray, rng: np.random.Generator) -> Elements:
    """Orbits of any orientation, the bodies anywhere on them."""
    raan, ap, mean_anomaly = rng.uniform(0.0, 360.0, (3, len(a)))
    return Elements(a, e, i, raan, ap, mean_anomaly)


def main_belt(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw the main belt: three zones between the 4:1, 3:1, 5:2 and 2:1 resonances, evenly in a within each.

    Shares of the zones and widths of the Rayleigh distributions of e and i are those of S3M (Grav et al. 2011, PASP
    123, 423), rounded; perihelia outside Mars' orbit.
    """
    edges = np.array([2.10, 2.50, 2.82, 3.28])
    zone = rng.choice(3, size=count, p=[0.20, 0.32, 0.48])
    a = rng.uniform(edges[zone], edges[zone + 1])
    e = np.minimum(_rayleigh_below(0.11, 0.4, count, rng), 1.0 - 1.6 / a)
    return _anywhere(a, e, _rayleigh_below(8.3, 40.0, count, rng), rng)


def hungaria(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw Hungarias: 1.78 < a < 2.00 au, e < 0.18, 16 < i < 34 deg (Spratt 1990, JRASC 84, 123); most near 21 deg."""
    i = _normal_within(21.0, 3.0, (16.0, 34.0), count, rng)
    return _anywhere(rng.uniform(1.78, 2.00, count), _rayleigh_below(0.07, 0.18, count, rng), i, rng)


def hilda(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:
    """Draw Hildas: Jupiter's 3:2 resonance, a, e and i as of those in S3M (Grav et al. 2011, PASP 123, 423), rounded.

    The resonant angle 3 lambda_J - 2 lambda - (longitude of perihelion) librates about 0: drawn normal, 25 deg.
    """
    a, e = rng.normal(3.965, 0.025, count), _normal_within(0.19, 0.07, (0.0, 0.35), count, rng)
    perihelion, raan = rng.uniform(0.0, 360.0, (2, count))
    resonant = rng.normal(0.0, 25.0, count)
    turn = 180.0 * rng.integers(2, size=count)
    longitude = 0.5 * (3.0 * _jupiter_longitude_deg(epoch_mjd_tdb) - perihelion - resonant) + turn
    return Elements(
        a,
        e,
        _rayleigh_below(5.5, 20.0, count, rng),
        raan,
        (perihelion - raan) % 360.0,
        (longitude - perihelion) % 360.0,
    )


def trojan(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:
    """Draw Jupiter's Trojans: about L4 and L5, 1.4 to 1 (Grav et al. 2011, ApJ 742, 40).

    i: Rayleigh, 11 deg, whose mean is that of Jewitt, Trujillo & Luu 2000, AJ 120, 1140 (13.7 deg). The rest as of
    those in S3M (Grav et al. 2011, PASP 123, 423), rounded.
    """
    side = np.where(rng.uniform(size=count) < 1.4 / 2.4, 62.0, -62.0)
    longitude = _jupiter_longitude_deg(epoch_mjd_tdb) + side + rng.normal(0.0, 12.0, count)
    a = _normal_within(5.2, 0.055, (5.05, 5.35), count, rng)
    e = _rayleigh_below(0.06, 0.2, count, rng)
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
    """Draw near-Earth objects: q < 1.3 au, a to 4.2 au and most about 2, i Rayleigh, 20 deg.

    The density of q grows as q. Rounded from the marginal distributions of q, a and i of 5000 objects of the model of
    Granvik et al. 2018, Icarus 312, 181.
    """
    q = 1.3 * np.sqrt(rng.uniform((0.1 / 1.3) ** 2, 1.0, count))
    a = _normal_within(1.85, 0.75, (np.maximum(0.65, q / 0.98), 4.2), count, rng)
    return _anywhere(a, 1.0 - q / a, _rayleigh_below(20.0, 80.0, count, rng), rng)


def mars_crosser(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw what crosses Mars' orbit from outside: 1.3 < q < 1.66 au, a from 1.6 to 3.2 au (JPL's class MCA).

    That a is normal about 2.35 au, and i Rayleigh, 12 deg, is rounded from those in S3M (Grav et al. 2011).
    """
    q = rng.uniform(1.3, 1.66, count)
    a = _normal_within(2.35, 0.4, (q / 0.95, 3.2), count, rng)
    return _anywhere(a, 1.0 - q / a, _rayleigh_below(12.0, 60.0, count, rng), rng)


def centaur(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw Centaurs: 5.5 < a < 30.1 au (JPL's class CEN), perihelia beyond 4 au; e Rayleigh 0.3, i Rayleigh 13 deg.

    Widths rounded from what is known of them; nearly all that a survey sees are far inside of their aphelion.
    """
    a = rng.uniform(5.5, 30.1, count)
    e = np.minimum(_rayleigh_below(0.3, 0.85, count, rng), 1.0 - 4.0 / a)
    return _anywhere(a, e, _rayleigh_below(13.0, 70.0, count, rng), rng)


def comet(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw comets, half of them of Jupiter's family, half nearly parabolic, within four years of their perihelion.

    Jupiter's family: a from 3 to 8 au, q from 1 to 5 au, i Rayleigh 12 deg (Levison & Duncan 1997, Icarus 127, 13).
    The others: a from 20 to 2000 au, evenly in log a, q from 0.5 to 7 au, poles anywhere.
    """
    is_long = rng.uniform(size=count) < 0.5
    a = np.where(is_long, 20.0 * 100.0 ** rng.uniform(size=count), rng.uniform(3.0, 8.0, count))
    q = np.where(is_long, rng.uniform(0.5, 7.0, count), rng.uniform(1.0, np.minimum(5.0, 0.9 * a)))
    isotropic = np.degrees(np.arccos(rng.uniform(-1.0, 1.0, count)))
    i = np.where(is_long, isotropic, _rayleigh_below(12.0, 60.0, count, rng))
    drawn = _anywhere(a, 1.0 - q / a, i, rng)
    since_perihelion = rng.uniform(-1461.0, 1461.0, count)
    mean_anomaly = np.degrees(np.sqrt(MU_SUN / a**3) * since_perihelion) % 360.0
    return Elements(a, drawn.e, i, drawn.raan, drawn.ap, np.where(is_long, mean_anomaly, drawn.M))


def tno(count: int, epoch_mjd_tdb: float, rng: np.random.Generator) -> Elements:  # noqa: ARG001 (any epoch)
    """Draw trans-Neptunian objects: classical belt (cold, hot), Plutinos and the scattered disc, 25 : 30 : 20 : 25.

    Rounded from 5000 objects of the CFEPS L7 model (Petit et al. 2011, AJ 142, 131), but for the shares, and the
    largest e of the scattered disc, beyond which hardly anything is bright enough. i: sin(i) times a Gaussian (Brown
    2001, AJ 121, 2804). The longitudes of Plutinos are drawn anywhere, though the resonance keeps them from some.
    """
    kind = rng.choice(4, size=count, p=[0.25, 0.30, 0.20, 0.25])
    spread = rng.uniform(size=count)
    scattered_q = rng.uniform(NEPTUNE_INSIDE_AU + 3.0, 41.0, count)
    scattered_a = scattered_q / (1.0 - rng.uniform(0.05, 0.7, count))
    a = np.choose(kind, [42.4 + 4.6 * spread, 40.0 + 7.0 * spread, 39.25 + 0.4 * spread, scattered_a])
    small = _rayleigh_below(np.array([0.05, 0.10])[np.minimum(kind, 1)], 0.24, count, rng)
    plutino = _normal_within(0.20, 0.055, (0.08, 0.32), count, rng)
    e = np.choose(kind, [small, small, plutino, 1.0 - scattered_q / scattered_a])
    tilt = _rayleigh_below(np.array([2.8, 16.0, 15.0, 16.0])[kind], 60.0, count, rng)
    return _anywhere(a, e, tilt, rng)


def _jupiter_longitude_deg(epoch_mjd_tdb: float) -> float:
    return (_JUPITER_LONGITUDE_DEG + _JUPITER_MOTION_DEG_PER_DAY * (epoch_mjd_tdb - _J2000_MJD)) % 360.0


GROUPS: Mapping[str, Draw] = MappingProxyType(
    {
        "main_belt": main_belt,
        "hungaria": hungaria,
        "mars_crosser": mars_crosser,
        "hilda": hilda,
        "trojan": trojan,
        "neo": neo,
        "centaur": centaur,
        "tno": tno,
        "comet": comet,
    }
)
"""The groups of the synthetic model."""

FOLLOW_JUPITER = frozenset({"hilda", "trojan"})
"""Groups whose longitudes Jupiter holds; those of all others are anywhere."""


def draw_states(group: str, count: int, *, epoch_mjd_tdb: float, rng: np.random.Generator) -> FloatArray:
    """Draw `count` objects of a group of the synthetic model: states at the epoch, shape (count, 6), au and au/d."""
    drawn = GROUPS[group](count, epoch_mjd_tdb, rng)
    return states_from_keplerian(np.stack([drawn.a, drawn.e, drawn.i, drawn.raan, drawn.ap, drawn.M], axis=1))
