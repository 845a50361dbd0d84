"""How many objects of each group there are of each absolute magnitude, and how bright they look from here.

Published size distributions as straight lines of log10 N(< H), rounded; docs/test-orbits.md says from where. Magnitudes
are V: filters differ by some tenths, which moves no object to where another test orbit would be needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.photometry import absolute_magnitude
from tasks.engines.orbit_selection.footprint import Footprint
from tasks.engines.orbit_selection.sightings import Sightings

FloatArray = NDArray[np.float64]

COMET_SLOPE = 10.0
"""K of a comet's total magnitude, V = H + 5 log10(delta) + K log10(r): the usual 10, where nothing is known."""

_BRIGHTEST = -10.0
"""H at which the first line of a size distribution ends: nothing is brighter."""


@dataclass(frozen=True)
class Sizes:
    """Number of objects that are brighter than H: straight lines of log10 N between points, ascending in H."""

    #: (H, log10 N(< H)); no object is fainter than the last. Before the first, as between the first two.
    points: tuple[tuple[float, float], ...]
    #: Whether brightness grows as a comet's towards the Sun, and not as a bare body's.
    is_active: bool = False

    def number_brighter(self, magnitude: FloatArray) -> FloatArray:
        """Return N(< H) of each H; 0 for -inf."""
        h, logarithm = self._lines()
        number: FloatArray = 10.0 ** np.interp(magnitude, h, logarithm)
        return np.where(magnitude > _BRIGHTEST, number, 0.0)

    def draw_brighter(self, magnitude: FloatArray, share: FloatArray) -> FloatArray:
        """Return the H that this share (0, 1] of the objects brighter than `magnitude` are brighter than."""
        h, logarithm = self._lines()
        drawn: FloatArray = np.interp(np.interp(magnitude, h, logarithm) + np.log10(share), logarithm, h)
        return drawn

    def _lines(self) -> tuple[FloatArray, FloatArray]:
        h, logarithm = np.array(self.points).T
        slope = (logarithm[1] - logarithm[0]) / (h[1] - h[0])
        first = logarithm[0] + slope * (_BRIGHTEST - h[0])
        return np.concatenate([[_BRIGHTEST], h]), np.concatenate([[first], logarithm])


SIZES: Mapping[str, Sizes] = MappingProxyType(
    {
        # Ivezic et al. 2001, AJ 122, 2749: steep for large ones, 6.7e5 above 1 km; Gladman et al. 2009, Icarus 202,
        # 104: 0.30 beyond H = 15.
        "main_belt": Sizes(((8.0, 2.2), (12.0, 3.8), (15.0, 5.1), (22.0, 7.2))),
        # Shares of the belt as in S3M (Grav et al. 2011, PASP 123, 423).
        "hungaria": Sizes(((12.0, 1.0), (15.0, 2.5), (22.0, 4.9))),
        "mars_crosser": Sizes(((10.0, 0.5), (12.0, 1.5), (15.0, 3.2), (22.0, 5.6))),
        # Terai & Yoshida 2018, AJ 156, 30: 0.38 for the faint ones.
        "hilda": Sizes(((8.0, 0.8), (12.0, 2.3), (20.0, 5.3))),
        # Jewitt et al. 2000, AJ 120, 1140: 1.1 for large ones, 0.40 below about 65 km.
        "trojan": Sizes(((7.5, 0.0), (9.5, 1.7), (19.0, 5.5))),
        # Granvik et al. 2018, Icarus 312, 181: 962 with H < 17.75, 8.0e5 with H < 25; between them the dip of
        # Harris & Chodas 2021, Icarus 365, 114452.
        "neo": Sizes(((13.0, 0.7), (15.0, 1.75), (17.75, 2.98), (20.0, 3.85), (22.0, 4.4), (25.0, 5.9), (28.0, 7.9))),
        # Lawler et al. 2018, AJ 155, 197: 0.9 to a break at H_r = 8.3, then 0.4; about 110 with H_r < 8.66.
        "centaur": Sizes(((5.0, -1.0), (8.7, 1.9), (16.0, 4.8))),
        # Petit et al. 2011, AJ 142, 131, and Fraser et al. 2014, ApJ 782, 100: 0.8, beyond H = 8 about 0.4.
        "tno": Sizes(((2.0, 0.6), (8.0, 5.1), (12.0, 6.7))),
        # A slope of 0.3 (rounded from Everhart 1967, AJ 72, 716); that there are this many is ours.
        "comet": Sizes(((4.0, 0.0), (16.0, 3.6)), is_active=True),
    }
)
"""Size distribution of each group."""


def magnitudes_at_zero(sizes: Sizes, sightings: Sightings, footprint: Footprint) -> FloatArray:
    """Return the V of each sighting if H were 0, shape (s,)."""
    observer = footprint.observer_position[sightings.pointing]
    position = observer + sightings.distance[:, None] * sightings.direction
    r = np.linalg.norm(position, axis=1)
    if sizes.is_active:
        active: FloatArray = 5.0 * np.log10(sightings.distance) + COMET_SLOPE * np.log10(r)
        return active
    cosine = np.einsum("si,si->s", position, sightings.direction) / r
    phase = np.arccos(np.clip(cosine, -1.0, 1.0))
    return -absolute_magnitude(np.zeros(len(r)), r, sightings.distance, phase)
