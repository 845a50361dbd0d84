"""Synthetic skies: orbits of a population, and what telescopes see of them.

Positions come from ASSIST (n-body, JPL DE440) and states from adam-core, so that the truth does not depend on the
engine under test. Frame: heliocentric ecliptic J2000; epochs TDB.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
from adam_assist import ASSISTPropagator
from adam_core.coordinates import (
    CartesianCoordinates,
    KeplerianCoordinates,
    Origin,
    OriginCodes,
    transform_coordinates,
)
from adam_core.observers import Observers
from adam_core.orbits import Orbits
from adam_core.time import Timestamp

from tasks.engines.tables import OBSERVATIONS, TEST_ORBITS

OBLIQUITY_RAD = np.radians(84381.448 / 3600)
AXES = ("x", "y", "z", "vx", "vy", "vz")
GM_SUN = 0.29591220828411951e-3  # au^3 / d^2, DE440

Vectors = np.ndarray


@dataclass(frozen=True)
class Exposures:
    """e exposures, ascending in time."""

    mjd_utc: Vectors
    observatory_code: Vectors
    #: Centre, ICRF unit vectors in ecliptic components, shape (e, 3).
    centre: Vectors
    radius_deg: float

    def observers(self) -> Observers:
        return Observers.from_codes(
            self.observatory_code.tolist(), Timestamp.from_mjd(np.asarray(self.mjd_utc), scale="utc")
        )


@dataclass(frozen=True)
class Sky:
    """Positions of o objects at e exposures, unit vectors in ecliptic components, shape (o, e, 3)."""

    object_ids: list[str]
    direction: Vectors
    #: Distances from the observer, au, shape (o, e).
    distance: Vectors


@cache
def assist() -> ASSISTPropagator:
    return ASSISTPropagator()


def orbits_from_states(ids: list[str], states: Vectors, epoch_mjd_tdb: float) -> Orbits:
    n = len(ids)
    coordinates = CartesianCoordinates.from_kwargs(
        **dict(zip(AXES, states.T, strict=True)),
        time=Timestamp.from_mjd(np.full(n, epoch_mjd_tdb), scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"] * n),
        frame="ecliptic",
    )
    return Orbits.from_kwargs(orbit_id=ids, object_id=ids, coordinates=coordinates)


def states_from_elements(elements: pd.DataFrame, epoch_mjd_tdb: float) -> Vectors:
    """Columns a (au), e, i, raan, ap, M (deg) -> shape (n, 6)."""
    n = len(elements)
    keplerian = KeplerianCoordinates.from_kwargs(
        **{name: elements[name].to_numpy() for name in ("a", "e", "i", "raan", "ap", "M")},
        time=Timestamp.from_mjd(np.full(n, epoch_mjd_tdb), scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"] * n),
        frame="ecliptic",
    )
    return keplerian.to_cartesian().values


def states_at(orbits: Orbits, epoch_mjd_tdb: float) -> Vectors:
    """States by ASSIST at one epoch, in the order of the orbits, shape (n, 6)."""
    moved = assist().propagate_orbits(orbits, Timestamp.from_mjd([epoch_mjd_tdb], scale="tdb"))
    coordinates = transform_coordinates(
        moved.coordinates, representation_out=CartesianCoordinates, frame_out="ecliptic", origin_out=OriginCodes.SUN
    )
    row = {name: number for number, name in enumerate(moved.orbit_id.to_pylist())}
    return coordinates.values[[row[name] for name in orbits.orbit_id.to_pylist()]]


def sky_of(orbits: Orbits, exposures: Exposures) -> Sky:
    """Astrometric positions (light time, no stellar aberration) of all orbits at all exposures, by ASSIST."""
    ids = orbits.orbit_id.to_pylist()
    ephemeris = assist().generate_ephemeris(orbits, exposures.observers(), predict_magnitudes=False)
    shape = (len(ids), len(exposures.mjd_utc))
    rho, lon, lat = (
        getattr(ephemeris.coordinates, name).to_numpy(zero_copy_only=False).reshape(shape)
        for name in ("rho", "lon", "lat")
    )
    seen = np.asarray(ephemeris.orbit_id.to_pylist()).reshape(shape)[:, 0]
    order = {name: number for number, name in enumerate(seen)}
    rows = [order[name] for name in ids]
    return Sky(ids, unit_from_radec(lon[rows], lat[rows]), rho[rows])


def unit_from_radec(ra_deg: Vectors, dec_deg: Vectors) -> Vectors:
    """ICRF angles -> unit vectors in ecliptic components."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    x, y, z = np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)
    c, s = np.cos(OBLIQUITY_RAD), np.sin(OBLIQUITY_RAD)
    return np.stack([x, y * c + z * s, z * c - y * s], axis=-1)


def radec_from_unit(unit: Vectors) -> tuple[Vectors, Vectors]:
    c, s = np.cos(OBLIQUITY_RAD), np.sin(OBLIQUITY_RAD)
    x, y, z = unit[..., 0], unit[..., 1] * c - unit[..., 2] * s, unit[..., 1] * s + unit[..., 2] * c
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(np.clip(z, -1, 1)))


def scattered(unit: Vectors, offsets_deg: Vectors) -> Vectors:
    """Unit vectors moved by small angles (..., 2) along two tangent directions."""
    pole = np.array([0.0, 0.0, 1.0])
    first = np.cross(pole, unit)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(unit, first)
    angles = np.radians(offsets_deg)
    moved = unit + angles[..., :1] * first + angles[..., 1:] * second
    return moved / np.linalg.norm(moved, axis=-1, keepdims=True)


def separation_deg(one: Vectors, other: Vectors) -> Vectors:
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(one - other, axis=-1) / 2, 0, 1)))


def uniform_in_disc(count: int, radius_deg: float, rng: np.random.Generator) -> Vectors:
    radius, angle = radius_deg * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def observed(sky: Sky, exposures: Exposures, *, efficiency: float, rng: np.random.Generator) -> pd.DataFrame:
    """Detections of the objects inside the exposures, without noise: object, exposure, x, y, z."""
    inside = separation_deg(sky.direction, exposures.centre[None]) < exposures.radius_deg
    inside &= rng.uniform(size=inside.shape) < efficiency
    row, exposure = np.nonzero(inside)
    unit = sky.direction[row, exposure]
    names = np.asarray(sky.object_ids, dtype=object)[row]
    return pd.DataFrame({"object_id": names, "exposure": exposure, **dict(zip("xyz", unit.T, strict=True))})


def tables_from_detections(
    detections: pd.DataFrame, exposures: Exposures, *, noise_arcsec: float, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Add noise and ids: (`tables.OBSERVATIONS` in order of time, truth obs_id -> object_id).

    Columns `mag` and `noise_arcsec` say of each detection what is otherwise drawn, or the same for all.
    """
    detections = detections.iloc[rng.permutation(len(detections))].sort_values("exposure", kind="stable")
    exposure = detections["exposure"].to_numpy()
    sigma = np.full(len(detections), noise_arcsec) / 3600
    if "noise_arcsec" in detections:
        sigma = detections["noise_arcsec"].to_numpy() / 3600
    unit = scattered(detections[["x", "y", "z"]].to_numpy(), sigma[:, None] * rng.standard_normal((len(detections), 2)))
    ra, dec = radec_from_unit(unit)
    ids = [f"d{number:07d}" for number in range(len(detections))]
    observations = pa.table(
        {
            "obs_id": ids,
            "mjd_utc": exposures.mjd_utc[exposure],
            "RA_deg": ra,
            "Dec_deg": dec,
            "RA_sigma_deg": sigma,
            "Dec_sigma_deg": sigma,
            "observatory_code": exposures.observatory_code[exposure].tolist(),
            "mag": detections["mag"].to_numpy() if "mag" in detections else rng.uniform(18.0, 24.0, len(ids)),
            "mag_sigma": np.full(len(ids), 0.1),
            "filter": ["r"] * len(ids),
            "exposure_id": [f"e{number:05d}" for number in exposure],
            "night_id": pa.nulls(len(ids), pa.string()),
        },
        schema=OBSERVATIONS,
    )
    truth = pa.table(
        {"obs_id": ids, "object_id": pa.array(detections["object_id"].to_numpy(), pa.string(), from_pandas=True)}
    )
    return observations, truth


def orbit_table(ids: list[str], states: Vectors, epoch_mjd_tdb: float) -> pa.Table:
    """Rows of `tables.TEST_ORBITS`, without covariance."""
    return pa.table(
        {
            "orbit_id": ids,
            "epoch": np.full(len(ids), epoch_mjd_tdb),
            **dict(zip(AXES, np.atleast_2d(states).T, strict=True)),
            "covariance": pa.nulls(len(ids), TEST_ORBITS.field("covariance").type),
        },
        schema=TEST_ORBITS,
    )
