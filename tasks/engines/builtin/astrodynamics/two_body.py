r"""Motion about the Sun alone: states at other times, and their partials, for every kind of conic.

Universal variables: chi with d(chi)/dt = sqrt(mu) / r, alpha = 1/a, psi = alpha chi^2 and the Stumpff functions
c_k(psi) = sum_j (-psi)^j / (2j + k)!, so that U_k = chi^k c_k(psi) in Battin's notation. One set of formulas serves
ellipse, parabola and hyperbola.

Sources: Battin 1999, An Introduction to the Mathematics and Methods of Astrodynamics (rev. ed.), sections 4.5-4.6
and 9.7; Vallado 2013, Fundamentals of Astrodynamics (4th ed.), section 2.3; Conway 1986, Celest. Mech. 39, 199
(Laguerre's iteration for Kepler's equation).
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

SQRT_MU = math.sqrt(MU_SUN)

_LARGEST_EXPONENT = 700.0
"""cosh overflows at 710."""

_LARGEST_ITERATIONS = 60
"""Laguerre needs 3 to 6; when it leaves the bracket, bisection needs about 50 for the full precision."""


def propagate_two_body(state: FloatArray, dt_days: FloatArray) -> FloatArray:
    """Propagate one heliocentric state to many times, the Sun being the only force.

    Parameters
    ----------
    state : shape (6,)
        Heliocentric position, au, and velocity, au/d, in any inertial frame (ecliptic J2000 in the engine).
    dt_days : shape (k,)
        Times after (negative: before) the state's epoch, days TDB.

    Returns
    -------
    states : shape (k, 6)
        In the frame and units of `state`; nan where the input is not finite or the position is the Sun's.

    Notes
    -----
    Elliptic, parabolic and hyperbolic orbits, long and short arcs alike: the root of Kepler's universal equation is
    bracketed, so the solution cannot be missed. Relative error is about 1e-14 per revolution.
    """
    times = np.ascontiguousarray(dt_days, dtype=np.float64)
    states = np.empty((len(times), 6))
    _propagate_many(np.ascontiguousarray(state, dtype=np.float64), times, states)
    return states


def positions_of_many(states: FloatArray, dt_days: FloatArray) -> FloatArray:
    """Return the positions of m orbits, states (m, 6), at k times after their common epoch: shape (m, k, 3), au."""
    times = np.ascontiguousarray(dt_days, dtype=np.float64)
    positions = np.empty((len(states), len(times), 3))
    _positions_of_many(np.ascontiguousarray(states, dtype=np.float64), times, positions)
    return positions


def propagate_two_body_partials(state: FloatArray, dt_days: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Propagate as `propagate_two_body`, with the partials of each state with respect to the first one.

    Returns
    -------
    states : shape (k, 6)
    transition : shape (k, 6, 6)
        State transition matrices: `transition[i, a, b]` is d(states[i, a]) / d(state[b]).
    """
    times = np.ascontiguousarray(dt_days, dtype=np.float64)
    states = np.empty((len(times), 6))
    transition = np.empty((len(times), 6, 6))
    _propagate_many_partials(np.ascontiguousarray(state, dtype=np.float64), times, states, transition)
    return states, transition


@kernel
def stumpff(psi: float) -> tuple[float, float, float, float]:
    """Return the Stumpff functions c2, c3, c4, c5 of psi, to the last digit for every psi.

    The closed forms cancel near zero, so within |psi| < 1 the series of c4 and c5 is summed, and the recurrence
    c_k = 1/k! - psi c_(k+2) gives c2 and c3 (Battin 1999, section 4.5).
    """
    if abs(psi) < 1.0:
        c4 = _even_series(psi)
        c5 = _odd_series(psi)
        return 0.5 - psi * c4, 1.0 / 6.0 - psi * c5, c4, c5
    s = math.sqrt(abs(psi))
    if psi > 0.0:
        c2 = (1.0 - math.cos(s)) / psi
        c3 = (s - math.sin(s)) / (s * psi)
    else:
        c2 = (1.0 - math.cosh(s)) / psi
        c3 = (s - math.sinh(s)) / (s * psi)
    return c2, c3, (0.5 - c2) / psi, (1.0 / 6.0 - c3) / psi


@kernel
def _even_series(psi: float) -> float:
    """Sum c4: each factor is the ratio of neighbouring factorials, (2j+5)(2j+6)."""
    total = 1.0
    for j in range(7, -1, -1):
        total = 1.0 - psi * total / ((2 * j + 5) * (2 * j + 6))
    return total / 24.0


@kernel
def _odd_series(psi: float) -> float:
    """Sum c5: each factor is the ratio of neighbouring factorials, (2j+6)(2j+7)."""
    total = 1.0
    for j in range(7, -1, -1):
        total = 1.0 - psi * total / ((2 * j + 6) * (2 * j + 7))
    return total / 120.0


@kernel
def universal_anomaly(r0: float, sigma0: float, alpha: float, dt: float) -> float:
    r"""Solve Kepler's universal equation for chi, au^(1/2).

    Parameters
    ----------
    r0, sigma0, alpha
        Radius, au; r.v / sqrt(mu), au^(1/2); reciprocal semi-major axis, 1/au.
    dt
        Days after the epoch; for an ellipse within half a period of it, best.

    Notes
    -----
    r0 U1 + sigma0 U2 + U3 = sqrt(mu) dt (Battin 1999, eq. 4.79). Its left side grows with chi everywhere, since its
    derivative is the radius. Laguerre's step of order 5 (Conway 1986, eq. 9) is taken where it stays inside the
    bracket, which pericentre bounds: |chi| <= sqrt(mu) |dt| / q.
    """
    target = SQRT_MU * dt
    if target == 0.0:
        return 0.0
    lower, upper = _bracket(r0, sigma0, alpha, target)
    chi = _first_guess(r0, sigma0, alpha, target)
    if not lower < chi < upper:
        chi = 0.5 * (lower + upper)
    for _ in range(_LARGEST_ITERATIONS):
        psi = alpha * chi * chi
        c2, c3, _c4, _c5 = stumpff(psi)
        u2 = chi * chi * c2
        u1 = chi * (1.0 - psi * c3)
        value = r0 * u1 + sigma0 * u2 + chi * chi * chi * c3 - target
        radius = r0 * (1.0 - psi * c2) + sigma0 * u1 + u2
        curvature = sigma0 * (1.0 - psi * c2) + (1.0 - alpha * r0) * u1
        if value > 0.0:
            upper = chi
        else:
            lower = chi
        step = 5.0 * value / (radius + math.sqrt(abs(16.0 * radius * radius - 20.0 * value * curvature)))
        if abs(step) <= 1e-15 * abs(chi):
            return chi
        proposal = chi - step
        if not lower <= proposal <= upper:
            proposal = 0.5 * (lower + upper)
        if proposal == chi:
            return chi
        chi = proposal
    return chi


@kernel
def _bracket(r0: float, sigma0: float, alpha: float, target: float) -> tuple[float, float]:
    """Bound chi by the largest d(chi)/dt of the orbit, at pericentre, by its kind, and by what cosh can take.

    Without pericentre, which may be next to nothing: an ellipse goes round once a period, and an open orbit takes least
    time for chi when it is at pericentre half-way: sqrt(mu) t >= e chi^3 / 24 with e >= 1, as r >= e (chi / 2)^2 / 2.
    """
    # With p = h^2/mu = 2 r0 - alpha r0^2 - sigma0^2, the pericentre is q = p / (1 + e), e^2 = 1 - alpha p.
    p = max(2.0 * r0 - alpha * r0 * r0 - sigma0 * sigma0, 0.0)
    pericentre = p / (1.0 + math.sqrt(max(1.0 - alpha * p, 0.0)))
    bound = 1.001 * abs(target) / max(pericentre, 1e-12) + 1e-300
    if alpha > 0.0:
        bound = min(bound, 1.001 * (2.0 * math.pi / math.sqrt(alpha) + alpha * abs(target)))
    else:
        bound = min(bound, 1.001 * (24.0 * abs(target)) ** (1.0 / 3.0))
    if alpha < 0.0:
        bound = min(bound, _LARGEST_EXPONENT / math.sqrt(-alpha))
    return (0.0, bound) if target > 0.0 else (-bound, 0.0)


@kernel
def _first_guess(r0: float, sigma0: float, alpha: float, target: float) -> float:
    """Second order in time for short arcs, mean motion for long ellipses, Vallado's logarithm for long hyperbolas."""
    short = target / r0
    if abs(short) < 0.3 * math.sqrt(r0):
        return short - 0.5 * sigma0 * short * short / r0
    if alpha > 0.0:
        return target * alpha
    if alpha * r0 < -1e-3:
        a = 1.0 / alpha
        sign = 1.0 if target > 0.0 else -1.0
        ratio = -2.0 * alpha * target / (sigma0 + sign * math.sqrt(-a) * (1.0 - r0 * alpha))
        if ratio > 1.0:
            return sign * math.sqrt(-a) * math.log(ratio)
    return short


@kernel
def propagate_state(state: FloatArray, dt: float, out: FloatArray) -> None:
    """Write the state (6,) after dt days to `out` (6,), by Lagrange's f and g (Battin 1999, eq. 4.84-4.85)."""
    r0, sigma0, alpha = _invariants(state)
    chi = universal_anomaly(r0, sigma0, alpha, _within_half_a_period(alpha, dt))
    psi = alpha * chi * chi
    c2, c3, _c4, _c5 = stumpff(psi)
    _state_from_f_and_g(state, r0, sigma0, chi, psi, c2, c3, out)


@kernel
def _invariants(state: FloatArray) -> tuple[float, float, float]:
    """Return radius, r.v / sqrt(mu), and the reciprocal semi-major axis."""
    r0 = math.sqrt(state[0] ** 2 + state[1] ** 2 + state[2] ** 2)
    v_squared = state[3] ** 2 + state[4] ** 2 + state[5] ** 2
    sigma0 = (state[0] * state[3] + state[1] * state[4] + state[2] * state[5]) / SQRT_MU
    return r0, sigma0, 2.0 / r0 - v_squared / MU_SUN


@kernel
def _within_half_a_period(alpha: float, dt: float) -> float:
    """Leave out whole revolutions of an ellipse: they change nothing, and would cost digits of chi."""
    if alpha <= 0.0:
        return dt
    period = 2.0 * math.pi / (SQRT_MU * alpha * math.sqrt(alpha))
    return dt - period * round(dt / period) if abs(dt) > 0.5 * period else dt


@kernel
def _state_from_f_and_g(
    state: FloatArray, r0: float, sigma0: float, chi: float, psi: float, c2: float, c3: float, out: FloatArray
) -> None:
    """Write the state at universal anomaly chi.

    g is taken as (r0 U1 + sigma0 U2) / sqrt(mu), the same as dt - U3 / sqrt(mu) but without the error of the root.
    """
    u1 = chi * (1.0 - psi * c3)
    u2 = chi * chi * c2
    radius = r0 * (1.0 - psi * c2) + sigma0 * u1 + u2
    f = 1.0 - u2 / r0
    g = (r0 * u1 + sigma0 * u2) / SQRT_MU
    f_dot = -SQRT_MU * u1 / (radius * r0)
    g_dot = 1.0 - u2 / radius
    for k in range(3):
        out[k] = f * state[k] + g * state[k + 3]
        out[k + 3] = f_dot * state[k] + g_dot * state[k + 3]


@kernel
def _propagate_many(state: FloatArray, dt: FloatArray, out: FloatArray) -> None:
    for i in range(dt.size):
        propagate_state(state, dt[i], out[i])


@kernel
def _positions_of_many(states: FloatArray, dt: FloatArray, out: FloatArray) -> None:
    state = np.empty(6)
    for k in range(states.shape[0]):
        for i in range(dt.size):
            propagate_state(states[k], dt[i], state)
            out[k, i] = state[:3]


@kernel
def _propagate_many_partials(state: FloatArray, dt: FloatArray, out: FloatArray, transition: FloatArray) -> None:
    for i in range(dt.size):
        propagate_state_partials(state, dt[i], out[i], transition[i])


@kernel
def propagate_state_partials(state: FloatArray, dt: float, out: FloatArray, transition: FloatArray) -> None:
    """Write the state (6,) after dt days and its state transition matrix (6, 6)."""
    conic = _conic_after(state, dt, out)
    position_partials(state, out, conic, transition[:3])
    velocity_partials(state, out, conic, transition[3:])


@kernel
def propagate_position_partials(state: FloatArray, dt: float, out: FloatArray, partials: FloatArray) -> None:
    """Write the state (6,) after dt days and the partials (3, 6) of its position alone: all that astrometry needs."""
    conic = _conic_after(state, dt, out)
    position_partials(state, out, conic, partials)


@kernel
def _conic_after(state: FloatArray, dt: float, out: FloatArray) -> tuple[float, float, float, float, float, float]:
    r"""Write the state after dt days, and return what the partials need: r0, r, U1, U2, g and Battin's C.

    Notes
    -----
    C = (3 U5 - chi U4) / sqrt(mu) - dt U2 (Battin 1999, eq. 9.74). Whole revolutions, which the other quantities do
    not see, change C by -3 a times their duration: a wrong semi-major axis adds up.
    """
    r0, sigma0, alpha = _invariants(state)
    remainder = _within_half_a_period(alpha, dt)
    chi = universal_anomaly(r0, sigma0, alpha, remainder)
    psi = alpha * chi * chi
    c2, c3, c4, c5 = stumpff(psi)
    _state_from_f_and_g(state, r0, sigma0, chi, psi, c2, c3, out)
    u1 = chi * (1.0 - psi * c3)
    u2 = chi * chi * c2
    c = chi**5 * (3.0 * c5 - c4) / SQRT_MU - remainder * u2
    if remainder != dt:
        c -= 3.0 * (dt - remainder) / alpha
    return r0, r0 * (1.0 - psi * c2) + sigma0 * u1 + u2, u1, u2, (r0 * u1 + sigma0 * u2) / SQRT_MU, c


@kernel
def position_partials(
    first: FloatArray, last: FloatArray, conic: tuple[float, float, float, float, float, float], out: FloatArray
) -> None:
    """Write d(r)/d(r0) and d(r)/d(v0), shape (3, 6) (Battin 1999, eq. 9.84-9.85; his r0 (1 - f) is U2)."""
    r0, r, _u1, u2, g, c = conic
    f = 1.0 - u2 / r0
    r0_cubed = r0 * r0 * r0
    for a in range(3):
        ra, va = last[a], last[a + 3]
        dra, dva = ra - first[a], va - first[a + 3]
        along = (u2 * ra + c * va) / r0_cubed
        for b in range(3):
            dvb = last[b + 3] - first[b + 3]
            out[a, b] = r / MU_SUN * dva * dvb + along * first[b]
            out[a, b + 3] = (u2 * (dra * first[b + 3] - dva * first[b]) + c * va * first[b + 3]) / MU_SUN
        out[a, a] += f
        out[a, a + 3] += g


@kernel
def velocity_partials(
    first: FloatArray, last: FloatArray, conic: tuple[float, float, float, float, float, float], out: FloatArray
) -> None:
    """Write d(v)/d(r0) and d(v)/d(v0), shape (3, 6) (Battin 1999, eq. 9.86-9.87)."""
    r0, r, u1, u2, _g, c = conic
    f_dot = -SQRT_MU * u1 / (r * r0)
    r_squared, r_cubed, r0_cubed = r * r, r**3, r0**3
    r_dot_v = last[0] * last[3] + last[1] * last[4] + last[2] * last[5]
    for a in range(3):
        ra, va = last[a], last[a + 3]
        dva = va - first[a + 3]
        # Battin's (r v^T - v r^T) r / (mu r), component a.
        turning = (ra * r_dot_v - va * r_squared) / (MU_SUN * r)
        for b in range(3):
            r0b, v0b = first[b], first[b + 3]
            dvb = last[b + 3] - v0b
            out[a, b] = (
                -dva * r0b / (r0 * r0)
                - ra * dvb / r_squared
                + f_dot * (turning * dvb - ra * last[b] / r_squared)
                - MU_SUN * c / (r_cubed * r0_cubed) * ra * r0b
            )
            out[a, b + 3] = r0 / MU_SUN * dva * dvb + ra * (u2 * r0b - c * v0b) / r_cubed
        out[a, a] += f_dot
        out[a, a + 3] += 1.0 - u2 / r
