"""The objects of a population that a survey could find: drawn from the synthetic model, or taken from a catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.kernels import kernel
from tasks.engines.orbit_selection.catch import findable
from tasks.engines.orbit_selection.footprint import Footprint
from tasks.engines.orbit_selection.populations import draw_states
from tasks.engines.orbit_selection.sightings import Sightings, sightings_of_states
from tasks.engines.settings import ClusterAndLinkSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

BATCH = 20_000
"""Objects drawn, or taken from a catalogue, at a time: bounds the memory."""

MOST_DRAWN = 400_000
"""So many objects of a group are drawn at most in search of those in the field: a group that is not there ends."""

CATALOGUE = "catalogue"
"""The one group of a person's own population."""


@dataclass(frozen=True)
class Catalogue:
    """A person's own population: n orbits, heliocentric ecliptic J2000."""

    #: shape (n, 6): au, au/d; shape (n,): MJD TDB.
    states: FloatArray
    epochs_mjd_tdb: FloatArray


@dataclass(frozen=True)
class Window:
    """A stretch of the survey with the m objects that could be found in it."""

    footprint: Footprint
    #: MJD TDB of `states`: the middle of the stretch.
    epoch_mjd_tdb: float
    #: shape (m, 6)
    states: FloatArray
    #: shape (m,): place in the list of groups.
    group: IndexArray
    sightings: Sightings


def window_of_model(
    footprint: Footprint, groups: Sequence[str], *, settings: ClusterAndLinkSettings, wanted: int, seed: Sequence[int]
) -> Window:
    """Draw from each group until `wanted` objects could be found, or `MOST_DRAWN` were drawn. Seeded."""
    epoch = footprint.middle_mjd_tdb
    kept: list[tuple[FloatArray, int]] = []
    for number, group in enumerate(groups):
        rng = np.random.default_rng([*seed, *group.encode()])
        found = 0
        for _ in range(MOST_DRAWN // BATCH):
            states = draw_states(group, BATCH, epoch_mjd_tdb=epoch, rng=rng)
            states = _in_field(states, epoch, footprint, settings)[: wanted - found]
            found += len(states)
            kept.append((states, number))
            if found == wanted:
                break
    return _window(footprint, epoch, kept)


def window_of_catalogue(footprint: Footprint, catalogue: Catalogue, *, settings: ClusterAndLinkSettings) -> Window:
    """Take every object of a catalogue that could be found, moved to the middle of the window on two bodies."""
    epoch = footprint.middle_mjd_tdb
    kept: list[tuple[FloatArray, int]] = []
    for first in range(0, len(catalogue.states), BATCH):
        rows = slice(first, first + BATCH)
        states = np.empty_like(catalogue.states[rows])
        _move_each(np.ascontiguousarray(catalogue.states[rows]), epoch - catalogue.epochs_mjd_tdb[rows], states)
        kept.append((_in_field(states, epoch, footprint, settings), 0))
    return _window(footprint, epoch, kept)


def _in_field(states: FloatArray, epoch: float, footprint: Footprint, settings: ClusterAndLinkSettings) -> FloatArray:
    usable = states[np.isfinite(states).all(axis=1)]
    return usable[findable(sightings_of_states(usable, epoch, footprint), footprint, settings)]


def _window(footprint: Footprint, epoch: float, kept: Sequence[tuple[FloatArray, int]]) -> Window:
    states = np.concatenate([np.empty((0, 6)), *(each for each, _ in kept)])
    group = np.concatenate([np.empty(0, np.int64), *(np.full(len(each), number) for each, number in kept)])
    return Window(footprint, epoch, states, group, sightings_of_states(states, epoch, footprint))


@kernel
def _move_each(states: FloatArray, dt: FloatArray, moved: FloatArray) -> None:
    for k in range(states.shape[0]):
        propagate_state(states[k], dt[k], moved[k])
