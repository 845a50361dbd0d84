"""Whole surveys with known truth: several cameras, weather, all groups of objects, and mostly false detections.

    survey = make_whole_survey(WHOLE["wide"], seed=1)
    survey.observations, survey.truth        object_id is GROUP_NUMBER, null for a false detection

Orbits by ASSIST, as in `tests.bench.survey`. An object is drawn where it may be seen in mid-survey; its size then by
its group's slope, of those with which it is bright enough: so the numbers of a case are those of objects in view, and
rare groups have as many as statistics want.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
from adam_core.observers import Observers
from adam_core.time import Timestamp

from tasks.engines.builtin.astrodynamics.element_states import states_from_keplerian
from tasks.engines.builtin.astrodynamics.photometry import absolute_magnitude
from tests.bench.sky_groups import GROUPS, Group
from tests.support.sky import (
    Exposures,
    Sky,
    Vectors,
    orbits_from_states,
    scattered,
    separation_deg,
    sky_of,
    tables_from_detections,
    uniform_in_disc,
)

DRAWN = 200_000
BATCHES = 4
ENOUGH = 8
"""So many orbits of a group are drawn, at most so often, until so many times as many as are wanted are in view."""

ELEMENTS = ("a", "e", "i", "raan", "ap", "M")

FADING_MAG = 0.12
"""Efficiency is half at the limit and falls from 88 to 12 % within two of these on each side."""

NIGHT_BEGINS = {"W84": 0.06, "I41": 0.22, "T05": 0.30}
"""Fraction of a UTC day at which observing begins."""


@dataclass(frozen=True)
class Camera:
    """One telescope and how it observes."""

    code: str
    radius_deg: float
    limit_mag: float
    #: Uncertainty of the place of a bright detection; at the limit it is three times as much.
    noise_arcsec: float
    #: Fields, on a spiral about opposition, and the distance of neighbours over the radius.
    fields: int
    spacing: float = 1.6
    #: Each field every so many nights, so many times a night, so many minutes apart.
    every: int = 2
    visits: int = 2
    minutes: float = 35.0
    exposure_seconds: float = 60.0


DEEP = Camera("W84", 1.1, 23.0, 0.06, fields=10, every=2, exposure_seconds=90.0)
WIDE = Camera("I41", 3.6, 20.7, 0.10, fields=8, every=2, exposure_seconds=30.0)
SHALLOW = Camera("T05", 3.8, 19.4, 0.20, fields=8, every=2, visits=3, minutes=15.0, exposure_seconds=30.0)

SHARES = MappingProxyType({"stars": 0.55, "ghosts": 0.15, "trails": 0.05})
"""Of the false detections; the rest is noise anywhere."""


@dataclass(frozen=True)
class WholeCase:
    """One whole survey."""

    name: str
    cameras: tuple[Camera, ...]
    #: Objects in view of each group.
    objects: Mapping[str, int]
    #: False detections of all detections.
    false: float = 0.8
    nights: int = 14
    #: Nights that the weather takes, of each observatory, and the change of the limit from night to night, mag.
    lost: float = 0.2
    weather_mag: float = 0.2
    #: Detections of what is bright, missing anyway: gaps between chips, stars in the way.
    missing: float = 0.12
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)


def _objects(belt: int, others: int) -> Mapping[str, int]:
    share = {"neo": 2.0, "mars_crosser": 1.0, "hungaria": 0.5, "hilda": 0.8, "trojan": 1.0, "centaur": 1.0, "tno": 1.5}
    return MappingProxyType(
        {"main_belt": belt, **{name: round(others * of) for name, of in share.items()}, "comet": round(0.7 * others)}
    )


WHOLE: Mapping[str, WholeCase] = MappingProxyType(
    {
        case.name: case
        for case in (
            WholeCase("wide", (DEEP, WIDE, SHALLOW), _objects(900, 60)),
            WholeCase("deep", (Camera("W84", 1.1, 23.6, 0.06, fields=16, exposure_seconds=90.0),), _objects(900, 60)),
            WholeCase(
                "small",
                (Camera("W84", 1.5, 22.6, 0.08, fields=5), Camera("I41", 3.6, 20.7, 0.10, fields=2)),
                _objects(160, 14),
                false=0.6,
            ),
        )
    }
)
"""Whole surveys by name: wide and shallow with a deep part; deep and small; and one for the tests."""


@dataclass(frozen=True)
class WholeSurvey:
    """Tables as in `tasks.engines.tables`."""

    #: Rows of `tables.OBSERVATIONS`, ascending in time.
    observations: pa.Table
    #: obs_id -> object_id (null: false detection).
    truth: pa.Table


@dataclass(frozen=True)
class _Plan:
    """Exposures, and of each its camera, field, night, radius and limit, shape (e,)."""

    exposures: Exposures
    camera: Vectors
    field: Vectors
    radius_deg: Vectors
    limit_mag: Vectors
    noise_arcsec: Vectors
    seconds: Vectors


def make_whole_survey(case: WholeCase, *, seed: int = 1) -> WholeSurvey:
    """Make the survey of that case and seed; the same ones give the same survey."""
    rng = np.random.default_rng([seed, 20301130])
    first_night = first_night_mjd(seed, rng)
    epoch = first_night + case.nights / 2
    observer, centre = _opposition(epoch)
    plan = _planned(case, first_night, centre, rng)
    names, states, magnitudes, active = _in_view(case, plan, epoch, observer, centre, rng)
    sky = sky_of(orbits_from_states(names, states, epoch), plan.exposures)
    true = _seen(sky, plan, magnitudes, active, case.missing, rng)
    false = _false(round(len(true) * case.false / (1.0 - case.false)), plan, case.shares, rng)
    observations, truth = tables_from_detections(
        pd.concat([true, false], ignore_index=True), plan.exposures, noise_arcsec=0.0, rng=rng
    )
    return WholeSurvey(observations, truth)


def first_night_mjd(seed: int, rng: np.random.Generator) -> float:
    """A night at which opposition is near Jupiter's leading Trojans, which would be in no survey otherwise."""
    period = 398.88  # Jupiter's synodic period, days
    return float(np.floor(51537.8 + period * (11 + seed % 10) + rng.uniform(-10, 10)))


def _opposition(epoch: float) -> tuple[Vectors, Vectors]:
    observer = Observers.from_codes(["500"], Timestamp.from_mjd([epoch], scale="tdb")).coordinates.r[0]
    lon = np.arctan2(observer[1], observer[0])
    return observer, np.array([np.cos(lon), np.sin(lon), 0.0])


def _planned(case: WholeCase, first_night: float, centre: Vectors, rng: np.random.Generator) -> _Plan:
    rows = []
    for number, camera in enumerate(case.cameras):
        fields = scattered(np.repeat(centre[None], camera.fields, axis=0), _spiral(camera))
        clear = rng.uniform(size=case.nights) >= case.lost
        clear[: 4 * camera.every] |= np.arange(4 * camera.every) % 3 == 0  # no survey of two nights
        limits = camera.limit_mag + rng.normal(0.0, case.weather_mag, case.nights)
        for night in np.flatnonzero(clear):
            begins = first_night + night + NIGHT_BEGINS[camera.code]
            for place, chosen in enumerate(range(night % camera.every, camera.fields, camera.every)):
                for visit in range(camera.visits):
                    mjd = begins + (place * 2.0 + visit * camera.minutes + rng.uniform(0, 0.3)) / 1440
                    rows.append((mjd, number, chosen, limits[night], fields[chosen]))
    rows.sort(key=lambda row: row[:3])
    mjd, of_camera, of_field, limit, middle = (np.array(column) for column in zip(*rows, strict=True))
    cameras = [case.cameras[number] for number in of_camera]
    exposures = Exposures(
        mjd,
        np.array([camera.code for camera in cameras], dtype=object),
        scattered(middle, rng.normal(0.0, 0.02, (len(mjd), 2))),  # no pointing comes back exactly
        max(camera.radius_deg for camera in cameras),
    )
    return _Plan(
        exposures,
        of_camera,
        of_field,
        np.array([camera.radius_deg for camera in cameras]),
        limit,
        np.array([camera.noise_arcsec for camera in cameras]),
        np.array([camera.exposure_seconds for camera in cameras]),
    )


def _spiral(camera: Camera) -> Vectors:
    """Offsets of fields, deg: a sunflower's, about evenly dense; twice as wide as high, along the ecliptic."""
    number = np.arange(camera.fields) + 0.5
    radius = camera.spacing * camera.radius_deg * np.sqrt(number / np.pi) * 0.95
    angle = number * np.pi * (3.0 - np.sqrt(5.0))
    return np.stack([1.4 * radius * np.cos(angle), radius * np.sin(angle) / 1.4], axis=1) * 1.1


def _in_view(
    case: WholeCase, plan: _Plan, epoch: float, observer: Vectors, centre: Vectors, rng: np.random.Generator
) -> tuple[list[str], Vectors, Vectors, Vectors]:
    """Names, states at the epoch, H, and whether it is active, of all objects."""
    names, states, magnitudes, active = [], [np.empty((0, 6))], [np.empty(0)], []
    for name, wanted in case.objects.items():
        group = GROUPS[name]
        drawn: list[tuple[Vectors, Vectors]] = []
        while len(drawn) < BATCHES and sum(len(part[0]) for part in drawn) < ENOUGH * wanted:
            drawn.append(_drawn(group, plan, epoch, observer, centre, rng))
        there, faintest = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        # As many sizes as would be seen at each place; nobody is drawn twice.
        weight = 10.0 ** (group.slope * faintest)
        count = min(wanted, len(there))
        chosen = rng.choice(len(there), size=count, replace=False, p=weight / weight.sum()) if count else []
        names += [f"{name}_{number:05d}" for number in range(count)]
        states.append(there[chosen])
        magnitudes.append(faintest[chosen] + np.log10(1.0 - rng.uniform(size=count)) / group.slope)
        active += [group.is_active] * count
    return names, np.vstack(states), np.concatenate(magnitudes), np.array(active)


def _drawn(
    group: Group, plan: _Plan, epoch: float, observer: Vectors, centre: Vectors, rng: np.random.Generator
) -> tuple[Vectors, Vectors]:
    """Orbits within a field in mid-survey: states, and the faintest H with which each is seen there."""
    states = states_from_keplerian(group.draw(DRAWN, epoch, rng)[list(ELEMENTS)].to_numpy())
    near = _within(states[:, :3] - observer, centre, 30.0)
    states = states[near]
    line = states[:, :3] - observer
    distance = np.linalg.norm(line, axis=1)
    line /= distance[:, None]
    limit = np.full(len(states), -np.inf)
    fields, first = np.unique(np.stack([plan.camera, plan.field]), axis=1, return_index=True)
    for number in range(fields.shape[1]):
        row = first[number]
        inside = _within(line, plan.exposures.centre[row], plan.radius_deg[row])
        deepest = np.median(plan.limit_mag[plan.camera == plan.camera[row]]) + 2.0 * FADING_MAG
        limit[inside] = np.maximum(limit[inside], deepest)
    seen = np.isfinite(limit)
    at_zero = apparent_mag(
        np.zeros(seen.sum()), states[seen, :3], line[seen], distance[seen], np.full(seen.sum(), group.is_active)
    )
    return states[seen], np.minimum(limit[seen] - at_zero, group.faintest)


def _within(line: Vectors, centre: Vectors, radius_deg: float) -> Vectors:
    return line @ centre > np.cos(np.radians(radius_deg)) * np.linalg.norm(line, axis=1)


def apparent_mag(h: Vectors, position: Vectors, line: Vectors, distance: Vectors, active: Vectors) -> Vectors:
    """V of objects at heliocentric positions (n, 3), seen along unit vectors at distances in au."""
    r = np.linalg.norm(position, axis=-1)
    phase = np.arccos(np.clip(np.einsum("...i,...i", position, line) / r, -1.0, 1.0))
    bare = h - absolute_magnitude(np.zeros_like(r), r, distance, phase)
    return np.where(active, h + 5.0 * np.log10(distance) + 10.0 * np.log10(r), bare)


def _seen(sky: Sky, plan: _Plan, h: Vectors, active: Vectors, missing: float, rng: np.random.Generator) -> pd.DataFrame:
    """Detections of the objects: inside an exposure, bright enough, and not in a gap."""
    inside = separation_deg(sky.direction, plan.exposures.centre[None]) < plan.radius_deg
    row, exposure = np.nonzero(inside)
    line, distance = sky.direction[row, exposure], sky.distance[row, exposure]
    position = plan.exposures.observers().coordinates.r[exposure] + distance[:, None] * line
    trail_arcsec = _rate_arcsec_per_second(sky, plan, row, exposure) * plan.seconds[exposure]
    mag = apparent_mag(h[row], position, line, distance, active[row]) + 1.25 * np.log10(1.0 + 0.5 * trail_arcsec)
    above = plan.limit_mag[exposure] - mag
    seen = rng.uniform(size=len(row)) < (1.0 - missing) / (1.0 + np.exp(-above / FADING_MAG))
    kept = row[seen], exposure[seen]
    names = np.asarray(sky.object_ids, dtype=object)
    frame = _frame(kept[1], line[seen], mag[seen], plan, rng)
    return frame.assign(object_id=names[kept[0]])


def _rate_arcsec_per_second(sky: Sky, plan: _Plan, row: Vectors, exposure: Vectors) -> Vectors:
    """Motion from this exposure to a neighbour of the same or the next minutes: trails make fast objects fainter."""
    other = np.where(exposure + 1 < len(plan.exposures.mjd_utc), exposure + 1, exposure - 1)
    moved = separation_deg(sky.direction[row, exposure], sky.direction[row, other]) * 3600
    seconds = np.abs(plan.exposures.mjd_utc[other] - plan.exposures.mjd_utc[exposure]) * 86400
    return moved / np.maximum(seconds, 1.0)


def _frame(exposure: Vectors, unit: Vectors, mag: Vectors, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Detections without a name, with what was measured: faint ones are less certain."""
    fainter = 10.0 ** (0.4 * np.minimum(mag - plan.limit_mag[exposure], 1.0))
    noise = plan.noise_arcsec[exposure] * np.sqrt(1.0 + 8.0 * fainter**2)
    return pd.DataFrame(
        {
            "object_id": None,
            "exposure": exposure,
            **dict(zip("xyz", unit.T, strict=True)),
            "mag": mag + rng.normal(0.0, 0.05 + 0.1 * fainter),
            "noise_arcsec": noise,
        }
    )


def _false(count: int, plan: _Plan, shares: Mapping[str, float], rng: np.random.Generator) -> pd.DataFrame:
    """Variable stars, ghosts, satellites' trails, and noise: so many of each in an exposure as its area has room."""
    stars = _stars(round(shares["stars"] * count), plan, rng)
    ghosts = _ghosts(round(shares["ghosts"] * count), plan, rng)
    trails = _trails(round(shares["trails"] * count), plan, rng)
    exposure = _exposures(count - len(stars) - len(ghosts) - len(trails), plan, rng)
    return pd.concat([stars, ghosts, trails, _at(exposure, _offsets(exposure, plan, rng), plan, rng)])


def _exposures(count: int, plan: _Plan, rng: np.random.Generator) -> Vectors:
    area = plan.radius_deg**2
    return rng.choice(len(area), size=max(count, 0), p=area / area.sum())


def _offsets(exposure: Vectors, plan: _Plan, rng: np.random.Generator) -> Vectors:
    return uniform_in_disc(len(exposure), plan.radius_deg[exposure], rng)


def _at(exposure: Vectors, offsets_deg: Vectors, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    mag = plan.limit_mag[exposure] - rng.exponential(0.6, len(exposure)) + 0.2
    return _frame(exposure, scattered(plan.exposures.centre[exposure], offsets_deg), mag, plan, rng)


def _stars(count: int, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Variable stars: at one place in one to nine of ten exposures of their field, at any of all cameras."""
    exposure = _exposures(count, plan, rng)
    home = scattered(plan.exposures.centre[exposure], _offsets(exposure, plan, rng))
    share = rng.uniform(0.1, 0.9, count)
    parts, total = [], 0
    for star in range(count):
        if total >= count:
            break
        inside = plan.exposures.centre @ home[star] > np.cos(np.radians(plan.radius_deg))
        seen = np.flatnonzero(inside & (rng.uniform(size=len(inside)) < share[star]))
        parts.append((seen, np.repeat(home[star][None], len(seen), axis=0)))
        total += len(seen)
    where = np.concatenate([np.empty(0, int), *(part[0] for part in parts)])
    unit = np.vstack([np.empty((0, 3)), *(part[1] for part in parts)])
    mag = plan.limit_mag[where] - rng.exponential(0.6, len(where)) + 0.2
    return _frame(where, unit, mag, plan, rng)


def _ghosts(count: int, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Clumps of 25 within 3 arcmin, elsewhere in each exposure, as reflections of bright stars make them."""
    clumps = _exposures(count // 25, plan, rng)
    exposure = np.repeat(clumps, 25)
    middle = np.repeat(_offsets(clumps, plan, rng), 25, axis=0)
    return _at(exposure, middle + uniform_in_disc(len(exposure), 0.05, rng), plan, rng)


def _trails(count: int, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    """A satellite's trail, broken into 20 detections on a line across a degree of one exposure."""
    trails = _exposures(count // 20, plan, rng)
    exposure = np.repeat(trails, 20)
    angle = np.repeat(rng.uniform(0, np.pi, len(trails)), 20)
    along = np.tile(np.linspace(-0.5, 0.5, 20), len(trails))
    line = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = np.repeat(0.7 * _offsets(trails, plan, rng), 20, axis=0)
    return _at(exposure, middle + line, plan, rng)
