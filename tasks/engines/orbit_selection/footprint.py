"""Where and when a survey looked, as far as its detections tell: pointings, each one or more discs on the sky."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.frames import ecliptic_from_equatorial
from tasks.engines.builtin.exposures import Exposures, exposures_of_table, numbered
from tasks.engines.builtin.observations_check import check_observations, conform_observations

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

COLUMNS = ("mjd_utc", "RA_deg", "Dec_deg", "Dec_sigma_deg", "mag", "observatory_code", "exposure_id", "night_id")
"""What a footprint needs of observations."""

LIMIT_QUANTILE = 0.9
"""Share of a pointing's magnitudes that are brighter than its limit, where half of what is there is detected: so it is
where counts grow by 0.2 to 0.4 a magnitude and efficiency fades within some tenths."""

ENOUGH_MAGNITUDES = 30
"""A pointing that has fewer takes the limit of all magnitudes of its observatory."""

ASSUMED_LIMIT = 21.5
"""Limiting magnitude of an observatory that gives none: between those of today's wide surveys (19 to 23)."""

ASSUMED_SIGMA_DEG = 0.2 / 3600.0
"""Uncertainty of a place where no detection has one."""

_MAGNITUDES = (3.0, 30.0)
"""Values beyond these stand for a magnitude that is not there."""

ONE_POINTING_DAYS = 5.0 / 86400
"""Exposures of one observatory that follow each other closer than this are one pointing: chips of one camera, or
detections whose times differ by the movement of the shutter."""

ROWS_AT_A_TIME = 1_000_000

WIDEST_DISC_DEG = 3.0
"""A pointing whose detections reach further from their middle than this is cut into tiles of this size: no single disc
would tell where it looked."""


@dataclass(frozen=True)
class Footprint:
    """k pointings in ascending time. Frame: heliocentric ecliptic J2000, au and au/d."""

    #: shape (k,)
    mjd_tdb: FloatArray
    #: shape (k,): number of the night of the sky: what several observatories see in one night is one.
    night: IndexArray
    #: shape (k, 3): observer.
    observer_position: FloatArray
    observer_velocity: FloatArray
    #: shape (k + 1,): discs of pointing j are rows disc_start[j] to disc_start[j + 1].
    disc_start: IndexArray
    #: shape (d, 3): unit vectors to the middles; shape (d,): radii, radians.
    disc_centre: FloatArray
    disc_radius: FloatArray
    #: shape (k,): magnitude at which half of the objects are detected.
    limit_mag: FloatArray
    #: 1-sigma uncertainty of a faint detection's place, radians: one in ten is less certain.
    sigma_rad: float
    #: Detections of a pointing in a square degree, the mean.
    density: float

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
            limit_mag=self.limit_mag[first:last],
            sigma_rad=self.sigma_rad,
            density=self.density,
        )


def footprint_of_observations(observations: pa.Table, *, smallest_radius_deg: float) -> Footprint:
    """Return where the survey looked: each pointing a disc that holds all its detections, or tiles where they spread.

    Parameters
    ----------
    observations
        The columns `COLUMNS` of `tables.OBSERVATIONS`; others are not looked at.
    smallest_radius_deg
        Radius of a disc whose detections are too few to tell its extent, deg.

    Raises
    ------
    EngineInputError
        As `check_observations` does.
    """
    table = conform_observations(observations, COLUMNS)
    check_observations(table)
    exposures = exposures_of_table(table)
    line_of_sight = _directions(table["RA_deg"].to_numpy(), table["Dec_deg"].to_numpy())
    pointing_of_exposure, first_exposure = _pointings(exposures)
    pointing = pointing_of_exposure[exposures.of_detection]
    count = len(first_exposure)
    first_exposure_row = exposures.first_row[first_exposure]
    _, reach = _discs(line_of_sight, pointing, count)
    tile = np.zeros(len(pointing), dtype=np.int64)
    spread = reach[pointing] > np.radians(WIDEST_DISC_DEG)
    tile[spread] = _tiles(line_of_sight[spread])
    n_tiles = int(tile.max()) + 1
    disc, keys = numbered(pointing * n_tiles + tile)
    centre, radius = _discs(line_of_sight, disc, len(keys))
    radius = np.maximum(radius, np.radians(smallest_radius_deg))
    return Footprint(
        mjd_tdb=exposures.mjd_tdb[first_exposure],
        night=exposures.sky_night[first_exposure].astype(np.int64),
        observer_position=exposures.observer_position[first_exposure],
        observer_velocity=exposures.observer_velocity[first_exposure],
        disc_start=np.searchsorted(keys // n_tiles, np.arange(count + 1)),
        disc_centre=centre,
        disc_radius=radius,
        limit_mag=_limits(table["mag"].to_numpy(), pointing, exposures.codes.indices.to_numpy(), first_exposure_row),
        sigma_rad=_typical_sigma(table["Dec_sigma_deg"].to_numpy()),
        density=len(table) / float((np.pi * np.degrees(radius) ** 2).sum()),
    )


def windows_of_footprint(footprint: Footprint, *, longest_days: float) -> list[Footprint]:
    """Cut a long survey into windows of equal length, none longer than asked for; those without pointings drop out."""
    times = footprint.mjd_tdb
    count = max(1, int(np.ceil((times[-1] - times[0]) / longest_days)))
    edges = np.searchsorted(times, np.linspace(times[0], times[-1], count + 1)[1:-1])
    bounds = [0, *edges.tolist(), len(times)]
    return [footprint.within(first, last) for first, last in itertools.pairwise(bounds) if last > first]


def _limits(mag: FloatArray, pointing: IndexArray, code: IndexArray, first_row: IndexArray) -> FloatArray:
    """Return the limiting magnitude of each pointing; where its magnitudes are few, that of its observatory."""
    measured = np.flatnonzero((mag > _MAGNITUDES[0]) & (mag < _MAGNITUDES[1]))
    codes = code[first_row]
    of_code = _quantiles(mag[measured], code[measured], int(codes.max()) + 1, fewest=1)
    own = _quantiles(mag[measured], pointing[measured], len(first_row), fewest=ENOUGH_MAGNITUDES)
    limits = np.where(np.isnan(own), of_code[codes], own)
    return np.where(np.isnan(limits), ASSUMED_LIMIT, limits)


def _quantiles(values: FloatArray, group: IndexArray, count: int, *, fewest: int) -> FloatArray:
    """Return the quantile `LIMIT_QUANTILE` of each group's values, nan where there are fewer than `fewest`."""
    ordered = values[np.lexsort((values, group))]
    sizes = np.bincount(group, minlength=count)
    place = np.cumsum(sizes) - sizes + np.floor(LIMIT_QUANTILE * (sizes - 1)).astype(np.int64)
    enough = sizes >= fewest
    found = np.full(count, np.nan)
    found[enough] = ordered[place[enough]]
    return found


def _typical_sigma(sigma_deg: FloatArray) -> float:
    known = sigma_deg[sigma_deg > 0.0]
    return float(np.radians(np.quantile(known, 0.9) if known.size else ASSUMED_SIGMA_DEG))


def _directions(ra_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    """Return unit vectors, (n, 3), in the ecliptic of J2000."""
    directions = np.empty((len(ra_deg), 3))
    for rows in _blocks(len(ra_deg)):
        ra, dec = np.radians(ra_deg[rows]), np.radians(dec_deg[rows])
        equatorial = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
        directions[rows] = ecliptic_from_equatorial(equatorial)
    return directions


def _pointings(exposures: Exposures) -> tuple[IndexArray, IndexArray]:
    """Return the pointing of each exposure, in order of time, and the first exposure of each pointing."""
    codes = exposures.codes.indices.to_numpy()[exposures.first_row]
    order = np.lexsort((exposures.mjd_utc, codes))
    times, sorted_codes = exposures.mjd_utc[order], codes[order]
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
    reach = np.zeros(count)
    for rows in _blocks(len(disc)):
        chord = np.linalg.norm(line_of_sight[rows] - centre[disc[rows]], axis=1)
        np.maximum.at(reach, disc[rows], 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)))
    return centre, reach


def _blocks(count: int) -> Iterator[slice]:
    """Part rows, so that what is only needed on the way does not take as much memory as the observations."""
    for first in range(0, count, ROWS_AT_A_TIME):
        yield slice(first, min(first + ROWS_AT_A_TIME, count))


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
