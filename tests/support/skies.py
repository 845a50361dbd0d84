"""Observations of given directions, for tests of what only needs to look at the sky."""

import numpy as np
import pyarrow as pa

from tests.support.sky import radec_from_unit


def observations_of_directions(directions, mjd_utc, code="X05"):
    """One detection a row: directions in ecliptic axes, of any length."""
    ra, dec = radec_from_unit(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    return pa.table(
        {
            "obs_id": [f"o{k}" for k in range(len(ra))],
            "mjd_utc": mjd_utc,
            "RA_deg": ra,
            "Dec_deg": dec,
            "observatory_code": [code] * len(ra),
        }
    )
