"""Seeded surveys with known truth. Made once, then kept as parquet under .cache/bench.

survey = make_survey("20k", seed=1)
survey.observations, survey.truth, survey.test_orbits, survey.truth_states
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from adam_core.observers import Observers
from adam_core.time import Timestamp

from tests.bench.cases import CASES, Case
from tests.bench.populations import Population, draw_states, test_orbit_state
from tests.support.sky import (
    AXES,
    Exposures,
    Vectors,
    observed,
    orbit_table,
    orbits_from_states,
    radec_from_unit,
    scattered,
    separation_deg,
    sky_of,
    states_at,
    tables_from_detections,
    uniform_in_disc,
)

CACHE = Path(__file__).parents[2] / ".cache" / "bench"
GENERATOR = "v1"
"""Changes when the same case and seed give another survey, so that old files are not taken for new ones."""

FIRST_NIGHT_MJD = 59000
NIGHTS = 14
FIELD_RADIUS_DEG = 1.75
ROWS = (3, 4, 4, 3)
"""Fields in rows of a hexagonal covering."""

ORBITS_RADIUS_DEG = 8.25
"""Objects are drawn within this distance of opposition at mid-survey: some are in no field, as in life."""

UTC_OF_LOCAL_NIGHT = {"X05": 0.12, "I41": 0.28}
"""Fraction of a UTC day at which observing begins."""


@dataclass(frozen=True)
class BenchSurvey:
    """A survey and its truth; tables as in `tasks.engines.tables`."""

    #: Rows of `tables.OBSERVATIONS`, ascending in time.
    observations: pa.Table
    #: obs_id -> object_id (null: false detection).
    truth: pa.Table
    #: Rows of `tables.TEST_ORBITS`: one test orbit, epoch at mid-survey.
    test_orbits: pa.Table
    #: Rows like TEST_ORBITS, `orbit_id` being the object_id: states by ASSIST at the test orbit's epoch.
    truth_states: pa.Table
    #: obs_id -> distance from the test orbit's place at that time, deg, by ASSIST: which detections its cell holds.
    distances: pa.Table

    def truth_states_at(self, epoch_mjd_tdb: float) -> dict[str, Vectors]:
        """Return the true states at another epoch, by ASSIST: object_id -> shape (6,)."""
        ids = self.truth_states["orbit_id"].to_pylist()
        states = np.stack([self.truth_states[name].to_numpy() for name in AXES], axis=1)
        epoch = self.truth_states["epoch"][0].as_py()
        moved = states_at(orbits_from_states(ids, states, epoch), epoch_mjd_tdb)
        return dict(zip(ids, moved, strict=True))


def make_survey(case: str | Case = "20k", *, seed: int = 1) -> BenchSurvey:
    """Return the survey of that case and seed, from the cache where it has been made before."""
    chosen = CASES[case] if isinstance(case, str) else case
    folder = folder_of_survey(chosen, seed)
    names = [field.name for field in fields(BenchSurvey)]
    if not all((folder / f"{name}.parquet").exists() for name in names):
        survey = generate_survey(chosen, seed)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            pq.write_table(getattr(survey, name), folder / f"{name}.parquet")
    return BenchSurvey(**{name: pq.read_table(folder / f"{name}.parquet") for name in names})


def folder_of_survey(case: Case, seed: int) -> Path:
    """Return where the survey is kept."""
    return CACHE / f"{GENERATOR}-{case.name}-{seed}"


def generate_survey(case: Case, seed: int) -> BenchSurvey:
    """Make a survey, without looking into the cache."""
    rng = np.random.default_rng([seed, 20210901])
    first_night = FIRST_NIGHT_MJD + 29 * (seed % 60)
    epoch = first_night + NIGHTS / 2
    observer, centre = _pointing(case.population, epoch)
    exposures, nights = _exposures(case, first_night, centre, rng)

    test_state = test_orbit_state(case.population, observer, centre)
    states = _states_in_view(case, epoch, test_state, observer, centre, rng)
    ids = [f"object_{number:05d}" for number in range(len(states))]
    sky = sky_of(orbits_from_states([*ids, "zz_test_orbit"], np.vstack([states, test_state]), epoch), exposures)

    objects = type(sky)(ids, sky.direction[:-1], sky.distance[:-1])
    true = observed(objects, exposures, efficiency=case.efficiency, rng=rng)
    if case.one_per_night:
        true = _one_per_night(true, nights, rng)
    false = _false_detections(case, max(case.detections - len(true), 0), exposures, rng)
    observations, truth = tables_from_detections(
        pd.concat([true, false], ignore_index=True), exposures, noise_arcsec=case.noise_arcsec, rng=rng
    )
    return BenchSurvey(
        observations=observations,
        truth=truth,
        test_orbits=orbit_table([f"{case.population}-{seed}"], test_state[None], epoch),
        truth_states=orbit_table(ids, states, epoch),
        distances=_distances(observations, exposures, sky.direction[-1]),
    )


def _pointing(population: Population, epoch_mjd_tdb: float) -> tuple[Vectors, Vectors]:
    """Return the observer's place and the direction of the field centre: opposition, or 38 deg from the Sun."""
    observers = Observers.from_codes(["500"], Timestamp.from_mjd([epoch_mjd_tdb], scale="tdb"))
    observer = observers.coordinates.r[0]
    lon = np.arctan2(observer[1], observer[0])
    if population == "interior":
        lon += np.pi - np.radians(38.0)
    return observer, np.array([np.cos(lon), np.sin(lon), 0.0])


def _exposures(case: Case, first_night: float, centre: Vectors, rng: np.random.Generator) -> tuple[Exposures, Vectors]:
    """Plan the nights: each field every other night twice half an hour apart, or every night once."""
    fields_ = scattered(np.repeat(centre[None], sum(ROWS), axis=0), _field_offsets(gaps=case.gaps))
    plan = []
    for night in range(NIGHTS):
        if night % 2 == 0:
            shuffled = rng.permutation(len(fields_))
        code = case.observatories[night // 2 % len(case.observatories)]
        for number, chosen in enumerate(_fields_of_night(case, night, shuffled)):
            start = first_night + night + UTC_OF_LOCAL_NIGHT[code] + number * 2.0 / 1440
            for visit in range(case.visits):
                jitter = rng.uniform(0, 20) / 86400
                plan.append((start + visit * 33.0 / 1440 + jitter, code, chosen, night))
    plan.sort()
    mjd, codes, field_numbers, nights = zip(*plan, strict=True)
    return (
        Exposures(np.array(mjd), np.array(codes, dtype=object), fields_[list(field_numbers)], FIELD_RADIUS_DEG),
        np.array(nights),
    )


def _fields_of_night(case: Case, night: int, shuffled: Vectors) -> list[int]:
    if case.gaps:  # each group of fields on two nights of three
        return [int(f) for f in range(len(shuffled)) if (night + f % 3) % 3 != 0]
    if case.visits == 1:
        return [int(f) for f in shuffled]
    half = len(shuffled) // 2
    return [int(f) for f in (shuffled[:half] if night % 2 == 0 else shuffled[half:])]


def _field_offsets(*, gaps: bool) -> Vectors:
    """Offsets of the field centres from the middle, deg, shape (14, 2)."""
    step = FIELD_RADIUS_DEG * np.sqrt(3) * (1.5 if gaps else 1.0)
    return np.array(
        [
            ((place - (length - 1) / 2) * step, (row - (len(ROWS) - 1) / 2) * step * np.sqrt(3) / 2)
            for row, length in enumerate(ROWS)
            for place in range(length)
        ]
    )


def _states_in_view(
    case: Case, epoch: float, test_state: Vectors, observer: Vectors, centre: Vectors, rng: np.random.Generator
) -> Vectors:
    """Draw until enough orbits are within `ORBITS_RADIUS_DEG` of the centre at mid-survey."""
    kept = np.empty((0, 6))
    while len(kept) < case.orbits:
        states = draw_states(case.population, 50_000, epoch, rng, test_state)
        line = states[:, :3] - observer
        line /= np.linalg.norm(line, axis=1, keepdims=True)
        kept = np.vstack([kept, states[separation_deg(line, centre) < ORBITS_RADIUS_DEG]])
    return kept[: case.orbits]


def _one_per_night(true: pd.DataFrame, nights: Vectors, rng: np.random.Generator) -> pd.DataFrame:
    shuffled = true.iloc[rng.permutation(len(true))].assign(night=lambda frame: nights[frame["exposure"]])
    return shuffled.drop_duplicates(["object_id", "night"]).drop(columns="night").sort_index()


def _false_detections(case: Case, count: int, exposures: Exposures, rng: np.random.Generator) -> pd.DataFrame:
    stationary = _stationary(round(case.stationary * count), exposures, rng)
    ghosts = _ghosts(round(case.ghosts * count), exposures, rng)
    uniform = _uniform(count - len(stationary) - len(ghosts), exposures, rng)
    return pd.concat([uniform, stationary, ghosts], ignore_index=True)


def _uniform(count: int, exposures: Exposures, rng: np.random.Generator) -> pd.DataFrame:
    exposure = rng.integers(len(exposures.mjd_utc), size=count)
    return _frame(exposure, scattered(exposures.centre[exposure], uniform_in_disc(count, exposures.radius_deg, rng)))


def _stationary(count: int, exposures: Exposures, rng: np.random.Generator) -> pd.DataFrame:
    """Stars that subtraction left over: at one place in most exposures of their field."""
    fields_, field_of_exposure = np.unique(exposures.centre, axis=0, return_inverse=True)
    visits = len(exposures.mjd_utc) / len(fields_)
    stars = int(count / (0.7 * visits))
    if stars == 0:
        return _frame(np.empty(0, int), np.empty((0, 3)))
    field_of_star = rng.integers(len(fields_), size=stars)
    place = scattered(fields_[field_of_star], uniform_in_disc(stars, exposures.radius_deg, rng))
    star, exposure = np.nonzero(field_of_star[:, None] == field_of_exposure.ravel()[None])
    seen = rng.uniform(size=len(star)) < 0.7
    return _frame(exposure[seen], place[star[seen]])


def _ghosts(count: int, exposures: Exposures, rng: np.random.Generator) -> pd.DataFrame:
    """Clumps of 60 within 3 arcmin, at other places in each exposure, as reflections of bright stars make them."""
    clumps = count // 60
    exposure = np.repeat(rng.integers(len(exposures.mjd_utc), size=clumps), 60)
    middle = np.repeat(uniform_in_disc(clumps, exposures.radius_deg, rng), 60, axis=0)
    offsets = middle + uniform_in_disc(len(exposure), 0.05, rng)
    return _frame(exposure, scattered(exposures.centre[exposure], offsets))


def _frame(exposure: Vectors, unit: Vectors) -> pd.DataFrame:
    return pd.DataFrame({"object_id": None, "exposure": exposure, "x": unit[:, 0], "y": unit[:, 1], "z": unit[:, 2]})


def _distances(observations: pa.Table, exposures: Exposures, test_direction: Vectors) -> pa.Table:
    """Distance of each detection from the test orbit's place in its exposure."""
    exposure = np.array([int(name[1:]) for name in observations["exposure_id"].to_pylist()])
    ra, dec = radec_from_unit(test_direction[exposure])
    lon1, lat1, lon2, lat2 = map(
        np.radians, (ra, dec, observations["RA_deg"].to_numpy(), observations["Dec_deg"].to_numpy())
    )
    half = np.sin((lat1 - lat2) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon1 - lon2) / 2) ** 2
    return pa.table({"obs_id": observations["obs_id"], "distance_deg": np.degrees(2 * np.arcsin(np.sqrt(half)))})
