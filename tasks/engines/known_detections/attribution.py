"""Attribution: each detection to the known object that it fits best, or to none.

An orbit that is known well takes what lies within the noise. One that is known badly has a long ellipse on the sky, in
which false detections lie, too; but what it is off by is one number, the same in every exposure. So its detections must
agree on that number, at least three of them in two nights.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.photometry import SLOPE, absolute_magnitude
from tasks.engines.builtin.fitting.sky_index import SkyIndex, sky_index
from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.known_detections.match import (
    CATALOGUE_SIGMA_ARCSEC,
    CHI2,
    DISTANCE,
    EAST,
    GATE,
    LINE_EAST,
    LINE_NORTH,
    NORTH,
    PHASE,
    SIGMA,
    SUN_DISTANCE,
    Matches,
    matches,
)
from tasks.engines.known_detections.near import are_in_field, slots_of_exposures, states_of
from tasks.engines.known_detections.predicted import RAD_PER_ARCSEC, KnownOrbits, known_orbits
from tasks.engines.known_detections.tables import KNOWN_OBSERVATIONS, KNOWN_ORBITS
from tasks.engines.settings import EngineSettings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

WINDOW_DAYS = 30.0
"""Longest span that one prediction serves: over it what the planets do is a polynomial of a few times."""

WIDE_ARCSEC = 1.5
"""Largest sigma of a prediction up to which single detections are attributed by themselves."""

FEWEST_THAT_AGREE, FEWEST_NIGHTS = 3, 2
"""Detections, and nights, that must agree on what a wide prediction is off by."""

LARGEST_MAG_DIFFERENCE = 4.0
"""Colours, rotation and errors of H stay within; a detection much brighter than its object is of something else."""


@dataclass(frozen=True)
class Attribution:
    """What a catalogue says of a survey."""

    #: Rows of `KNOWN_OBSERVATIONS`.
    observations: pa.Table
    #: Rows of `KNOWN_ORBITS`: the orbits that may pass through the exposures of a window, brought to its middle.
    orbits: pa.Table
    #: Orbits in the catalogue.
    n_orbits: int


def attribute_known(
    observations: pa.Table, catalogue: Iterable[pa.Table], settings: EngineSettings | None = None
) -> Attribution:
    """Attribute detections to the orbits of a catalogue.

    Parameters
    ----------
    observations
        Rows of `tables.OBSERVATIONS`.
    catalogue
        Blocks with rows of `KNOWN_ORBITS`, at any epochs; those within some years of the survey are best.

    Raises
    ------
    EngineInputError
        As `check_observations` does.
    """
    survey = prepare_survey(observations, settings or EngineSettings())
    index = sky_index(survey)
    windows = windows_of(survey.exposure_mjd_tdb)
    near, n_orbits = _near_each(survey, index, windows, catalogue)
    parts = [
        _in_window(survey, index, window, observations, pa.concat_tables([KNOWN_ORBITS.empty_table(), *blocks]))
        for window, blocks in zip(windows, near, strict=True)
    ]
    found = pa.concat_tables([KNOWN_OBSERVATIONS.empty_table(), *(part[0] for part in parts)])
    orbits = pa.concat_tables([KNOWN_ORBITS.empty_table(), *(part[1] for part in parts)])
    by_object = [(name, "ascending") for name in ("known_object", "mjd_utc", "obs_id")]
    return Attribution(found.sort_by(by_object).combine_chunks(), orbits.combine_chunks(), n_orbits)


def windows_of(times_mjd: FloatArray) -> list[slice]:
    """Cut ascending times into windows of `WINDOW_DAYS` at most: each is predicted from its middle."""
    windows, first = [], 0
    while first < len(times_mjd):
        last = int(np.searchsorted(times_mjd, times_mjd[first] + WINDOW_DAYS, side="right"))
        windows.append(slice(first, last))
        first = last
    return windows


def _near_each(
    survey: PreparedSurvey, index: SkyIndex, windows: list[slice], catalogue: Iterable[pa.Table]
) -> tuple[list[list[pa.Table]], int]:
    """Return for each window what may pass through it, and the size of the catalogue, which is gone through once."""
    slots = [slots_of_exposures(survey, index, window) for window in windows]
    near: list[list[pa.Table]] = [[] for _ in windows]
    n_orbits = 0
    for block in catalogue:
        states, epochs = states_of(block), block["epoch"].to_numpy()
        for own, each in zip(near, slots, strict=True):
            own.append(block.filter(pa.array(are_in_field(states, epochs, each))))
        n_orbits += len(block)
    return near, n_orbits


def _in_window(
    survey: PreparedSurvey, index: SkyIndex, window: slice, observations: pa.Table, near: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Return what is attributed in a window, and the orbits that may pass through it, brought to its middle."""
    if len(near) == 0:
        return KNOWN_OBSERVATIONS.empty_table(), near
    times = survey.exposure_mjd_tdb[window]
    known = known_orbits(near, float(times[0]), float(times[-1]))
    found = matches(survey, index, known, window)
    predicted = _predicted_mags(known, found)
    kept = _assigned(survey, known, found, _are_bright_as_expected(survey, found, predicted))
    return _table(survey, observations, known, _rows(found, kept), predicted[kept]), known.table


def _rows(found: Matches, rows: IntArray) -> Matches:
    return Matches(found.orbit[rows], found.obs_index[rows], found.values[rows])


def _predicted_mags(known: KnownOrbits, found: Matches) -> FloatArray:
    """Return the apparent magnitude of each match's object, nan where H is not known."""
    absolute = np.asarray(known.table["H"].to_numpy(), dtype=np.float64)[found.orbit]
    slopes = np.asarray(known.table["G"].to_numpy(), dtype=np.float64)[found.orbit]
    slopes = np.where(np.isfinite(slopes), slopes, SLOPE)
    values = found.values
    nothing = np.zeros(len(values))
    dimming: FloatArray = -_absolute_magnitudes(nothing, values, slopes)
    return absolute + dimming


def _absolute_magnitudes(mag: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    result = np.empty(len(mag))
    for slope in np.unique(slopes):
        rows = slopes == slope
        result[rows] = absolute_magnitude(
            mag[rows], values[rows, SUN_DISTANCE], values[rows, DISTANCE], values[rows, PHASE], slope
        )
    return result


def _are_bright_as_expected(survey: PreparedSurvey, found: Matches, predicted: FloatArray) -> BoolArray:
    difference = np.abs(survey.mag[found.obs_index] - predicted)
    # Where either is not known there is nothing to say.
    expected: BoolArray = ~(difference > LARGEST_MAG_DIFFERENCE)
    return expected


def _assigned(survey: PreparedSurvey, known: KnownOrbits, found: Matches, possible: BoolArray) -> IntArray:
    """Return the rows of the matches that stand: each detection once, each orbit once in an exposure."""
    cost = np.where(possible, found.values[:, CHI2], np.inf)
    wide = found.values[:, SIGMA] > WIDE_ARCSEC * RAD_PER_ARCSEC
    for rows in _groups(found.orbit, np.flatnonzero(possible)):
        if wide[rows].any():
            cost[rows] = _cost_by_agreement(survey, found, rows)
    order = np.flatnonzero(np.isfinite(cost))
    # The best match first; then ids, so that the order of a catalogue is no matter.
    names = known.table["orbit_id"].combine_chunks().take(pa.array(found.orbit[order])).to_numpy(zero_copy_only=False)
    order = order[np.lexsort((found.obs_index[order], names.astype(str), cost[order]))]
    taken_obs: set[int] = set()
    taken_orbit: set[tuple[int, int]] = set()
    kept = []
    exposures = survey.exposure[found.obs_index]
    for row in order.tolist():
        obs, place = int(found.obs_index[row]), (int(found.orbit[row]), int(exposures[row]))
        if obs not in taken_obs and place not in taken_orbit:
            taken_obs.add(obs)
            taken_orbit.add(place)
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def _groups(owner: IntArray, rows: IntArray) -> list[IntArray]:
    """Return the rows of each owner; owners ascend with the rows."""
    ends = np.flatnonzero(np.diff(owner[rows])) + 1
    return np.split(rows, ends) if len(rows) else []


def _cost_by_agreement(survey: PreparedSurvey, found: Matches, rows: IntArray) -> FloatArray:
    """Return what each match of one orbit costs once the orbit is moved along its line; inf: it does not agree.

    Every match says how far along the line the orbit would have to be moved to it, and how well that is known. The
    place where most others agree is taken; then the residual from there counts.
    """
    values = found.values[rows]
    residual = values[:, [EAST, NORTH]]
    line = values[:, [LINE_EAST, LINE_NORTH]]
    length = np.maximum((line**2).sum(axis=1), 1e-40)
    moved = (residual * line).sum(axis=1) / length
    noise = np.hypot(
        np.maximum(survey.sigma_ra_rad[found.obs_index[rows]], survey.sigma_dec_rad[found.obs_index[rows]]),
        CATALOGUE_SIGMA_ARCSEC * RAD_PER_ARCSEC,
    )
    reach = np.sqrt(GATE) * noise / np.sqrt(length)
    agree = np.abs(moved[:, None] - moved[None, :]) <= np.hypot(reach[:, None], reach[None, :])
    exposure = survey.exposure[found.obs_index[rows]]
    votes = np.array([len(np.unique(exposure[each])) for each in agree])
    best = int(np.lexsort((values[:, CHI2], -votes))[0])
    chosen = np.flatnonzero(agree[best])
    nights = len(np.unique(survey.exposure_night[exposure[chosen]]))
    cost = np.full(len(rows), np.inf)
    if votes[best] >= FEWEST_THAT_AGREE and nights >= FEWEST_NIGHTS:
        step = np.median(moved[chosen])
        left = residual - step * line
        chi2 = ((left / noise[:, None]) ** 2).sum(axis=1)
        cost[chosen] = np.where(chi2[chosen] <= GATE, chi2[chosen], np.inf)
    return cost


def _table(
    survey: PreparedSurvey, observations: pa.Table, known: KnownOrbits, found: Matches, predicted: FloatArray
) -> pa.Table:
    rows = pa.array(found.obs_index)
    own = {name: observations[name].take(rows) for name in ("obs_id", "mjd_utc", "RA_deg", "Dec_deg")}
    columns = {
        "known_object": known.table["orbit_id"].take(pa.array(found.orbit)),
        **own,
        "observatory_code": observations["observatory_code"].take(rows),
        "residual_ra_arcsec": found.values[:, EAST] / RAD_PER_ARCSEC,
        "residual_dec_arcsec": found.values[:, NORTH] / RAD_PER_ARCSEC,
        "prediction_sigma_arcsec": found.values[:, SIGMA] / RAD_PER_ARCSEC,
        "chi2": found.values[:, CHI2],
        "mag": _or_null(survey.mag[found.obs_index]),
        "predicted_mag": _or_null(predicted),
        "mag_difference": _or_null(survey.mag[found.obs_index] - predicted),
        "obs_index": rows,
    }
    return pa.table({field.name: columns[field.name] for field in KNOWN_OBSERVATIONS}).cast(KNOWN_OBSERVATIONS)


def _or_null(values: FloatArray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
