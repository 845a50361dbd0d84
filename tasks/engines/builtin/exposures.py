"""Exposures: which detections were taken together, when, by whom, in which night."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitude_deg, observer_states, positions_of_table

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Exposures:
    """e exposures of n detections, ascending in time, then by observatory.

    An exposure is one observatory at one time (or one exposure_id at one time).
    """

    #: shape (n,): number of each detection's exposure.
    of_detection: IndexArray
    #: shape (e,): row of its first detection.
    first_row: WideIndexArray
    #: shape (n,): each detection's observatory.
    codes: pa.DictionaryArray
    #: shape (e,)
    mjd_utc: FloatArray
    mjd_tdb: FloatArray
    #: shape (e,): number of the night, 0-based, ascending in time; nights of two observatories differ.
    night: IndexArray
    #: shape (e,): number of the night of the sky, 0-based, ascending: what several observatories see between one local
    #: noon and the next is one.
    sky_night: IndexArray
    #: shape (e, 3), heliocentric ecliptic J2000, au and au/day: observer.
    observer_position: FloatArray
    observer_velocity: FloatArray

    def __len__(self) -> int:
        """Return the number of exposures."""
        return len(self.mjd_utc)


def exposures_of_table(table: pa.Table) -> Exposures:
    """Find the exposures of checked observations, whatever the order of the rows.

    Parameters
    ----------
    table
        Columns mjd_utc, observatory_code, exposure_id, night_id of `tables.OBSERVATIONS`; the last two may be null.
        Of `tables.OBSERVER_POSITION`, if there; of an exposure the first detection's holds.
    """
    codes = table["observatory_code"].combine_chunks().dictionary_encode()
    numbers, first_rows = _exposures(table, codes)
    mjd_utc = table["mjd_utc"].to_numpy()[first_rows]
    positions = positions_of_table(table)
    observers = _observers(
        codes.take(pa.array(first_rows)), mjd_utc, None if positions is None else positions[first_rows]
    )
    night, sky_night = _nights(table, codes, first_rows, mjd_utc)
    return Exposures(
        of_detection=numbers,
        first_row=first_rows,
        codes=codes,
        mjd_utc=mjd_utc,
        mjd_tdb=observers.mjd_tdb,
        night=night,
        sky_night=sky_night,
        observer_position=observers.position,
        observer_velocity=observers.velocity,
    )


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


def numbered(values: NDArray[np.generic]) -> tuple[WideIndexArray, NDArray[np.generic]]:
    """Give each distinct value a number, ascending with the value; return the numbers, and the distinct values.

    As `numpy.unique` does, by hashing: of ten million values few are distinct, and sorting them all takes long.
    """
    encoded = pa.array(values).dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(distinct)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], distinct[order]


def _tuples_numbered(*keys: WideIndexArray) -> tuple[WideIndexArray, WideIndexArray]:
    """Give each distinct tuple of keys a number, in lexical order; return the numbers and each number's first row."""
    combined = keys[0]
    for key in keys[1:]:
        combined = combined * (int(key.max(initial=0)) + 1) + key
    numbers, distinct = numbered(combined)
    first_rows = np.empty(len(distinct), dtype=np.int64)
    first_rows[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)  # of rows with one number the first is set last
    return numbers, first_rows


def _exposures(table: pa.Table, codes: pa.DictionaryArray) -> tuple[IndexArray, WideIndexArray]:
    """Find the exposures, in order of time, then observatory; return each detection's, and a row of each."""
    time_number, _ = numbered(table["mjd_utc"].to_numpy())
    # Numbers by order of the strings, not of their appearance: the exposures must not depend on the order of rows.
    keys = [time_number, _ranks(codes.dictionary)[_codes_of_strings(codes)]]
    if table["exposure_id"].null_count < len(table):
        names = table["exposure_id"].combine_chunks().dictionary_encode(null_encoding="encode")
        keys.append(_ranks(names.dictionary.fill_null(""))[_codes_of_strings(names)])
    numbers, first_rows = _tuples_numbered(*keys)
    return numbers.astype(np.int32), first_rows


@dataclass(frozen=True)
class _Observers:
    mjd_tdb: FloatArray
    position: FloatArray
    velocity: FloatArray


def _observers(codes: pa.DictionaryArray, mjd_utc: FloatArray, positions_au: FloatArray | None) -> _Observers:
    """State of each exposure's observer; those of one observatory at one time are computed once."""
    time_number, _ = numbered(mjd_utc)
    numbers, first_rows = _tuples_numbered(time_number, _codes_of_strings(codes))
    own = None if positions_au is None else positions_au[first_rows]
    states = observer_states(codes.take(pa.array(first_rows)).cast(pa.string()), mjd_utc[first_rows], own)
    return _Observers(states.mjd_tdb[numbers], states.position[numbers], states.velocity[numbers])


def _nights(
    table: pa.Table, codes: pa.DictionaryArray, first_rows: WideIndexArray, mjd_utc: FloatArray
) -> tuple[IndexArray, IndexArray]:
    """Give each exposure its night's number, by `night_id` where there is one, else by local solar noon; and the sky's.

    A night of the sky is the local date on which an observatory's night begins.
    """
    rows = pa.array(first_rows)
    code_numbers = _codes_of_strings(codes)[first_rows]
    longitude = np.array([longitude_deg(code) for code in codes.dictionary.to_pylist()])[code_numbers]
    solar = solar_nights(mjd_utc, longitude)
    named = table["night_id"].take(rows)
    has_name = named.is_valid().to_numpy()
    # A night has either a name or a date; the other key is 0.
    name_numbers = np.where(has_name, _codes_of_strings(named) + 1, 0)
    dates = np.where(has_name, 0, solar - solar.min() + 1)
    numbers, first_of_night = _tuples_numbered(code_numbers, name_numbers, dates)
    _, sky_night = np.unique(solar[first_of_night][numbers], return_inverse=True)
    return _in_order_of_first(numbers), sky_night.astype(np.int32)


def _in_order_of_first(numbers: WideIndexArray) -> IndexArray:
    """Renumber by first appearance; exposures ascend in time, so nights then do."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)
