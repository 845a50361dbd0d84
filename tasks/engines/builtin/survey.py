"""Prepared observations: unit vectors, exposures, nights and observer states, as plain arrays.

Made once per job by `prepare_survey`, shared read-only by every test orbit. Rows keep the order of the input table.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import sky_basis
from tasks.engines.builtin.exposures import exposures_of_table
from tasks.engines.builtin.observations_check import check_observations, conform_observations
from tasks.engines.settings import EngineSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class PreparedSurvey:
    """n detections in e exposures (see `Exposures`).

    Frame: heliocentric ecliptic J2000 unless said otherwise. The line of sight is the observed, astrometric one.
    """

    #: shape (n,), strings.
    obs_ids: pa.Array
    #: shape (n,), strings: only for outputs.
    observatory_codes: pa.Array
    #: shape (n,): row of the detection's exposure in the exposure_* arrays.
    exposure: IndexArray
    #: shape (n, 3): unit vector from the observer to the detection.
    line_of_sight: FloatArray
    #: shape (n, 3): unit vectors of local east and north (ICRF directions, in ecliptic components).
    east: FloatArray
    north: FloatArray
    #: shape (n,): ICRF, deg.
    ra_deg: FloatArray
    dec_deg: FloatArray
    #: shape (n,): 1-sigma in RA cos(Dec) and in Dec, radians.
    sigma_ra_rad: FloatArray
    sigma_dec_rad: FloatArray
    #: shape (n,): magnitude, NaN where not measured.
    mag: FloatArray
    #: shape (e,), ascending in time.
    exposure_mjd_utc: FloatArray
    exposure_mjd_tdb: FloatArray
    #: shape (e,): number of the night, 0-based, ascending in time; nights of two observatories differ.
    exposure_night: IndexArray
    #: shape (e,): number of the night of the sky, see `Exposures.sky_night`.
    exposure_sky_night: IndexArray
    #: shape (e,): detections of exposure k are rows `by_exposure[exposure_start[k]:exposure_start[k + 1]]`.
    exposure_start: IndexArray
    by_exposure: IndexArray
    #: shape (e, 3), au and au/day: observer.
    observer_position: FloatArray
    observer_velocity: FloatArray

    @property
    def n_detections(self) -> int:
        """Number of detections."""
        return len(self.exposure)

    @property
    def n_exposures(self) -> int:
        """Number of exposures."""
        return len(self.exposure_mjd_utc)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, bytes."""
        return sum(int(value.nbytes) for value in vars(self).values())


def prepare_survey(observations: pa.Table, settings: EngineSettings) -> PreparedSurvey:
    """Check the observations and compute what all test orbits share.

    Parameters
    ----------
    observations
        Columns of `tables.OBSERVATIONS`; optional ones may be absent. Any order of rows.
    settings
        Its `default_sigma_deg` stands in for uncertainties that are null.

    Raises
    ------
    EngineInputError
        As `check_observations` does.
    """
    table = conform_observations(observations)
    check_observations(table)
    exposures = exposures_of_table(table)
    counts = np.bincount(exposures.of_detection, minlength=len(exposures))
    ra_deg, dec_deg = _floats(table["RA_deg"]), _floats(table["Dec_deg"])
    line_of_sight, east, north = (np.empty((len(ra_deg), 3)) for _ in range(3))
    sky_basis(ra_deg, dec_deg, line_of_sight, east, north)
    return PreparedSurvey(
        obs_ids=table["obs_id"].combine_chunks(),
        observatory_codes=exposures.codes,
        exposure=exposures.of_detection,
        line_of_sight=line_of_sight,
        east=east,
        north=north,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        sigma_ra_rad=_sigma_rad(table["RA_sigma_deg"], settings),
        sigma_dec_rad=_sigma_rad(table["Dec_sigma_deg"], settings),
        mag=_floats(table["mag"]),
        exposure_mjd_utc=exposures.mjd_utc,
        exposure_mjd_tdb=exposures.mjd_tdb,
        exposure_night=exposures.night,
        exposure_sky_night=exposures.sky_night,
        exposure_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        by_exposure=np.argsort(exposures.of_detection, kind="stable").astype(np.int32),
        observer_position=exposures.observer_position,
        observer_velocity=exposures.observer_velocity,
    )


def _floats(column: pa.ChunkedArray) -> FloatArray:
    """Nulls become NaN."""
    values: FloatArray = column.to_numpy()
    return np.ascontiguousarray(values, dtype=np.float64)


def _sigma_rad(column: pa.ChunkedArray, settings: EngineSettings) -> FloatArray:
    sigma = np.radians(_floats(column))
    missing = np.isnan(sigma)
    if missing.any():
        sigma = np.where(missing, np.radians(settings.default_sigma_deg), sigma)
    return sigma
