"""Orbits for tests: about other bodies than the Sun in scaled units, and random conics."""

import math

import numpy as np
from hypothesis import strategies as st

from tasks.engines.builtin.astrodynamics.constants import MU_SUN


class Units:
    """Textbooks use km and s about the Earth; the engine au and d about the Sun. Choose a length and a time for which
    the Earth's pull has the Sun's number."""

    def __init__(self, mu_km3_per_s2: float, length_km: float = 1e4) -> None:
        self.length_km = length_km
        self.time_s = math.sqrt(MU_SUN * length_km**3 / mu_km3_per_s2)

    def state(self, r_km: list[float], v_km_per_s: list[float]) -> np.ndarray:
        speed = self.time_s / self.length_km
        return np.concatenate([np.array(r_km) / self.length_km, np.array(v_km_per_s) * speed])

    def time(self, seconds: float) -> np.ndarray:
        return np.array([seconds / self.time_s])

    def km(self, state: np.ndarray) -> np.ndarray:
        return state[..., :3] * self.length_km

    def km_per_s(self, state: np.ndarray) -> np.ndarray:
        return state[..., 3:] * self.length_km / self.time_s


def at_perihelion(q_au: float, e: float) -> np.ndarray:
    return np.array([q_au, 0.0, 0.0, 0.0, math.sqrt(MU_SUN * (1.0 + e) / q_au), 0.0])


def energy(state: np.ndarray) -> np.ndarray:
    return 0.5 * (state[..., 3:] ** 2).sum(-1) - MU_SUN / np.linalg.norm(state[..., :3], axis=-1)


@st.composite
def random_states(draw) -> np.ndarray:
    """Any conic: 0.1 to 60 au from the Sun, from a tenth of the escape velocity to one and a half times it."""
    distance = 10 ** draw(st.floats(-1.0, 1.8))
    r = distance * draw(directions())
    v = math.sqrt(2.0 * MU_SUN / distance) * draw(st.floats(0.1, 1.5)) * draw(directions())
    return np.concatenate([r, v])


@st.composite
def directions(draw) -> np.ndarray:
    z, angle = draw(st.floats(-1.0, 1.0)), draw(st.floats(0.0, 2 * math.pi))
    rho = math.sqrt(1.0 - z * z)
    return np.array([rho * math.cos(angle), rho * math.sin(angle), z])
