"""Compile every kernel of the built-in engine, or load it from the cache: `python -m tasks.engines.warm_up`.

A cold cache costs half a minute once per machine; a worker warms up before it takes its first task.
"""

import time

import numpy as np
import pyarrow as pa

from tasks.engines.builtin.astrodynamics.frames import equatorial_from_ecliptic
from tasks.engines.builtin.kernels import compiled_once
from tasks.engines.builtin.linking.orbit_path import orbit_from_table, path_of_orbit
from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import TEST_ORBITS

EPOCH_MJD_TDB = 59944.0
"""2023-01-01, when the Earth is at heliocentric longitude 100 deg."""

TIMES_MJD_UTC = EPOCH_MJD_TDB + np.array([-4.0, -3.98, -2.0, -1.98, 0.0, 0.02, 2.0, 2.02, 4.0, 4.02])


def warm_up() -> float:
    """Run all stages on a tiny synthetic problem; return the seconds it took."""
    started = time.perf_counter()
    engine = engine_by_name("builtin")
    settings = EngineSettings()
    tables: dict[str, pa.Table] = {}
    with compiled_once():
        problem = LinkingProblem(engine.prepare(_observations(settings), settings), _test_orbit(), settings)
        for stage in STAGES:
            tables |= getattr(engine, stage)(problem, tables).tables
    return time.perf_counter() - started


def _test_orbit() -> pa.Table:
    """Return a nearly circular orbit at 2 au, at opposition in the middle of the observations."""
    longitude = np.radians(100.0)
    x, y = 2.0 * np.cos(longitude), 2.0 * np.sin(longitude)
    vx, vy = -0.0122 * np.sin(longitude), 0.0122 * np.cos(longitude)
    row = {"orbit_id": "warm-up", "epoch": EPOCH_MJD_TDB, "x": x, "y": y, "z": 0.05, "vx": vx, "vy": vy, "vz": 0.001}
    return pa.Table.from_pylist([row], schema=TEST_ORBITS)


def _observations(settings: EngineSettings) -> pa.Table:
    """Return the test orbit's own detections, and those of a source that hardly moves: a cluster that is no orbit."""
    path = path_of_orbit(orbit_from_table(_test_orbit()), prepare_survey(_table(TIMES_MJD_UTC, 0.0, 0.0), settings))
    x, y, z = equatorial_from_ecliptic(path.line_of_sight).T
    ra, dec = np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(z))
    # Not quite still: what does not move at all is left out before linking.
    drift = 0.002 * (TIMES_MJD_UTC - EPOCH_MJD_TDB)
    return _table(
        np.tile(TIMES_MJD_UTC, 2),
        np.concatenate([ra, ra[4] + drift]),
        np.concatenate([dec, np.full(len(dec), dec[4] + 0.1)]),
    )


def _table(mjd_utc: np.ndarray, ra_deg: np.ndarray | float, dec_deg: np.ndarray | float) -> pa.Table:
    n = len(mjd_utc)
    return pa.table(
        {
            "obs_id": [f"{number:02d}" for number in range(n)],
            "mjd_utc": mjd_utc,
            "RA_deg": np.broadcast_to(ra_deg, n),
            "Dec_deg": np.broadcast_to(dec_deg, n),
            "observatory_code": ["X05"] * n,
        }
    )


if __name__ == "__main__":
    print(f"The engine's kernels are ready, after {warm_up():.1f} s.")  # noqa: T201
