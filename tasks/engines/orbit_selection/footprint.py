"""Where and when a survey looked, as far as its detections tell: pointings, each one or more discs on the sky."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

ONE_POINTING_DAYS = 5.0 / 86400
"""Exposures of one observatory that follow each other closer than this are one pointing: chips of one camera, or
detections whose times differ by the movement of the shutter."""

WIDEST_DISC_DEG = 3.0
"""A pointing whose detections reach further from their middle than this is cut into tiles of this size: no single disc
would tell where it looked."""


@dataclass(frozen=True)
class Footprint:
    """k pointings in ascending time. Frame: heliocentric ecliptic J2000, au and au/d."""

    #: shape (k,)
    mjd_tdb: FloatArray
    #: shape (k,): number of the night.
    night: IndexArray
    #: shape (k, 3): observer.
    observer_position: FloatArray
    observer_velocity: FloatArray
    #: shape (k + 1,): discs of pointing j are rows disc_start[j] to disc_start[j + 1].
    disc_start: IndexArray
    #: shape (d, 3): unit vectors to the middles; shape (d,): radii, radians.
    disc_centre: FloatArray
    disc_radius: FloatArray

    def __len__(self) -> int:
        """Return the number of pointings."""
        return len(self.mjd_tdb)

    @property
    def middle_mjd_tdb(self) -> float:
        """Halfway between the first and the last pointing."""
        return float(0.5 * (self.mjd_tdb[0] + self.mjd_tdb[-1]))

    def within(self, first: int, last: int) -> "Footprint":
        """Return pointings number `first` to `last` - 1."""
        discs = slice(self.disc_start[first], self.disc_start[last])
        return Footprint(
            mjd_tdb=self.mjd_tdb[first:last],
            night=self.night[first:last],
            observer_position=self.observer_position[first:last],
            observer_velocity=self.observer_velocity[first:last],
            disc_start=self.disc_start[first : last + 1] - self.disc_start[first],
            disc_centre=self.disc_centre[discs],
            disc_radius=self.disc_radius[discs],
        )


def footprint_of_survey(survey: PreparedSurvey, *, smallest_radius_deg: float) -> Footprint:
    """Return where the survey looked: each pointing a disc that holds all its detections, or tiles where they spread.

    Parameters
    ----------
    smallest_radius_deg
        Radius of a disc whose detections are too few to tell its extent, deg.
    """
    pointing_of_exposure, first_exposure = _pointings(survey)
    pointing = pointing_of_exposure[survey.exposure]
    count = len(first_exposure)
    _, reach = _discs(survey.line_of_sight, pointing, count)
    tile = np.where(reach[pointing] > np.radians(WIDEST_DISC_DEG), _tiles(survey.line_of_sight), 0)
    keys, disc = np.unique(np.stack([pointing, tile]), axis=1, return_inverse=True)
    centre, radius = _discs(survey.line_of_sight, disc.ravel(), keys.shape[1])
    return Footprint(
        mjd_tdb=survey.exposure_mjd_tdb[first_exposure],
        night=survey.exposure_night[first_exposure].astype(np.int64),
        observer_position=survey.observer_position[first_exposure],
        observer_velocity=survey.observer_velocity[first_exposure],
        disc_start=np.searchsorted(keys[0], np.arange(count + 1)),
        disc_centre=centre,
        disc_radius=np.maximum(radius, np.radians(smallest_radius_deg)),
    )


def windows_of_footprint(footprint: Footprint, *, longest_days: float) -> list[Footprint]:
    """Cut a long survey into windows of equal length, none longer than asked for; those without pointings drop out."""
    times = footprint.mjd_tdb
    count = max(1, int(np.ceil((times[-1] - times[0]) / longest_days)))
    edges = np.searchsorted(times, np.linspace(times[0], times[-1], count + 1)[1:-1])
    bounds = [0, *edges.tolist(), len(times)]
    return [footprint.within(first, last) for first, last in itertools.pairwise(bounds) if last > first]


def _pointings(survey: PreparedSurvey) -> tuple[IndexArray, IndexArray]:
    """Return the pointing of each exposure, in order of time, and the first exposure of each pointing."""
    first_rows = survey.by_exposure[survey.exposure_start[:-1]]
    codes = survey.observatory_codes.indices.to_numpy()[first_rows]
    order = np.lexsort((survey.exposure_mjd_utc, codes))
    times, sorted_codes = survey.exposure_mjd_utc[order], codes[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(times) > ONE_POINTING_DAYS) | (np.diff(sorted_codes) != 0)
    number = np.cumsum(begins) - 1
    firsts = order[begins]
    # Exposures ascend in time, so pointings in the order of their first exposures do.
    rank = np.argsort(np.argsort(firsts))
    pointing = np.empty(len(order), dtype=np.int64)
    pointing[order] = rank[number]
    return pointing, np.sort(firsts)


def _discs(line_of_sight: FloatArray, disc: IndexArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean direction of each disc's detections, (count, 3), and the largest distance from it, radians."""
    centre: FloatArray = np.stack(
        [np.bincount(disc, weights=axis, minlength=count) for axis in line_of_sight.T], axis=1
    )
    length = np.linalg.norm(centre, axis=1, keepdims=True)
    centre = np.where(length > 0.0, centre / np.where(length > 0.0, length, 1.0), [1.0, 0.0, 0.0])
    chord = np.linalg.norm(line_of_sight - centre[disc], axis=1)
    reach = np.zeros(count)
    np.maximum.at(reach, disc, 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)))
    return centre, reach


def _tiles(line_of_sight: FloatArray) -> IndexArray:
    """Give each direction the number (from 1) of a tile of about `WIDEST_DISC_DEG`."""
    return tile_numbers(line_of_sight, WIDEST_DISC_DEG) + 1


def tile_numbers(direction: FloatArray, size_deg: float) -> IndexArray:
    """Give each direction the number of its tile: bands of latitude, cut so that a tile is as wide as it is high.

    Parameters
    ----------
    direction : shape (n, 3)
        Unit vectors.
    size_deg
        Side of a tile, deg.
    """
    bands = max(1, round(180.0 / size_deg))
    latitude = np.degrees(np.arcsin(np.clip(direction[:, 2], -1.0, 1.0)))
    band = np.clip(np.floor((latitude + 90.0) / 180.0 * bands), 0, bands - 1).astype(np.int64)
    middle = np.radians((band + 0.5) * 180.0 / bands - 90.0)
    across = np.maximum(1, np.rint(2.0 * bands * np.cos(middle))).astype(np.int64)
    longitude = np.degrees(np.arctan2(direction[:, 1], direction[:, 0])) % 360.0
    column = np.minimum(np.floor(longitude / 360.0 * across).astype(np.int64), across - 1)
    return band * (2 * bands + 1) + column
