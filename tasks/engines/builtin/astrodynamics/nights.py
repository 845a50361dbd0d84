"""Nights: local solar noon to local solar noon at the observatory."""

import numpy as np
from numpy.typing import NDArray


def solar_nights(mjd_utc: NDArray[np.float64], longitude_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the MJD of the local date on which each night began.

    Parameters
    ----------
    mjd_utc : shape (n,)
        Times, MJD UTC.
    longitude_deg : shape (n,)
        East longitude of the observatory, deg, in any range (0 to 360 as -180 to 180); 0 for one in space.

    Notes
    -----
    Mean solar time: UTC plus the longitude's share of a day. The equation of time, 16 minutes at most, does not
    matter at noon, when nobody observes.
    """
    east = (longitude_deg + 180.0) % 360.0 - 180.0
    return np.floor(mjd_utc + east / 360.0 - 0.5).astype(np.int64)
