"""States about other bodies, or the Solar System's barycentre, as heliocentric ones: by adam-core and JPL DE440."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SUN = "SUN"

ORIGINS = (
    SUN,
    "SOLAR_SYSTEM_BARYCENTER",
    "EARTH",
    "MOON",
    "EARTH_MOON_BARYCENTER",
    "MERCURY",
    "MERCURY_BARYCENTER",
    "VENUS",
    "VENUS_BARYCENTER",
    "MARS_BARYCENTER",
    "JUPITER_BARYCENTER",
    "SATURN_BARYCENTER",
    "URANUS_BARYCENTER",
    "NEPTUNE_BARYCENTER",
)
"""adam-core's codes of origins whose place DE440 knows."""


def heliocentric_states(
    states: npt.NDArray[np.float64], epochs_mjd_tdb: npt.NDArray[np.float64], origins: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return the same states about the Sun; ecliptic J2000, au and au/d, shape (m, 6).

    Parameters
    ----------
    origins
        Of each state, of `ORIGINS`.
    """
    codes = np.asarray(origins)
    others = sorted(set(origins) - {SUN})
    if not others:
        return states
    from adam_core.coordinates import OriginCodes  # noqa: PLC0415 (seconds to import, and most files are about the Sun)
    from adam_core.time import Timestamp  # noqa: PLC0415
    from adam_core.utils.spice import get_perturber_state  # noqa: PLC0415

    moved = states.copy()
    for code in others:
        rows = np.flatnonzero(codes == code)
        times = Timestamp.from_mjd(epochs_mjd_tdb[rows], scale="tdb")
        moved[rows] += get_perturber_state(OriginCodes[code], times, frame="ecliptic", origin=OriginCodes.SUN).values
    return moved
