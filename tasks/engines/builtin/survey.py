"""Prepared observations: unit vectors, exposures, nights and observer states, as plain arrays.

Made once per job by `prepare_survey`, shared read-only by every test orbit. Rows keep the order of the input table.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import sky_basis
from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitudes_deg, observer_states
from tasks.engines.builtin.observations_check import check_observations, conform_observations
from tasks.engines.settings import EngineSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class PreparedSurvey:
    """n detections in e exposures. An exposure is one observatory at one time (or one exposure_id at one time).

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
    codes = table["observatory_code"].combine_chunks().dictionary_encode()
    exposure, first_rows = _exposures(table, codes)
    mjd_utc = _floats(table["mjd_utc"])[first_rows]
    observers = _observers(codes.take(pa.array(first_rows)), mjd_utc)
    counts = np.bincount(exposure, minlength=len(first_rows))
    ra_deg, dec_deg = _floats(table["RA_deg"]), _floats(table["Dec_deg"])
    line_of_sight, east, north = (np.empty((len(ra_deg), 3)) for _ in range(3))
    sky_basis(ra_deg, dec_deg, line_of_sight, east, north)
    return PreparedSurvey(
        obs_ids=table["obs_id"].combine_chunks(),
        observatory_codes=codes,
        exposure=exposure,
        line_of_sight=line_of_sight,
        east=east,
        north=north,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        sigma_ra_rad=_sigma_rad(table["RA_sigma_deg"], settings),
        sigma_dec_rad=_sigma_rad(table["Dec_sigma_deg"], settings),
        mag=_floats(table["mag"]),
        exposure_mjd_utc=mjd_utc,
        exposure_mjd_tdb=observers.mjd_tdb,
        exposure_night=_nights(table, codes, first_rows, mjd_utc),
        exposure_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        by_exposure=np.argsort(exposure, kind="stable").astype(np.int32),
        observer_position=observers.position,
        observer_velocity=observers.velocity,
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


def _codes_of_strings(column: pa.ChunkedArray | pa.Array) -> WideIndexArray:
    """Give each distinct string a number; null is a value of its own."""
    array = column if isinstance(column, pa.Array) else column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode(null_encoding="encode")
    numbers: WideIndexArray = array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _ranks(strings: pa.Array) -> WideIndexArray:
    """Place of each string in their lexical order."""
    return np.argsort(np.argsort(strings.to_numpy(zero_copy_only=False), kind="stable"))


def _numbered(*keys: WideIndexArray) -> tuple[WideIndexArray, WideIndexArray]:
    """Give each distinct tuple of keys a number, in lexical order; return the numbers and each number's first row."""
    combined = keys[0]
    for key in keys[1:]:
        combined = combined * (int(key.max(initial=0)) + 1) + key
    _, first_rows, numbers = np.unique(combined, return_index=True, return_inverse=True)
    return numbers, first_rows


def _exposures(table: pa.Table, codes: pa.DictionaryArray) -> tuple[IndexArray, WideIndexArray]:
    """Find the exposures, in order of time, then observatory; return each detection's, and a row of each."""
    _, time_number = np.unique(_floats(table["mjd_utc"]), return_inverse=True)
    # Numbers by order of the strings, not of their appearance: the exposures must not depend on the order of rows.
    keys = [time_number.astype(np.int64), _ranks(codes.dictionary)[_codes_of_strings(codes)]]
    if table["exposure_id"].null_count < len(table):
        names = table["exposure_id"].combine_chunks().dictionary_encode(null_encoding="encode")
        keys.append(_ranks(names.dictionary.fill_null(""))[_codes_of_strings(names)])
    numbers, first_rows = _numbered(*keys)
    return numbers.astype(np.int32), first_rows


@dataclass(frozen=True)
class _Observers:
    mjd_tdb: FloatArray
    position: FloatArray
    velocity: FloatArray


def _observers(codes: pa.DictionaryArray, mjd_utc: FloatArray) -> _Observers:
    """State of each exposure's observer; those of one observatory at one time are computed once."""
    _, time_number = np.unique(mjd_utc, return_inverse=True)
    numbers, first_rows = _numbered(time_number.astype(np.int64), _codes_of_strings(codes))
    states = observer_states(codes.take(pa.array(first_rows)).cast(pa.string()), mjd_utc[first_rows])
    return _Observers(states.mjd_tdb[numbers], states.position[numbers], states.velocity[numbers])


def _nights(table: pa.Table, codes: pa.DictionaryArray, first_rows: WideIndexArray, mjd_utc: FloatArray) -> IndexArray:
    """Give each exposure its night's number: by `night_id` where there is one, else by local solar noon."""
    rows = pa.array(first_rows)
    code_numbers = _codes_of_strings(codes)[first_rows]
    longitudes = longitudes_deg()
    longitude = np.array([longitudes[code] for code in codes.dictionary.to_pylist()])[code_numbers]
    solar = solar_nights(mjd_utc, longitude)
    named = table["night_id"].take(rows)
    has_name = named.is_valid().to_numpy()
    # A night has either a name or a date; the other key is 0.
    name_numbers = np.where(has_name, _codes_of_strings(named) + 1, 0)
    dates = np.where(has_name, 0, solar - solar.min() + 1)
    numbers, _ = _numbered(code_numbers, name_numbers, dates)
    return _in_order_of_first(numbers)


def _in_order_of_first(numbers: WideIndexArray) -> IndexArray:
    """Renumber by first appearance; exposures ascend in time, so nights then do."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)
