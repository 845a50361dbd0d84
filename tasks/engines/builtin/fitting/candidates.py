"""Orbits on their way to be recovered ones: with their detections, and whether they still change."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.astrometry import astrometry_rows
from tasks.engines.builtin.fitting.determination import DeterminedOrbits, FitStart, determine_orbits
from tasks.engines.builtin.fitting.members import Members, joined_members, members_of
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.settings import EngineSettings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """c orbits with their m detections."""

    members: Members
    orbits: DeterminedOrbits
    cluster_ids: tuple[str, ...]
    #: shape (c,): attribution has been done with this very orbit, and found nothing new.
    settled: BoolArray

    def __len__(self) -> int:
        return len(self.members)

    @property
    def used(self) -> BoolArray:
        """Which detections are in use, shape (m,)."""
        return self.orbits.fitted.used

    def only(self, orbits: IntArray) -> "Candidates":
        """Return some of them, in the order given."""
        rows = members_of(self.members.first, orbits)[0]
        return Candidates(
            self.members.of(orbits),
            self.orbits.only(orbits, rows),
            tuple(self.cluster_ids[k] for k in orbits),
            self.settled[orbits],
        )

    def in_use(self) -> "Candidates":
        """Return them without the detections that are not in use."""
        rows = np.flatnonzero(self.used)
        orbits = self.orbits.only(np.arange(len(self)), rows)
        return Candidates(self.members.where(self.used), orbits, self.cluster_ids, self.settled)


def joined(parts: tuple[Candidates, Candidates]) -> Candidates:
    """Return the candidates of both parts, one after the other."""
    first, second = parts
    return Candidates(
        joined_members(first.members, second.members),
        first.orbits.joined(second.orbits),
        first.cluster_ids + second.cluster_ids,
        np.concatenate([first.settled, second.settled]),
    )


def fitted_again(
    survey: PreparedSurvey,
    candidates: Candidates,
    members: Members,
    settings: EngineSettings,
    window: tuple[FloatArray, FloatArray] | None = None,
) -> Candidates:
    """Fit the candidates to other detections, all of them in use at the start.

    With a `window` (shapes (c,), MJD TDB) the shifts are computed anew and reach that far; without, they are kept.
    """
    before = candidates.orbits
    low, high = (None, None) if window is None else window
    start = FitStart(
        states=before.fitted.state,
        epochs=before.fitted.epoch,
        low=low,
        high=high,
        shifts=before.shifts if window is None else None,
    )
    orbits = determine_orbits(
        astrometry_rows(survey, members.obs_index),
        members.first,
        start,
        settings.orbit_determination,
        min_observations=settings.cluster_and_link.min_observations,
    )
    return Candidates(members, orbits, candidates.cluster_ids, np.zeros(len(members), np.bool_))
