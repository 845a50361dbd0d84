r"""How fast and how curved a track in the plane may be: from the test orbit's own motion, not from a survey.

An object of the cell differs from the test orbit in velocity, by a fraction of the circular speed, and in distance
from the observer, by a fraction of the test orbit's. A wrong distance turns the observer's motion into apparent
motion: with x = q + rho n and kappa = rho / rho' - 1, the assumed place is x = X + kappa (X - q), so that kappa times
the relative velocity and acceleration of object and observer are seen on top of the object's own.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body_partials
from tasks.engines.builtin.linking.orbit_path import OrbitPath, OrbitState
from tasks.engines.settings import ClusterAndLinkSettings

FloatArray = NDArray[np.float64]

EARTH_RADIUS_AU = 4.26352e-5
"""Equatorial radius of the Earth, au: the arm of diurnal parallax."""

RADIAL_SPREAD = 0.3
"""Largest radial velocity by which an object differs from the test orbit, in circular speeds: about an eccentricity."""

EARTH_YEARLY_RATE = 2.0 * math.pi / 365.25
"""Angular rate of the observer about the Sun, radians / day."""


class TrackBounds(NamedTuple):
    """Largest derivatives of a track in the plane, deg and days, and what parallax may add to a place."""

    #: deg / d, deg / d^2, deg / d^3.
    speed: float
    acceleration: float
    jerk: float
    #: Amplitude of the diurnal parallax that a wrong distance leaves, deg.
    parallax: float


_SPREADS = 0.01, 1.0
"""Narrowest and widest spread from a covariance. Narrower ones would leave no room for what a cubic does not follow;
wider ones say that nothing is known, and windows as wide find nothing but chance."""

LARGEST_SECANT = 1.3
"""1 / cos(phase angle) of 40 deg. Some degrees farther, towards the rim of the sphere, tracks on it become curved."""


def secant_of_phase_angle(path: OrbitPath) -> FloatArray:
    """Return 1 / |cos(phase angle)| of the test orbit at each exposure, shape (k,)."""
    r = np.linalg.norm(path.states[:, :3], axis=1)
    cosine = np.abs(np.einsum("ij,ij->i", path.states[:, :3], path.line_of_sight)) / r
    secant: FloatArray = 1.0 / np.maximum(cosine, 1e-9)
    return secant


def with_spreads_of_covariance(
    settings: ClusterAndLinkSettings, orbit: OrbitState, path: OrbitPath, sigmas: float
) -> ClusterAndLinkSettings:
    r"""Return the settings with the spreads that a test orbit's covariance states; without one, as they are.

    Parameters
    ----------
    path
        The test orbit at the exposures that its cell meets.
    sigmas
        Mahalanobis distance of the cell's edge.

    Notes
    -----
    With C(t) = Phi P Phi^T: the distance spread is sigmas times the sigma along the line of sight over the distance,
    the speed spread sigmas times the largest sigma of the velocity over the circular speed. The largest over the
    exposures counts, within `_SPREADS`.
    """
    if orbit.covariance is None:
        return settings
    _, transition = propagate_two_body_partials(orbit.state, path.emission_mjd_tdb - orbit.epoch_mjd_tdb)
    covariances = transition @ orbit.covariance @ transition.transpose(0, 2, 1)
    along = np.einsum("ka,kab,kb->k", path.line_of_sight, covariances[:, :3, :3], path.line_of_sight)
    fastest = np.linalg.eigvalsh(covariances[:, 3:, 3:])[:, -1]
    circular = np.sqrt(MU_SUN / np.linalg.norm(path.states[:, :3], axis=1))
    distance_spread = sigmas * float((np.sqrt(np.maximum(along, 0.0)) / path.distance).max())
    speed_spread = sigmas * float((np.sqrt(np.maximum(fastest, 0.0)) / circular).max())
    return replace(
        settings,
        speed_spread=min(max(speed_spread, _SPREADS[0]), _SPREADS[1]),
        distance_spread=min(max(distance_spread, _SPREADS[0]), _SPREADS[1]),
    )


def has_high_phase_angle(path: OrbitPath) -> bool:
    """Return whether the test orbit is seen so much from the side that its sphere is no place to project on."""
    return bool((secant_of_phase_angle(path) > LARGEST_SECANT).any())


def bounds_of_path(
    path: OrbitPath,
    observer_position: FloatArray,
    observer_velocity: FloatArray,
    settings: ClusterAndLinkSettings,
) -> TrackBounds:
    r"""Bound the tracks of the objects about a test orbit.

    Parameters
    ----------
    path
        The test orbit at k exposures.
    observer_position, observer_velocity : shape (k, 3)
        Observers at the exposures, heliocentric ecliptic, au and au/d.
    settings
        `speed_spread` s and `distance_spread` f.

    Notes
    -----
    With n^2 = mu / r^3, relative velocity V and acceleration A of test orbit and observer, and e the share of the
    circular speed that is radial (`RADIAL_SPREAD`, or s where that is less): speed s n r + f V; acceleration
    2 e n^2 r + f A (the first is the Coriolis term of Hill's equations, Hill 1878, Am. J. Math. 1, 5); jerk
    3 e n^3 r + f (|q''| n_E + 3 A V / rho), the last term because kappa itself changes as rho'' / rho. All divided by
    r. Along a line of sight that meets the sphere of radius r at a high phase angle, what comes from f grows by
    1 / cos(phase angle). On the plane across the line of sight it does not, but the plane turns with the line, by
    V / rho, on top of n. The largest over the exposures counts.
    """
    s = settings.speed_spread
    high_phase_angle = has_high_phase_angle(path)
    f = settings.distance_spread * (1.0 if high_phase_angle else secant_of_phase_angle(path))
    r = np.linalg.norm(path.states[:, :3], axis=1)
    n = np.sqrt(MU_SUN / r**3)
    own_gravity = path.states[:, :3] / r[:, None] ** 3
    q = np.linalg.norm(observer_position, axis=1)
    V = np.linalg.norm(path.states[:, 3:] - observer_velocity, axis=1)
    A = MU_SUN * np.linalg.norm(own_gravity - observer_position / q[:, None] ** 3, axis=1)
    speed = s * n + f * V / r
    turning = n + V / path.distance if high_phase_angle else n
    e = min(RADIAL_SPREAD, s)
    acceleration = 2.0 * e * n * turning + f * A / r
    jerk = 3.0 * e * n * turning**2 + f * (MU_SUN / q**2 * EARTH_YEARLY_RATE + 3.0 * A * V / path.distance) / r
    largest = np.degrees([speed.max(), acceleration.max(), jerk.max(), (f * EARTH_RADIUS_AU / r).max()])
    chosen = settings.max_speed_deg_per_day
    return TrackBounds(
        speed=chosen if chosen > 0.0 else float(largest[0]),
        acceleration=float(largest[1]),
        jerk=float(largest[2]),
        parallax=float(largest[3]),
    )
