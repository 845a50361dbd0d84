"""The kernels that follow a track from three detections to all of its detections.

*Follow* takes, slot after slot away from what it has, the detection nearest to the prediction, and fits again.
*Grow* repeats {fit, take the nearest detection at each time} until the set of members repeats itself.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.buckets import Buckets
from tasks.engines.builtin.linking.lookup import cells_between, row_of_cells, was_observed
from tasks.engines.builtin.linking.track_fit import (
    TrackFit,
    add_to_fit,
    clear_fit,
    place_at,
    rate_at,
    solve_fit,
    variance_at,
)

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]

NOT_OBSERVED = -1
TOO_WIDE = -2

_MOST_ROUNDS = 10
"""Growth reaches its fixed point in 2 to 4 rounds; sets that alternate are left here."""


class Limits(NamedTuple):
    """When to go on, and what to accept. Lengths in deg, times in days."""

    min_observations: int
    #: Nights of the sky.
    min_nights: int
    min_arc_days: float
    #: Half-width of a window, in standard deviations of the prediction.
    window_sigmas: float
    #: Variance added to every detection's own for what a polynomial leaves, deg^2.
    model_variance: float
    #: Largest variance of a detection, deg^2.
    largest_variance: float
    #: Widest window in which the nearest detection is taken, and in which every one is tried as the third.
    widest: float
    widest_third: float
    #: Detections per square degree about the seed, and the evidence that following must gather before growth is tried.
    density: float
    min_evidence: float
    #: Fewest detections that following must reach as well.
    min_followed: int
    #: Observed slots without a detection, one after another, after which following ends.
    max_misses: int
    #: Shortest time between two detections of one night that start a track, and longest gap between nights.
    shortest_pair_days: float
    longest_gap_days: float
    #: Observed nights after a detection's own that are searched for its partner, and how far at most (deg).
    seed_nights: int
    farthest_partner: float
    #: Observed slots that are searched for the third detection of a pair within a night, and of one across nights.
    third_slots_within: int
    third_slots_across: int
    #: Bounds of tracks, as in `TrackBounds`.
    speed: float
    acceleration: float
    parallax: float


def record_of_limits(limits: Limits) -> NDArray[np.void]:
    """Return them as one record, shape (1,): kernels hand it down by its address."""
    dtype = [(name, np.int64 if isinstance(value, int) else np.float64) for name, value in limits._asdict().items()]
    return np.array([tuple(limits)], dtype=dtype)


CHANCE_NEIGHBOURS = 3.0
"""Detections that may lie in the widest window by chance when the nearest is taken."""

CHANCE_THIRDS = 8.0
"""And in the widest one when each is tried as the third of a pair."""

NARROWEST_DEG = 10.0 / 3600.0
"""The widest windows are at least this wide, however dense the survey."""


@kernel
def set_limits_of_seed(limits: Any, density: float, partners: float) -> None:
    """Set the windows of a seed by the density of detections about it and the chance partners that it may have."""
    limits.density = density
    limits.widest = min(max(math.sqrt(CHANCE_NEIGHBOURS / math.pi / density), NARROWEST_DEG), limits.speed)
    limits.widest_third = min(max(math.sqrt(CHANCE_THIRDS / math.pi / density), NARROWEST_DEG), 2.0 * limits.speed)
    limits.farthest_partner = math.sqrt(partners / math.pi / density)


class Track(NamedTuple):
    """Working memory: the detections of the track at hand, and which times and nights they use."""

    #: shape (n_times,): places in `Buckets.detections`.
    hits: IndexArray
    #: shape (n_times,) and (n_nights,), nights of the sky: equal to `stamp` where used.
    time_stamp: WideIndexArray
    night_stamp: WideIndexArray
    #: shape (1,): the stamp at hand.
    stamp: WideIndexArray
    #: shape (1,): evidence for the track at hand.
    evidence: FloatArray


def new_track(buckets: Buckets) -> Track:
    """Return working memory for one thread."""
    n_times = int(buckets.detections["time_number"].max()) + 1
    n_nights = int(buckets.detections["sky_night"].max()) + 1
    return Track(
        np.zeros(n_times, np.int32),
        np.zeros(n_times, np.int64),
        np.zeros(n_nights, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1),
    )


@kernel
def follow_track(
    i: int, j: int, k: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float
) -> int:
    """Follow from three detections; return how many the track has, the first of `track.hits`, or 0 if too few."""
    detections = buckets.detections
    slots = buckets.slots
    clear_fit(fit)
    track.stamp[0] += 1
    track.evidence[0] = 0.0
    count = 0
    for seed in (i, j, k):
        count = _take(seed, count, buckets, limits, track, fit, t_ref)
    solve_fit(fit)
    slot_i, slot_j, slot_k = detections[i].slot, detections[j].slot, detections[k].slot
    low = min(slot_i, slot_j, slot_k)
    high = max(slot_i, slot_j, slot_k)
    for slot in range(low, high + 1):
        count += max(_take_nearest(slot, count, buckets, limits, track, fit, t_ref), 0)
    low_open, high_open = True, True
    misses = 0
    n_slots = len(slots)
    first, last = slots[low].time, slots[high].time
    while misses < limits.max_misses:
        low_open = low_open and low > 0
        high_open = high_open and high + 1 < n_slots
        if not (low_open or high_open):
            break
        backward = low_open and (not high_open or first - slots[low - 1].time <= slots[high + 1].time - last)
        if backward:
            low -= 1
        else:
            high += 1
        slot = low if backward else high
        taken = _take_nearest(slot, count, buckets, limits, track, fit, t_ref)
        if taken > 0:
            count += taken
            misses = 0
            first, last = min(first, slots[slot].time), max(last, slots[slot].time)
        elif taken == 0:
            misses += 1
        elif taken == TOO_WIDE:
            low_open, high_open = low_open and not backward, high_open and backward
    enough = count >= limits.min_followed and track.evidence[0] >= limits.min_evidence
    return count if enough else 0


@kernel
def _take(hit: int, count: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float) -> int:
    detections = buckets.detections
    point = detections[hit]
    track.hits[count] = hit
    track.time_stamp[point.time_number] = track.stamp[0]
    add_to_fit(fit, point.t - t_ref, point.x, point.y, point.variance + limits.model_variance)
    return count + 1


@kernel
def _take_nearest(
    slot: int, count: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float
) -> int:
    """Take the slot's detection nearest to the prediction, fit again, and so on with its other times.

    Return how many were taken, NOT_OBSERVED, or TOO_WIDE if the prediction is too uncertain to choose by it.
    """
    detections = buckets.detections
    slots = buckets.slots
    cell_start = buckets.cell_start
    observed = buckets.observed
    taken = 0
    tau = slots[slot].time - t_ref
    while True:
        x, y = place_at(fit, tau)
        variance = variance_at(fit, tau) + limits.model_variance
        window = limits.window_sigmas * math.sqrt(variance + limits.largest_variance)
        if window > limits.widest:
            return taken if taken > 0 else TOO_WIDE
        u, v = rate_at(fit, tau)
        half = slots[slot].half
        left, right, bottom, top = cells_between(slots, slot, x, y, window + abs(u) * half, window + abs(v) * half)
        best, best_share = -1, limits.window_sigmas**2
        for row in range(bottom, top + 1):
            start, end = row_of_cells(slots, cell_start, slot, row, left, right)
            for hit in range(start, end):
                share = _share(hit, variance, buckets, fit, t_ref)
                if share < best_share and track.time_stamp[detections[hit].time_number] != track.stamp[0]:
                    best, best_share = hit, share
        if best < 0:
            # Looked for first, asked after: at the edge of its few detections a slot seems not to have observed.
            return taken if taken > 0 or was_observed(slots, observed, slot, x, y) else NOT_OBSERVED
        _take(best, count + taken, buckets, limits, track, fit, t_ref)
        solve_fit(fit)
        taken += 1
        track.evidence[0] += _evidence(best_share * variance, variance, limits)


@kernel
def _evidence(distance_squared: float, variance: float, limits: Limits) -> float:
    """Return what a detection at that distance from the prediction says for a track: -log p - 1.

    p is the probability that the nearest of all unrelated detections is as near; 1 is what -log p is on average where
    there is no track (Fisher 1925, section 21.1). Nearness counts down to a tenth of the model's variance.
    """
    squared = max(distance_squared, 0.1 * limits.model_variance, 1e-3 * variance)
    chance = -math.expm1(-math.pi * squared * limits.density)
    return -math.log(max(chance, 1e-300)) - 1.0


@kernel
def grow_track(count: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float) -> int:
    """Grow the first `count` of `track.hits` to the fixed point; return the number of members, or 0 if refused."""
    detections = buckets.detections
    slots = buckets.slots
    previous = np.uint64(0)
    for _ in range(_MOST_ROUNDS):
        clear_fit(fit)
        low, high = len(slots), -1
        for n in range(count):
            point = detections[track.hits[n]]
            low, high = min(low, point.slot), max(high, point.slot)
            add_to_fit(fit, point.t - t_ref, point.x, point.y, point.variance + limits.model_variance)
        solve_fit(fit)
        count = _gather(low, high, buckets, limits, track, fit, t_ref)
        if not _is_acceptable(count, buckets, limits, track):
            return 0
        signature = _signature(count, track)
        if signature == previous:
            return count
        previous = signature
    return count


@kernel
def _gather(low: int, high: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float) -> int:
    """Take the nearest detection at each time within the window, in the slots given and then outward."""
    slots = buckets.slots
    count = 0
    for slot in range(low, high + 1):
        count = max(_gather_slot(slot, count, buckets, limits, track, fit, t_ref), count)
    for slot in range(low - 1, -1, -1):
        found = _gather_slot(slot, count, buckets, limits, track, fit, t_ref)
        if found < 0:
            break
        count = found
    for slot in range(high + 1, len(slots)):
        found = _gather_slot(slot, count, buckets, limits, track, fit, t_ref)
        if found < 0:
            break
        count = found
    return count


@kernel
def _gather_slot(
    slot: int, count: int, buckets: Buckets, limits: Limits, track: Track, fit: TrackFit, t_ref: float
) -> int:
    """Append the slot's nearest detections, one for each time; return the new count, or -1 if too uncertain."""
    detections = buckets.detections
    slots = buckets.slots
    cell_start = buckets.cell_start
    tau = slots[slot].time - t_ref
    variance = variance_at(fit, tau) + limits.model_variance
    window = limits.window_sigmas * math.sqrt(variance + limits.largest_variance)
    if window > limits.widest:
        return -1
    x, y = place_at(fit, tau)
    u, v = rate_at(fit, tau)
    half = slots[slot].half
    left, right, bottom, top = cells_between(slots, slot, x, y, window + abs(u) * half, window + abs(v) * half)
    first = count
    for row in range(bottom, top + 1):
        start, end = row_of_cells(slots, cell_start, slot, row, left, right)
        for hit in range(start, end):
            share = _share(hit, variance, buckets, fit, t_ref)
            if share >= limits.window_sigmas**2:
                continue
            place = first
            number = detections[hit].time_number
            while place < count and detections[track.hits[place]].time_number != number:
                place += 1
            if place == count:
                count += 1
                track.hits[place] = hit
            elif share < _share(track.hits[place], variance, buckets, fit, t_ref):
                track.hits[place] = hit
    return count


@kernel
def _share(hit: int, variance: float, buckets: Buckets, fit: TrackFit, t_ref: float) -> float:
    """Squared distance from the track in units of its variance."""
    detections = buckets.detections
    point = detections[hit]
    x, y = place_at(fit, point.t - t_ref)
    dx, dy = point.x - x, point.y - y
    share: float = (dx * dx + dy * dy) / (variance + point.variance)
    return share


@kernel
def _is_acceptable(count: int, buckets: Buckets, limits: Limits, track: Track) -> bool:
    detections = buckets.detections
    if count < limits.min_observations:
        return False
    track.stamp[0] += 1
    nights = 0
    first, last = math.inf, -math.inf
    for n in range(count):
        point = detections[track.hits[n]]
        first, last = min(first, point.t), max(last, point.t)
        if track.night_stamp[point.sky_night] != track.stamp[0]:
            track.night_stamp[point.sky_night] = track.stamp[0]
            nights += 1
    return nights >= limits.min_nights and last - first >= limits.min_arc_days


@kernel
def _signature(count: int, track: Track) -> np.uint64:
    """Hash the set of members, in whatever order (splitmix64, Steele et al. 2014)."""
    total = np.uint64(0)
    for n in range(count):
        z = np.uint64(track.hits[n] + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        total += z ^ (z >> np.uint64(31))
    return total
