r"""Detections within the uncertainty ellipse of a prediction, in every exposure that an orbit passes through.

A prediction has the covariance S = J C J^T on the sky, to first order in the orbit's covariance C, with J the partials
of the place in two bodies; a detection has its own, and the catalogue an error that it does not state. The residual r
is within reach if r^T S^-1 r, with all of these in S, is at most the gate.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.frames import COS_OBLIQUITY, SIN_OBLIQUITY
from tasks.engines.builtin.astrodynamics.two_body import propagate_position_partials
from tasks.engines.builtin.fitting.astrometry import predicted_place
from tasks.engines.builtin.fitting.attribution import FASTEST_OBSERVER, fastest_speed, squared_chord
from tasks.engines.builtin.fitting.n_body_shifts import interpolate
from tasks.engines.builtin.fitting.sky_index import SkyIndex
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.known_detections.predicted import RAD_PER_ARCSEC, KnownOrbits

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]

CATALOGUE_SIGMA_ARCSEC = 0.2
"""Error of a catalogue's prediction, each coordinate, that it does not state: of elements with five decimals, moved by
our force model without asteroids, and of the star catalogues behind them."""

GATE = 25.0
"""Largest chi^2 of a residual, 2 degrees of freedom: one true detection in 270 000 is beyond."""

WIDEST_ARCSEC = 600.0
"""A prediction that may be farther off than this is not looked for: it tells nothing of a single detection."""

# Columns of a match.
EAST, NORTH, CHI2, LINE_EAST, LINE_NORTH, SIGMA, DISTANCE, SUN_DISTANCE, PHASE, WIDTH = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Matches:
    """n pairs of an orbit and a detection within its reach."""

    #: shape (n,): row of the orbit, ascending; and of the detection in the survey.
    orbit: IntArray
    obs_index: IndexArray
    #: shape (n, 9): residual east and north, chi^2, the place's change by one step of the orbit's line, largest sigma
    #: of the prediction, all angles in rad; distance from observer and Sun, au; phase angle, rad.
    values: FloatArray


def matches(survey: PreparedSurvey, index: SkyIndex, known: KnownOrbits, exposures: slice) -> Matches:
    """Find all detections of some exposures within reach of the orbits."""
    largest = np.zeros(survey.n_exposures)
    np.maximum.at(largest, survey.exposure, np.maximum(survey.sigma_ra_rad, survey.sigma_dec_rad))
    starts = survey.exposure_start[exposures.start : exposures.stop + 1]
    capacity = 64 * len(known) + 1024
    while True:
        orbit, found = np.empty(capacity, np.int64), np.empty(capacity, np.int32)
        values = np.empty((capacity, WIDTH))
        count = _matches(
            (known.states, known.covariances, known.lines),
            known.epoch,
            (known.shifts.low, known.shifts.high, known.shifts.values),
            (survey.exposure_mjd_tdb[exposures], survey.observer_position[exposures], starts),
            (index.obs_index, index.toward, index.centre[exposures], index.radius[exposures]),
            (survey.sigma_ra_rad, survey.sigma_dec_rad, largest[exposures]),
            orbit,
            found,
            values,
        )
        if count <= capacity:
            return Matches(orbit[:count].copy(), found[:count].copy(), values[:count].copy())
        capacity = count


@kernel
def _matches(
    orbits: tuple[FloatArray, FloatArray, FloatArray],
    epoch: float,
    shifts: tuple[FloatArray, FloatArray, FloatArray],
    exposures: tuple[FloatArray, FloatArray, IndexArray],
    sky: tuple[IndexArray, FloatArray, FloatArray, FloatArray],
    sigmas: tuple[FloatArray, FloatArray, FloatArray],
    orbit: IntArray,
    found: IndexArray,
    values: FloatArray,
) -> int:
    """Write the matches; return their number, which may exceed the room."""
    states, covariances, lines = orbits
    mjd, observers, start = exposures
    centre, field_radius = sky[2], sky[3]
    widest = WIDEST_ARCSEC * RAD_PER_ARCSEC
    place, shift, line = np.empty(3), np.empty(3), np.empty(2)
    spread, basis = np.empty(3), np.empty((2, 3))
    count = 0
    for k in range(states.shape[0]):
        fastest = fastest_speed(states[k]) + FASTEST_OBSERVER
        delay, when = 0.0, -math.inf
        for e in range(mjd.size):
            if field_radius[e] < 0.0:
                continue
            reach = field_radius[e] + widest
            # The last prediction tells of most exposures that the orbit cannot have got there since.
            moved = fastest * (mjd[e] - when)
            nearest_possible = SPEED_OF_LIGHT * delay - moved
            if nearest_possible > 0.0:
                outside = math.sqrt(squared_chord(place, centre[e])) - reach
                if outside > moved / nearest_possible:
                    continue
            when = mjd[e]
            interpolate(shifts[0][k], shifts[1][k], shifts[2][k], mjd[e] - delay, shift)
            delay = predicted_place(states[k], mjd[e] - epoch, observers[e], shift, delay, place)
            if squared_chord(place, centre[e]) > reach * reach:
                continue
            distance = SPEED_OF_LIGHT * delay
            _tangent_plane(place, basis)
            _spread_on_sky(states[k], mjd[e] - epoch - delay, covariances[k], lines[k], basis, distance, spread, line)
            begin = count
            count = _within(
                place,
                basis,
                spread,
                line,
                sky[0],
                sky[1],
                start[e],
                start[e + 1],
                (sigmas[0], sigmas[1]),
                sigmas[2][e],
                k,
                orbit,
                found,
                values,
                count,
            )
            sun, angle = _geometry(place, distance, observers[e])
            for row in range(begin, min(count, orbit.size)):
                values[row, DISTANCE] = distance
                values[row, SUN_DISTANCE] = sun
                values[row, PHASE] = angle
    return count


@kernel
def _tangent_plane(place: FloatArray, basis: FloatArray) -> None:
    """Write the directions of growing right ascension and declination at a place, ecliptic components."""
    # The pole of the equator has the components (0, sin, cos) of the obliquity.
    basis[0, 0] = SIN_OBLIQUITY * place[2] - COS_OBLIQUITY * place[1]
    basis[0, 1] = COS_OBLIQUITY * place[0]
    basis[0, 2] = -SIN_OBLIQUITY * place[0]
    length = math.sqrt(basis[0, 0] ** 2 + basis[0, 1] ** 2 + basis[0, 2] ** 2)
    if length == 0.0:
        basis[0, 0], length = 1.0, 1.0
    for axis in range(3):
        basis[0, axis] /= length
    basis[1, 0] = place[1] * basis[0, 2] - place[2] * basis[0, 1]
    basis[1, 1] = place[2] * basis[0, 0] - place[0] * basis[0, 2]
    basis[1, 2] = place[0] * basis[0, 1] - place[1] * basis[0, 0]


@kernel
def _spread_on_sky(
    state: FloatArray,
    dt: float,
    covariance: FloatArray,
    line: FloatArray,
    basis: FloatArray,
    distance: float,
    spread: FloatArray,
    on_sky: FloatArray,
) -> None:
    """Write the covariance of the place (east, east-north, north), rad^2, and its change along the line, rad."""
    floor = (CATALOGUE_SIGMA_ARCSEC * RAD_PER_ARCSEC) ** 2
    spread[0], spread[1], spread[2] = floor, 0.0, floor
    on_sky[0], on_sky[1] = 0.0, 0.0
    if not np.any(line):
        return
    emitted, partials = np.empty(6), np.empty((3, 6))
    propagate_position_partials(state, dt, emitted, partials)
    angles = np.zeros((2, 6))
    for side in range(2):
        for j in range(6):
            for axis in range(3):
                angles[side, j] += basis[side, axis] * partials[axis, j] / distance
            on_sky[side] += angles[side, j] * line[j]
    for i in range(6):
        for j in range(6):
            spread[0] += angles[0, i] * covariance[i, j] * angles[0, j]
            spread[1] += angles[0, i] * covariance[i, j] * angles[1, j]
            spread[2] += angles[1, i] * covariance[i, j] * angles[1, j]


@kernel
def _within(
    place: FloatArray,
    basis: FloatArray,
    spread: FloatArray,
    line: FloatArray,
    obs_index: IndexArray,
    toward: FloatArray,
    begin: int,
    end: int,
    sigmas: tuple[FloatArray, FloatArray],
    largest: float,
    owner: int,
    orbit: IntArray,
    found: IndexArray,
    values: FloatArray,
    count: int,
) -> int:
    """Write the detections of one exposure that are within reach; return the number of matches so far."""
    half = 0.5 * (spread[0] - spread[2])
    sigma = math.sqrt(0.5 * (spread[0] + spread[2]) + math.sqrt(half * half + spread[1] * spread[1]))
    gate = math.sqrt(GATE)
    if not gate * sigma < WIDEST_ARCSEC * RAD_PER_ARCSEC:
        return count
    band = gate * math.sqrt(sigma * sigma + largest * largest)
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if toward[middle, 2] < place[2] - band:
            low = middle + 1
        else:
            high = middle
    while low < end and toward[low, 2] <= place[2] + band:
        if squared_chord(place, toward[low]) <= band * band:
            i = obs_index[low]
            east = north = ahead = 0.0
            for axis in range(3):
                east += toward[low, axis] * basis[0, axis]
                north += toward[low, axis] * basis[1, axis]
                ahead += toward[low, axis] * place[axis]
            east, north = east / ahead, north / ahead
            s_ee, s_nn = spread[0] + sigmas[0][i] ** 2, spread[2] + sigmas[1][i] ** 2
            chi2 = (s_nn * east * east - 2.0 * spread[1] * east * north + s_ee * north * north) / (
                s_ee * s_nn - spread[1] * spread[1]
            )
            if chi2 <= GATE:
                if count < orbit.size:
                    orbit[count], found[count] = owner, i
                    values[count, EAST], values[count, NORTH], values[count, CHI2] = east, north, chi2
                    values[count, LINE_EAST], values[count, LINE_NORTH] = line[0], line[1]
                    values[count, SIGMA] = sigma
                count += 1
        low += 1
    return count


@kernel
def _geometry(place: FloatArray, distance: float, observer: FloatArray) -> tuple[float, float]:
    """Return the distance from the Sun, au, and the phase angle, rad."""
    squared, along = 0.0, 0.0
    for axis in range(3):
        position = observer[axis] + place[axis] * distance
        squared += position * position
        along += position * place[axis]
    sun = math.sqrt(squared)
    return sun, math.acos(max(-1.0, min(1.0, along / sun)))
