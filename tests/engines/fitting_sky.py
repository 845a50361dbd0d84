"""Astrometry of known orbits for tests of the fits: by two-line formulas, without the engine's predictions."""

import numpy as np

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.n_body import ForceModel, propagate
from tasks.engines.builtin.fitting.astrometry import (
    EAST,
    NORTH,
    OBSERVER,
    ROW_WIDTH,
    TIME,
    TOWARD,
    WEIGHT_EAST,
    WEIGHT_NORTH,
)

EPOCH = 59000.0
SIGMA_RAD = np.radians(0.1 / 3600)

MAIN_BELT = np.array([2.3, 1.1, 0.15, -0.0045, 0.0095, 0.0006])
NEAR_EARTH = np.array([0.85, 0.75, 0.05, -0.0125, 0.0125, 0.0015])
HYPERBOLIC = np.array([1.2, 0.9, 0.4, 0.011, 0.0205, 0.005])
DISTANT = np.array([31.0, 28.0, 2.0, -0.0018, 0.0019, 0.0001])
KINDS = {"main belt": MAIN_BELT, "near Earth": NEAR_EARTH, "hyperbolic": HYPERBOLIC, "distant": DISTANT}


def observer_positions(times: np.ndarray) -> np.ndarray:
    """An Earth on a circle, at opposition to (1, 0.5, 0) at the epoch, with a telescope that turns with it."""
    angle = 0.46 + np.sqrt(MU_SUN) * (times - EPOCH)
    turning = 2 * np.pi * times
    earth = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    return earth + 4.26e-5 * np.stack([np.cos(turning), np.sin(turning), np.full_like(turning, 0.3)], axis=1)


def places(state: np.ndarray, times: np.ndarray, model: ForceModel = "2-body") -> np.ndarray:
    """Unit vectors from the observer to where the light left, by plain iteration."""
    observers = observer_positions(times)
    delay = np.zeros(len(times))
    for _ in range(8):
        positions = np.array(
            [propagate(state[None], EPOCH, np.array([time]), model)[0, 0, :3] for time in times - delay]
        )
        delay = np.linalg.norm(positions - observers, axis=1) / SPEED_OF_LIGHT
    toward = positions - observers
    return toward / np.linalg.norm(toward, axis=1)[:, None]


def rows_of(
    state: np.ndarray,
    times: np.ndarray,
    *,
    model: ForceModel = "2-body",
    noise_sigmas: np.ndarray | float = 0.0,
    sigma_rad: float = SIGMA_RAD,
) -> np.ndarray:
    """Rows of astrometry, shape (m, 15); `noise_sigmas`, shape (m, 2), moves them east and north."""
    true = places(state, times, model)
    east, north = basis(true)
    noise = np.broadcast_to(noise_sigmas, (len(times), 2)) * sigma_rad
    seen = true + noise[:, :1] * east + noise[:, 1:] * north
    seen /= np.linalg.norm(seen, axis=1)[:, None]
    rows = np.empty((len(times), ROW_WIDTH))
    rows[:, TIME] = times
    rows[:, OBSERVER:TOWARD] = observer_positions(times)
    rows[:, TOWARD:EAST] = seen
    rows[:, EAST:NORTH], rows[:, NORTH:WEIGHT_EAST] = basis(seen)
    rows[:, [WEIGHT_EAST, WEIGHT_NORTH]] = 1.0 / sigma_rad
    return rows


def basis(toward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    east = np.cross([0.0, 0.0, 1.0], toward)
    east /= np.linalg.norm(east, axis=1)[:, None]
    return east, np.cross(toward, east)


def nights(count: int, *, every: float = 2.0, visits: int = 2) -> np.ndarray:
    """Times of some nights about the epoch, with visits half an hour apart."""
    first = EPOCH + every * (np.arange(count) - (count - 1) / 2)
    return (first[:, None] + np.arange(visits) * 0.021).ravel()
