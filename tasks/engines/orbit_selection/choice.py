"""Chooses few test orbits that together catch as much as they can: greedily, each adds most to what is covered.

Chosen on one half of the drawn objects, judged on the other, so that the coverage told is not flattered by the choice.
A catalogue is what it is: there, the same objects serve both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.errors import EngineInputError
from tasks.engines.orbit_selection.cells import candidates_of_window
from tasks.engines.orbit_selection.detectability import Candidate, could_find, reach_of
from tasks.engines.orbit_selection.footprint import footprint_of_observations, windows_of_footprint
from tasks.engines.orbit_selection.objects_in_field import (
    CATALOGUE,
    Catalogue,
    Window,
    window_of_catalogue,
    window_of_model,
)
from tasks.engines.orbit_selection.populations import GROUPS
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import TEST_ORBITS

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_CANDIDATES = 500
"""Candidates of all windows together in each round, and in each window not fewer than"""
FEWEST_CANDIDATES = 100

ROUNDS = 2
"""After the first choice, candidates are made once more of what it left uncovered."""

DIGITS = 12
"""Decimals of a chosen state, au and au/d: enough for metres, and the last bits of a machine's arithmetic are gone."""

WORTH = 0.001
"""Share of all groups that a test orbit must add if its cell met every pointing; less where its task is shorter, more
where it comes near the Earth and takes longer (`detectability.Reach`)."""

FEWEST_OBJECTS = 1.5
"""A test orbit must add more than this many of the drawn objects of a group: by one alone, chance chose it."""


@dataclass(frozen=True)
class SelectionSettings:
    """How test orbits are chosen."""

    #: Test orbits to choose, >= 1; None: as many as `coverage` asks for.
    number: int | None = None
    #: Share of each group's objects that are to be covered, (0, 1]; less where the next test orbit is not `WORTH` it.
    coverage: float = 0.99
    #: Groups of the synthetic model; each counts the same, however many objects it has.
    groups: tuple[str, ...] = tuple(GROUPS)
    #: Longest stretch of time that one choice is for, days, > 0.
    window_days: float = 30.0
    #: Radius of an exposure whose detections are too few to tell, deg, > 0.
    field_radius_deg: float = 0.5
    #: Objects in the field wanted of each group and window: half to choose by, half to judge by, >= 2.
    objects_per_group: int = 800


@dataclass(frozen=True)
class GroupCoverage:
    """What is covered of one group."""

    group: str
    #: Objects in the field by which the choice is judged, in all windows.
    in_field: int
    covered: int
    #: Objects of it that the model expects the survey to be able to find; a catalogue's are counted.
    expected: float

    @property
    def share(self) -> float | None:
        """Covered share; None: nothing of the group is in the field."""
        return self.covered / self.in_field if self.in_field else None


@dataclass(frozen=True)
class ChosenOrbit:
    """One chosen test orbit and what it adds."""

    orbit_id: str
    #: The group that it adds most of.
    group: str
    #: Number of the window, from 1.
    window: int
    #: Share of all groups, each counting the same, that it adds, and that it covers with those before it.
    gained: float
    covered: float


@dataclass(frozen=True)
class Selection:
    """Chosen test orbits, in the order of choice."""

    #: Rows of `tables.TEST_ORBITS`.
    table: pa.Table
    orbits: tuple[ChosenOrbit, ...]
    groups: tuple[GroupCoverage, ...]
    #: First and last time of each window, MJD TDB.
    windows: tuple[tuple[float, float], ...]
    #: Test orbits that were asked for; None: as many as are worth it.
    number: int | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the choice, in words."""
        if self.number is None or len(self.orbits) >= self.number:
            return ()
        return (
            f"Chose {len(self.orbits)} test orbits, not {self.number}: no other finds enough of what these do not.",
        )

    @property
    def coverage(self) -> float:
        """Share of the objects in the field that are covered: of all groups, as many of each as are expected."""
        expected = sum(group.expected for group in self.groups if group.share is not None)
        return sum((group.share or 0.0) * group.expected for group in self.groups) / expected


def select_test_orbits(
    observations: pa.Table,
    *,
    settings: EngineSettings,
    selection: SelectionSettings,
    catalogue: Catalogue | None = None,
) -> Selection:
    """Choose test orbits for these observations. The same inputs always give the same ones.

    Parameters
    ----------
    observations
        The columns `footprint.COLUMNS` of `tables.OBSERVATIONS`; others are not looked at.
    settings
        Those of the job that will use the orbits: the engine's windows, what a cluster is, and the seed.
    catalogue
        The population; None: the synthetic model.

    Raises
    ------
    EngineInputError
        If the survey could find no object of the population.
    """
    footprint = footprint_of_observations(observations, smallest_radius_deg=selection.field_radius_deg)
    linking = settings.cluster_and_link
    every = windows_of_footprint(footprint, longest_days=selection.window_days)
    stretches = [each for each in every if could_find(each, linking)]
    if catalogue is not None:
        groups: tuple[str, ...] = (CATALOGUE,)
        windows = [window_of_catalogue(each, catalogue, settings=linking) for each in stretches]
    else:
        groups = selection.groups
        windows = [
            window_of_model(
                each, groups, settings=linking, wanted=selection.objects_per_group, seed=(settings.seed, number)
            )
            for number, each in enumerate(stretches)
        ]
    if not sum(len(window.states) for window in windows):
        raise EngineInputError(_nothing_found(len(every), linking.min_observations, linking.min_nights))
    choice = _Choice(windows, groups, settings)
    chosen = choice.greedy(number=selection.number, coverage=selection.coverage)
    return choice.selection(chosen, number=selection.number)


def _nothing_found(n_windows: int, min_observations: int, min_nights: int) -> str:
    within = "" if n_windows == 1 else f" within one of {n_windows} windows of time"
    return (
        f"No object of the population could be found in these observations: none is in {min_observations} exposures of "
        f"{min_nights} nights{within}. Expected exposures that come back to the same sky; look at the times, at "
        "--window-days and --field-radius, or give another --population."
    )


class _Choice:
    """All objects of all windows, all candidates, and who catches whom."""

    def __init__(self, windows: Sequence[Window], groups: Sequence[str], settings: EngineSettings) -> None:
        self._windows = windows
        self._groups = groups
        self._group = np.concatenate([window.group for window in windows])
        self._expected = np.sum([window.expected for window in windows], axis=0)
        chooses = np.concatenate([window.chooses for window in windows])
        # A catalogue's objects do both; and a group of one drawn object has nothing to judge by but itself.
        judges = ~chooses
        self._judges = judges | ~self._has_any(judges)[self._group]
        self._weight = self._group_weights(chooses | ~self._has_any(chooses)[self._group])
        self._merit = self._group_weights(self._judges)
        self._settings = settings
        self._fewest = FEWEST_OBJECTS * self._weight.max()
        self._candidates: list[tuple[int, Candidate]] = []
        self._detectable = np.zeros((0, len(self._group)), dtype=np.bool_)
        #: Work of each candidate's task, over that of one whose cell meets every pointing.
        self._effort = np.zeros(0)

    def greedy(self, *, number: int | None, coverage: float) -> list[int]:
        """Return the chosen candidates, in order. Of equal ones the first, of the fullest cell, is taken."""
        chosen: list[int] = []
        covered = np.zeros(len(self._group), dtype=np.bool_)
        for _ in range(ROUNDS):
            self._add_candidates(covered)
            while number is None or len(chosen) < number:
                wanted = self._weight * ~covered
                if number is None:
                    wanted[self._is_enough(covered, coverage)[self._group]] = 0.0
                gains = self._detectable @ wanted
                gains[gains < np.maximum(WORTH * self._effort, self._fewest)] = 0.0
                best = int(np.argmax(gains)) if gains.size else -1
                if best < 0 or gains[best] == 0.0:
                    break
                chosen.append(best)
                covered |= self._detectable[best]
        return chosen

    def _add_candidates(self, covered: BoolArray) -> None:
        """Make candidates of what is not covered, and see whom they catch."""
        most = max(FEWEST_CANDIDATES, MOST_CANDIDATES // len(self._windows))
        ends = np.cumsum([len(window.states) for window in self._windows])
        weights = np.split(self._weight * ~covered, ends[:-1])
        added = [
            (number, candidate)
            for number, (window, weight) in enumerate(zip(self._windows, weights, strict=True))
            for candidate in candidates_of_window(window, weight, self._settings, most=most)
        ]
        reaches = [
            [reach_of(each, window.sightings, window.footprint, self._settings) for window in self._windows]
            for _, each in added
        ]
        if not added:
            return
        new = np.array([np.concatenate([reach.detectable for reach in each]) for each in reaches])
        pointings = sum(len(window.footprint) for window in self._windows)
        effort = np.array([sum(reach.effort for reach in each) / pointings for each in reaches])
        self._candidates += added
        self._detectable = np.concatenate([self._detectable, new])
        self._effort = np.concatenate([self._effort, effort])

    def selection(self, chosen: Sequence[int], *, number: int | None) -> Selection:
        """Return what people get of the chosen candidates."""
        covered = np.zeros(len(self._group), dtype=np.bool_)
        orbits: list[ChosenOrbit] = []
        for place, index in enumerate(chosen):
            new = self._detectable[index] & ~covered
            covered |= new
            gains = np.bincount(self._group, weights=new * self._weight, minlength=len(self._groups))
            group = self._groups[int(np.argmax(gains))]
            window = self._candidates[index][0]
            orbits.append(
                ChosenOrbit(
                    orbit_id=_orbit_id(place + 1, group, window + 1, self._candidates[index][1], self._windows[window]),
                    group=group,
                    window=window + 1,
                    gained=float(self._merit @ new),
                    covered=float(self._merit @ covered),
                )
            )
        return Selection(
            table=_table([orbit.orbit_id for orbit in orbits], [self._candidates[index][1] for index in chosen]),
            orbits=tuple(orbits),
            groups=tuple(self._coverage(group, covered) for group in range(len(self._groups))),
            windows=tuple((float(w.footprint.mjd_tdb[0]), float(w.footprint.mjd_tdb[-1])) for w in self._windows),
            number=number,
        )

    def _has_any(self, objects: BoolArray) -> BoolArray:
        return np.bincount(self._group[objects], minlength=len(self._groups)) > 0

    def _group_weights(self, objects: BoolArray) -> FloatArray:
        """Weigh objects so that groups count by how likely the survey has any of them, and all together 1.

        Not by how many there are: the main belt would be everything.
        """
        counts = np.bincount(self._group[objects], minlength=len(self._groups))
        likely = np.where(counts > 0, -np.expm1(-self._expected), 0.0)
        share = likely / np.maximum(counts, 1) / likely.sum()
        return np.where(objects, share[self._group], 0.0)

    def _is_enough(self, covered: BoolArray, coverage: float) -> BoolArray:
        """Tell which groups are covered as asked for, by the objects that judge."""
        total = np.bincount(self._group[self._judges], minlength=len(self._groups))
        there = np.bincount(self._group[self._judges & covered], minlength=len(self._groups))
        return there >= coverage * total

    def _coverage(self, number: int, covered: BoolArray) -> GroupCoverage:
        judged = self._judges & (self._group == number)
        return GroupCoverage(
            self._groups[number], int(judged.sum()), int((judged & covered).sum()), float(self._expected[number])
        )


def _orbit_id(place: int, group: str, window: int, candidate: Candidate, where: Window) -> str:
    """Name an orbit by its place in the choice, its group, window and cell: sky (geocentric ecliptic), distance."""
    middle = int(np.argmin(np.abs(where.footprint.mjd_tdb - where.epoch_mjd_tdb)))
    x, y, z = candidate.state[:3] - where.footprint.observer_position[middle]
    longitude = np.degrees(np.arctan2(y, x)) % 360.0
    latitude = np.degrees(np.arctan2(z, np.hypot(x, y)))
    side = "n" if latitude >= 0.0 else "s"
    r = np.linalg.norm(candidate.state[:3])
    return f"t{place:03d}-{group}-w{window}-lon{longitude:05.1f}-lat{abs(latitude):04.1f}{side}-r{r:.2f}"


def _table(orbit_ids: Sequence[str], candidates: Sequence[Candidate]) -> pa.Table:
    states = np.array([candidate.state for candidate in candidates]).reshape(-1, 6).round(DIGITS)
    columns = dict(zip(("x", "y", "z", "vx", "vy", "vz"), states.T, strict=True))
    return pa.table(
        {
            "orbit_id": list(orbit_ids),
            "epoch": np.array([candidate.epoch_mjd_tdb for candidate in candidates]).round(6),
            **columns,
            "covariance": pa.nulls(len(states), TEST_ORBITS.field("covariance").type),
        },
        schema=TEST_ORBITS,
    )
