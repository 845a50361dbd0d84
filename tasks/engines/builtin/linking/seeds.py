"""The kernel that starts tracks: pairs of detections that a bounded velocity joins, and a third that agrees.

Pairs of one night are few, since the box that a detection can reach within an hour is small, but their velocity is
coarse: every detection that it allows on the next nights is tried as the third. Pairs of different nights are many
and precise. Either kind works by itself; a survey need not visit a place twice in a night.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.buckets import Buckets
from tasks.engines.builtin.linking.follow import Limits, Track, follow_track, grow_track, set_limits_of_seed
from tasks.engines.builtin.linking.lookup import Records, cells_between, row_of_cells, was_observed
from tasks.engines.builtin.linking.track_fit import TrackFit

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]


class Found(NamedTuple):
    """Accepted tracks: members of track c are members[start[c]:start[c + 1]], and what it took."""

    #: Places in `Buckets.detections`.
    members: IndexArray
    start: WideIndexArray
    #: shape (m,): 1 + number of a track that the detection belongs to, the latest; 0: none.
    claimed: IndexArray
    #: shape (256,): working memory for the thirds of a pair; should there be more, the others are not tried.
    thirds: IndexArray
    #: shape (6,): how many of PAIRS, THIRDS, FOLLOWED, GROWN, TRACKS; and whether it is FULL.
    counts: WideIndexArray


PAIRS, THIRDS, FOLLOWED, GROWN, TRACKS, FULL = range(6)

CHANCE_PARTNERS_OF_FAR_NIGHTS = 2.0
"""Nights beyond `seed_nights` are searched for a partner while chance leaves fewer than this where it may be: slow
objects, and sparse surveys, of which some are seen on a few nights far apart."""


@kernel
def tracks_from_seeds(
    seeds: IndexArray,
    one_night: bool,  # noqa: FBT001 (kernels take no keywords)
    density: FloatArray,
    partners: FloatArray,
    buckets: Buckets,
    limits_record: NDArray[np.void],
    track: Track,
    fit_record: TrackFit,
    found: Found,
) -> int:
    """Start tracks at each of the seeds (places in `Buckets.detections`), with partners of its own or of later nights.

    Return how many seeds are done: all, or fewer where `found` is full; then go on with the others and a larger one.
    """
    limits, fit = limits_record[0], fit_record[0]
    for n in range(len(seeds)):
        set_limits_of_seed(limits, density[seeds[n]], partners[seeds[n]])
        _tracks_of_seed(seeds[n], one_night, buckets, limits, track, fit, found)
        if found.counts[FULL] > 0:
            return n
    return len(seeds)


@kernel
def _tracks_of_seed(
    i: int,
    one_night: bool,  # noqa: FBT001
    buckets: Buckets,
    limits: Limits,
    track: Track,
    fit: TrackFit,
    found: Found,
) -> None:
    detections, slots = buckets.detections, buckets.slots
    point = detections[i]
    partner_nights = 0
    night_before = -1
    for other in range(point.slot, len(slots)):
        night = slots[other].night
        if slots[other].time - point.t > (1.0 if one_night else limits.longest_gap_days):
            return
        if (night == point.night) != one_night:
            continue
        if not one_night and night != night_before and was_observed(slots, buckets.observed, other, point.x, point.y):
            if partner_nights >= limits.seed_nights and not _is_sparse(limits, slots[other].time - point.t):
                return
            partner_nights += 1
            night_before = night
        _tracks_with_slot(i, other, buckets, limits, track, fit, found)


@kernel
def _is_sparse(limits: Limits, days: float) -> bool:
    """Return whether chance puts so few detections where the fastest track gets in that time that none is too far."""
    return math.pi * (limits.speed * days) ** 2 * limits.density < CHANCE_PARTNERS_OF_FAR_NIGHTS


@kernel
def _tracks_with_slot(
    i: int, other: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, found: Found
) -> None:
    """Start tracks with partners in one slot."""
    detections, slots, cell_start, claimed = buckets.detections, buckets.slots, buckets.cell_start, found.claimed
    first = detections[i]
    reach = limits.speed * (slots[other].time + slots[other].half - first.t)
    if slots[other].night != first.night:
        reach = min(reach, limits.farthest_partner)
    left, right, bottom, top = cells_between(slots, other, first.x, first.y, reach, reach)
    for row in range(bottom, top + 1):
        start, end = row_of_cells(slots, cell_start, other, row, left, right)
        for j in range(start, end):
            second = detections[j]
            dt = second.t - first.t
            if dt < limits.shortest_pair_days:
                continue
            dx, dy = second.x - first.x, second.y - first.y
            if dx * dx + dy * dy > min(limits.speed * dt, reach) ** 2 or (claimed[i] > 0 and claimed[i] == claimed[j]):
                continue
            found.counts[PAIRS] += 1
            count = _thirds_of_pair(
                first, second, detections, slots, cell_start, buckets.observed, limits, found.thirds
            )
            tracks_before = found.counts[TRACKS]
            for n in range(count):
                _track_of_three(i, j, found.thirds[n], buckets, limits, track, fit, found)
                if found.counts[TRACKS] > tracks_before:
                    break


@kernel
def _thirds_of_pair(  # noqa: C901 (one loop over slots; calls cost more than lines)
    first: Any,
    second: Any,
    detections: Records,
    slots: Records,
    cell_start: IndexArray,
    observed: NDArray[np.uint8],
    limits: Limits,
    thirds: IndexArray,
) -> int:
    """Write the detections that the pair allows in the observed slots nearest in time; return how many.

    Slots between the pair come first: the prediction is best there. The nights of the two themselves are left out: a
    partner there has started tracks of its own. (No `Buckets` and so on among the arguments: this is called for each
    pair, and every array costs seven words.)
    """
    one_night = first.night == second.night
    enough = limits.third_slots_within if one_night else limits.third_slots_across
    rate = 1.0 / (second.t - first.t)
    u, v = (second.x - first.x) * rate, (second.y - first.y) * rate
    low, high, between = first.slot, second.slot, first.slot + 1
    count = 0
    tried = 0
    while tried < enough:
        if between < second.slot:
            slot = between
            between += 1
        elif low > 0 and (high + 1 >= len(slots) or first.t - slots[low - 1].time <= slots[high + 1].time - second.t):
            low -= 1
            slot = low
        elif high + 1 < len(slots):
            high += 1
            slot = high
        else:
            break
        night = slots[slot].night
        if night == first.night or night == second.night:  # noqa: PLR1714 (a tuple would be built)
            continue
        tau = slots[slot].time - first.t
        window = _window_of_pair(first, second, slots[slot].time, limits)
        if window > limits.widest_third:
            break
        half = slots[slot].half
        x, y = first.x + u * tau, first.y + v * tau
        left, right, bottom, top = cells_between(slots, slot, x, y, window + abs(u) * half, window + abs(v) * half)
        before = count
        for row in range(bottom, top + 1):
            start, end = row_of_cells(slots, cell_start, slot, row, left, right)
            for k in range(start, end):
                own = detections[k].t - first.t
                dx, dy = detections[k].x - first.x - u * own, detections[k].y - first.y - v * own
                if dx * dx + dy * dy <= window * window and count < len(thirds):
                    thirds[count] = k
                    count += 1
        if count > before or was_observed(slots, observed, slot, x, y):
            tried += 1
    return count


@kernel
def _window_of_pair(first: Any, second: Any, t: float, limits: Limits) -> float:
    """Bound how far from the straight line through a pair its track may be at time t, deg.

    Noise of the line and of the third detection; acceleration, which adds (t - t_i)(t - t_j) a / 2; and diurnal
    parallax, which adds at most its amplitude at each end, or, soon after, its rate.
    """
    t_i, t_j = first.t, second.t
    beta = (t - t_i) / (t_j - t_i)
    alpha = 1.0 - beta
    noise = first.variance * alpha * alpha + second.variance * beta * beta + limits.largest_variance
    bend = 0.5 * limits.acceleration * abs((t - t_i) * (t - t_j))
    outside = max(t_i - t, t - t_j, 0.0)
    by_amplitude = 1.0 + abs(alpha) + abs(beta)
    by_rate = 1.0 + 2.0 * math.pi * outside
    window: float = limits.window_sigmas * math.sqrt(noise) + bend + limits.parallax * min(by_amplitude, by_rate)
    return window


@kernel
def _track_of_three(
    i: int, j: int, k: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, found: Found
) -> None:
    detections = buckets.detections
    claimed = found.claimed
    if claimed[i] > 0 and claimed[i] == claimed[k] and claimed[i] == claimed[j]:
        return
    found.counts[THIRDS] += 1
    t_ref = detections[j].t
    count = follow_track(i, j, k, buckets, limits, track, fit, t_ref)
    if count == 0:
        return
    found.counts[FOLLOWED] += 1
    count = grow_track(count, buckets, limits, track, fit, t_ref)
    if count == 0:
        return
    found.counts[GROWN] += 1
    _append(count, track, found)


@kernel
def _append(count: int, track: Track, found: Found) -> None:
    number = found.counts[TRACKS]
    first = found.start[number]
    if first + count > len(found.members) or number + 2 > len(found.start):
        found.counts[FULL] = 1
        return
    for n in range(count):
        found.members[first + n] = track.hits[n]
        found.claimed[track.hits[n]] = number + 1
    found.start[number + 1] = first + count
    found.counts[TRACKS] += 1
