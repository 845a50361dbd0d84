r"""Directions and frames: equatorial to ecliptic, the local basis on the sky, the test orbit's frame, its plane.

The test orbit's frame has +x from the Sun to the test orbit and +z along its orbit normal; the gnomonic plane touches
the celestial sphere, seen from the Sun, at +x. Source: Moeyens et al. 2021, AJ 162, 143, section 2.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import OBLIQUITY_J2000
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]

COS_OBLIQUITY = math.cos(OBLIQUITY_J2000)
SIN_OBLIQUITY = math.sin(OBLIQUITY_J2000)
DEG_PER_RAD = 180.0 / math.pi


def ecliptic_from_equatorial(vectors: FloatArray) -> FloatArray:
    """Rotate equatorial (ICRF) vectors, shape (n, 3), into the ecliptic of J2000."""
    x, y, z = vectors.T
    return np.column_stack([x, y * COS_OBLIQUITY + z * SIN_OBLIQUITY, z * COS_OBLIQUITY - y * SIN_OBLIQUITY])


def ecliptic_covariances(covariances: FloatArray) -> FloatArray:
    """Rotate covariances of equatorial states, shape (m, 6, 6), into the ecliptic of J2000."""
    turn = np.kron(np.eye(2), ecliptic_from_equatorial(np.eye(3)).T)
    turned: FloatArray = turn @ covariances @ turn.T
    return 0.5 * (turned + turned.transpose(0, 2, 1))


def equatorial_from_ecliptic(vectors: FloatArray) -> FloatArray:
    """Rotate vectors of the ecliptic of J2000, shape (n, 3), into the equatorial frame (ICRF)."""
    x, y, z = vectors.T
    return np.column_stack([x, y * COS_OBLIQUITY - z * SIN_OBLIQUITY, z * COS_OBLIQUITY + y * SIN_OBLIQUITY])


@kernel
def sky_basis(ra_deg: FloatArray, dec_deg: FloatArray, toward: FloatArray, east: FloatArray, north: FloatArray) -> None:
    """Write, in ecliptic components, each detection's unit vectors toward it and to its local east and north.

    Parameters
    ----------
    ra_deg, dec_deg : shape (n,)
        ICRF, deg.
    toward, east, north : shape (n, 3)
        Outputs. East is the direction of growing right ascension, north of growing declination; at a pole, where
        neither is defined, they are the limits along the meridian of `ra_deg`.
    """
    for i in range(ra_deg.size):
        ra, dec = ra_deg[i] / DEG_PER_RAD, dec_deg[i] / DEG_PER_RAD
        cos_ra, sin_ra, cos_dec, sin_dec = math.cos(ra), math.sin(ra), math.cos(dec), math.sin(dec)
        _write_ecliptic(toward[i], cos_dec * cos_ra, cos_dec * sin_ra, sin_dec)
        _write_ecliptic(east[i], -sin_ra, cos_ra, 0.0)
        _write_ecliptic(north[i], -sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec)


@kernel
def _write_ecliptic(out: FloatArray, x: float, y: float, z: float) -> None:
    out[0] = x
    out[1] = y * COS_OBLIQUITY + z * SIN_OBLIQUITY
    out[2] = z * COS_OBLIQUITY - y * SIN_OBLIQUITY


def rotations_to_test_orbit(states: FloatArray) -> FloatArray:
    r"""Return the rotations that take each r to +x and the orbit normal r x v to +z.

    Parameters
    ----------
    states : shape (k, 6)
        Test orbit, heliocentric ecliptic J2000, au and au/d; r and v must not be parallel.

    Returns
    -------
    rotations : shape (k, 3, 3)
        `rotations[i] @ x` has the components of x in the test orbit's frame.

    Notes
    -----
    This is R2 R1 of Moeyens et al. 2021 (their section 2.3): R1 about the line of nodes takes the normal to +z, R2
    about +z takes r to +x. The product is the one rotation that does both, so its rows are r_hat, n_hat x r_hat and
    n_hat; R1 itself does not exist for an orbit in the ecliptic run backwards, this does.
    """
    r, v = states[:, :3], states[:, 3:]
    r_hat = r / np.linalg.norm(r, axis=1)[:, None]
    normal = np.cross(r, v)
    n_hat = normal / np.linalg.norm(normal, axis=1)[:, None]
    return np.stack([r_hat, np.cross(n_hat, r_hat), n_hat], axis=1)


def gnomonic_projection(positions: FloatArray) -> FloatArray:
    """Project positions in the test orbit's frame, shape (n, 3), on its plane: (y / x, z / x) in degrees, shape (n, 2).

    Degrees by scale, not by angle: the plane's unit is the tangent. Positions must have x > 0, that is lie less than
    90 deg from the test orbit as seen from the Sun.
    """
    theta_deg: FloatArray = positions[:, 1:] / positions[:, :1] * DEG_PER_RAD
    return theta_deg


def directions_from_gnomonic(theta_deg: FloatArray) -> FloatArray:
    """Return the unit vectors, shape (n, 3), in the test orbit's frame: the inverse of `gnomonic_projection`."""
    y, z = (theta_deg / DEG_PER_RAD).T
    vectors = np.column_stack([np.ones_like(y), y, z])
    directions: FloatArray = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return directions
