"""The objects of a population that a survey could find: drawn from the synthetic model, or taken from a catalogue.

Of the model only what is bright enough counts. Objects are drawn without a size; each counts as many times as there are
sizes with which it would be found, and gets one of those. Catalogues have no magnitudes: all their objects count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.two_body import propagate_state
from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.stationary import SAME_PLACE_SIGMAS, shortest_span_days
from tasks.engines.orbit_selection.brightness import SIZES, Sizes, magnitudes_at_zero
from tasks.engines.orbit_selection.detectability import faintest_margins, findable
from tasks.engines.orbit_selection.footprint import Footprint
from tasks.engines.orbit_selection.longitudes import Longitudes
from tasks.engines.orbit_selection.populations import FOLLOW_JUPITER, draw_states
from tasks.engines.orbit_selection.sightings import Sightings, sightings_of_states
from tasks.engines.settings import ClusterAndLinkSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

BATCH = 20_000
"""Objects drawn, or taken from a catalogue, at a time: bounds the memory."""

FOLLOWED = 1_000
"""About as many of a batch are followed through the survey: those that promise most (see `_thinned`)."""

AT_RANDOM = 0.2
"""Share of them that is taken whatever they promise: what is faint in mid-window may come near."""

FLATTENED = 0.4
"""Exponent of the numbers by size for half of the objects to choose by. A survey's deep fields and what is nearest have
most of the faint; shallow fields and what is far shall have their test orbits too, though less is found there."""

MOST_DRAWN = 300_000
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
    #: shape (m,): half of the drawn objects, to choose by; the others judge. No object is in both, however often drawn.
    chooses: BoolArray
    #: Those at which the object is bright enough.
    sightings: Sightings
    #: Of each group, how many objects the model expects to be findable; a catalogue's are counted.
    expected: FloatArray


class _Drawn(NamedTuple):
    """Objects of a group that would be found if they were large enough."""

    #: shape (p, 6)
    states: FloatArray
    #: shape (p,): objects of the model that each stands for,
    weight: FloatArray
    #: the same were sizes distributed less steeply, `FLATTENED`, in some unit,
    flat_weight: FloatArray
    #: and the faintest H with which it is found.
    faintest: FloatArray


def window_of_model(
    footprint: Footprint, groups: Sequence[str], *, settings: ClusterAndLinkSettings, wanted: int, seed: Sequence[int]
) -> Window:
    """Draw objects of each group until `wanted` could be found, or `MOST_DRAWN` were drawn. Seeded."""
    kept: list[FloatArray] = [np.empty((0, 6))]
    magnitudes: list[FloatArray] = [np.empty(0)]
    chooses: list[BoolArray] = [np.empty(0, np.bool_)]
    counts, expected = [], []
    for group in groups:
        rng = np.random.default_rng([*seed, *group.encode()])
        drawn = _drawn_of_group(group, footprint, settings, wanted=wanted, rng=rng)
        # No object is in both halves: what is chosen by must not judge.
        chosen_by, judging = slice(0, None, 2), slice(1, None, 2)
        samples = [
            (_sample(drawn.weight, chosen_by, wanted // 4, rng), True),
            (_sample(drawn.flat_weight, chosen_by, wanted // 4, rng), True),
            (_sample(drawn.weight, judging, wanted // 2, rng), False),
        ]
        for rows, is_chosen_by in samples:
            kept.append(drawn.states[rows])
            shares = 1.0 - rng.uniform(size=len(rows))
            magnitudes.append(SIZES[group].draw_brighter(drawn.faintest[rows], shares))
            chooses.append(np.full(len(rows), is_chosen_by))
        counts.append(sum(len(rows) for rows, _ in samples))
        expected.append(drawn.weight.sum())
    states = np.concatenate(kept)
    number = np.repeat(np.arange(len(groups)), counts)
    sightings = sightings_of_states(states, footprint.middle_mjd_tdb, footprint)
    bright = _bright_enough(sightings, footprint, number, groups, np.concatenate(magnitudes))
    return Window(
        footprint,
        footprint.middle_mjd_tdb,
        states,
        number,
        np.concatenate(chooses),
        sightings.where(bright),
        np.array(expected),
    )


def window_of_catalogue(footprint: Footprint, catalogue: Catalogue, *, settings: ClusterAndLinkSettings) -> Window:
    """Take every object of a catalogue that could be found, moved to the middle of the window on two bodies."""
    epoch = footprint.middle_mjd_tdb
    kept = [np.empty((0, 6))]
    for first in range(0, len(catalogue.states), BATCH):
        rows = slice(first, first + BATCH)
        states = np.empty_like(catalogue.states[rows])
        _move_each(np.ascontiguousarray(catalogue.states[rows]), epoch - catalogue.epochs_mjd_tdb[rows], states)
        usable = states[np.isfinite(states).all(axis=1)]
        kept.append(usable[findable(sightings_of_states(usable, epoch, footprint), footprint, settings)])
    states = np.concatenate(kept)
    return Window(
        footprint,
        epoch,
        states,
        np.zeros(len(states), np.int64),
        np.ones(len(states), np.bool_),
        sightings_of_states(states, epoch, footprint),
        np.array([float(len(states))]),
    )


def farthest_distance_au(footprint: Footprint) -> float:
    """Return the distance from the observer beyond which the survey's span can't tell an object from a star.

    By the engine's own rule for what stands still (`builtin.linking.stationary`): the time that it takes grows as the
    square root of the distance.
    """
    reach = SAME_PLACE_SIGMAS * np.sqrt(2.0) * footprint.sigma_rad
    at_one_au = shortest_span_days(footprint.observer_position, np.ones(1), float(reach))
    span = float(footprint.mjd_tdb[-1] - footprint.mjd_tdb[0])
    return (span / at_one_au) ** 2


def _drawn_of_group(
    group: str, footprint: Footprint, settings: ClusterAndLinkSettings, *, wanted: int, rng: np.random.Generator
) -> _Drawn:
    sizes, epoch = SIZES[group], footprint.middle_mjd_tdb
    farthest = farthest_distance_au(footprint)
    longitudes = Longitudes(footprint)
    parts: list[_Drawn] = []
    batches = 0
    while batches < MOST_DRAWN // BATCH and _number_of_equals(parts) < wanted:
        states = draw_states(group, BATCH, epoch_mjd_tdb=epoch, rng=rng)
        weight = np.ones(BATCH)
        if group not in FOLLOW_JUPITER:
            states, weight = longitudes.turned(states, rng)
        rows = np.flatnonzero(longitudes.may_hold(states) & np.isfinite(states).all(axis=1) & (weight > 0.0))
        rows, weight = _thinned(states, weight, rows, sizes, footprint, longitudes, rng)
        parts.append(_found_if_large(states[rows], weight, sizes, footprint, settings, farthest))
        batches += 1
    states, weight, flat_weight, faintest = (np.concatenate(each) for each in zip(*parts, strict=True))
    # A draw stands for one BATCH-th of the group, and each batch is one estimate of what there is.
    return _Drawn(states, weight / (BATCH * batches), flat_weight, faintest)


def _thinned(
    states: FloatArray,
    weight: FloatArray,
    rows: IndexArray,
    sizes: Sizes,
    footprint: Footprint,
    longitudes: Longitudes,
    rng: np.random.Generator,
) -> tuple[IndexArray, FloatArray]:
    """Return about `FOLLOWED` of the rows, and their weights, which make up for those that were left out.

    Most likely those that stand for many objects that are bright enough in the middle of the window, and in a field.
    """
    if not rows.size:
        return rows, weight[rows]
    middle = int(np.argmin(np.abs(footprint.mjd_tdb - footprint.middle_mjd_tdb)))
    offset = states[rows, :3] - footprint.observer_position[middle]
    distance = np.linalg.norm(offset, axis=1)
    count = np.arange(len(rows) + 1)
    there = Sightings(count, np.full(len(rows), middle), offset / distance[:, None], distance)
    faintest = footprint.limit_mag.max() - magnitudes_at_zero(sizes, there, footprint)
    promise = weight[rows] * sizes.number_brighter(faintest) * longitudes.near_fields(there.direction)
    total = promise.sum()
    # Where none of the batch is bright enough in a field, they are chosen at random.
    share = (1.0 - AT_RANDOM) * promise / (total if total > 0.0 else 1.0) + AT_RANDOM / len(rows)
    chance = np.minimum(FOLLOWED * share, 1.0)
    taken = np.flatnonzero(rng.uniform(size=len(rows)) < chance)
    return rows[taken], weight[rows[taken]] / chance[taken]


def _found_if_large(
    states: FloatArray,
    weight: FloatArray,
    sizes: Sizes,
    footprint: Footprint,
    settings: ClusterAndLinkSettings,
    farthest: float,
) -> _Drawn:
    """Keep what is in enough pointings, with the faintest H at which it is found there."""
    sightings = sightings_of_states(states, footprint.middle_mjd_tdb, footprint)
    margins = footprint.limit_mag[sightings.pointing] - magnitudes_at_zero(sizes, sightings, footprint)
    margins[sightings.distance > farthest] = -np.inf
    faintest = faintest_margins(sightings, margins, footprint, settings)
    brighter = sizes.number_brighter(faintest)
    rows = np.flatnonzero(brighter > 0.0)
    return _Drawn(states[rows], (weight * brighter)[rows], (weight * brighter**FLATTENED)[rows], faintest[rows])


def _number_of_equals(parts: Sequence[_Drawn]) -> float:
    """Return how many objects of equal weight tell as much as those that were drawn (Kish 1965, Survey Sampling)."""
    weight = np.concatenate([np.empty(0), *(part.weight for part in parts)])
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.size else 0.0


def _sample(weight: FloatArray, half: slice, wanted: int, rng: np.random.Generator) -> IndexArray:
    """Return rows of one half of the drawn objects, each as often as its weight says, in their order."""
    rows = np.arange(len(weight))[half]
    if not rows.size:
        return rows
    ends = np.cumsum(weight[rows])
    places = (np.arange(wanted) + rng.uniform()) / wanted * ends[-1]
    taken: IndexArray = rows[np.minimum(np.searchsorted(ends, places, side="right"), len(rows) - 1)]
    return taken


def _bright_enough(
    sightings: Sightings, footprint: Footprint, group: IndexArray, groups: Sequence[str], magnitude: FloatArray
) -> BoolArray:
    """Tell at which sightings an object is brighter than the limit, shape (s,)."""
    counts = np.diff(sightings.start)
    group_of_sighting = np.repeat(group, counts)
    apparent = np.repeat(magnitude, counts)
    for number, name in enumerate(groups):
        rows = np.flatnonzero(group_of_sighting == number)
        part = Sightings(sightings.start, sightings.pointing[rows], sightings.direction[rows], sightings.distance[rows])
        apparent[rows] += magnitudes_at_zero(SIZES[name], part, footprint)
    bright: BoolArray = apparent <= footprint.limit_mag[sightings.pointing] + 1e-9
    return bright


@kernel
def _move_each(states: FloatArray, dt: FloatArray, moved: FloatArray) -> None:
    for k in range(states.shape[0]):
        propagate_state(states[k], dt[k], moved[k])
