"""All tracks in the plane: first those that start within a night, then those that start across nights.

Where the bounds leave so much room that a pair across nights would drown in chance, most objects move far less than
they might. So what was not found is sought again with narrower bounds, which ask less time for more precision.

How much chance there is, is asked about each seed, by the detections near it in its own slot. So detections elsewhere
in the cell, be they many or few, cost no object its track.

Seeds are cut into blocks by place, so many as the number of detections says: the result does not depend on how many
threads there are. Within a block, detections of a track that was found start no second search for it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.linking.bounds import TrackBounds
from tasks.engines.builtin.linking.buckets import Buckets, are_revisited, density_about_each
from tasks.engines.builtin.linking.follow import Limits, new_track, record_of_limits
from tasks.engines.builtin.linking.seeds import FULL, TRACKS, Found, tracks_from_seeds
from tasks.engines.builtin.linking.track_fit import new_track_fit
from tasks.engines.interface import MapBlocks
from tasks.engines.settings import ClusterAndLinkSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]

DETECTIONS_PER_BLOCK = 50_000
"""Fewer detections are one block: threads would not pay, and claims work best."""

MIN_EVIDENCE = 8.0
"""What `follow.follow_track` must gather. Chance alone gathers it once in some hundred tries; in a survey of a million
detections a true track of three nights has about twice as much."""

PARTNERS_OF_REVISITED = 5.0
PARTNERS_OF_UNREVISITED = 40.0
"""Chance partners of a detection on a later night: the search goes so far as to meet so many. Where a survey comes
back to a place within the night few are needed; where it does not, there is no other way."""

CHANCE_THIRDS_ACROSS = 0.25
"""Chance thirds of a detection's pairs across nights where places are revisited: in a dense survey pairs within the
night find what there is, and the others would drown in chance."""

SQUARE_OF_VISITS_DAYS = 4.0
"""Whether a place is revisited is asked of a square that the fastest track crosses in so many days: it holds detections
of every exposure that shows it."""

FEWEST_PARTNERS = 0.2
"""With fewer chance partners allowed than this, pairs across nights reach too little to be worth their time."""

MOST_THIRDS = 256
"""Thirds of one pair that are tried: many more than there ought to be, save in a clump of false detections."""

NARROWER_SEARCH = 0.75
"""With a smaller share of the chance partners that it should have, a seed is tried again with narrower bounds."""

SHARES_OF_BOUNDS = (1.0, 1.0 / 3.0, 1.0 / 9.0)
"""The bounds, and those that are tried after them, until pairs across nights have the partners they should have."""

ONE_DAY = 1.0
"""What the fastest track crosses in so many days is the side of the square about a detection that says how many others
lie there by chance."""

SLOPE_SHARE = 0.5
"""A pair's velocity must be known to this share of the fastest track's, else it says too little to start with."""


class SeedBlock(NamedTuple):
    """One block of seeds, with all that they need: plain arrays and numbers."""

    #: Places in `Buckets.detections`.
    seeds: IndexArray
    one_night: bool
    buckets: Buckets
    limits: Limits
    bounds: TrackBounds
    #: shape (m,): detections per square degree about each of `Buckets.detections`, in its slot.
    density: FloatArray
    #: shape (m,): how many chance partners each may have on later nights.
    partners: FloatArray
    #: shape (m,): tracks to which detections belong already.
    claimed: IndexArray


class Tracks(NamedTuple):
    """c tracks: members of track k are members[start[k]:start[k + 1]]."""

    #: Rows of the projected table.
    members: IndexArray
    start: WideIndexArray
    #: How many of pairs, thirds, followed, grown and found tracks.
    counts: WideIndexArray


def find_tracks(
    buckets: Buckets, bounds: TrackBounds, settings: ClusterAndLinkSettings, map_blocks: MapBlocks
) -> Tracks:
    """Find the tracks. A set of detections may be found more than once, and tracks may share detections."""
    nobody = np.zeros(len(buckets.detections), dtype=np.int32)
    parts: list[Found] = []
    crowded = np.ones(len(nobody), dtype=np.bool_)
    for share in SHARES_OF_BOUNDS:
        # All over again: what was found with wider bounds may be half of one object and half of chance.
        claimed = nobody.copy()
        own_bounds = TrackBounds(*(share * bound for bound in bounds))
        limits = limits_of_search(buckets, own_bounds, settings)
        density = density_about_each(buckets, own_bounds.speed * ONE_DAY)
        partners = _partners(buckets, own_bounds, limits, density)
        for one_night in (True, False):
            free = crowded & (claimed == 0) & (one_night | (partners >= FEWEST_PARTNERS))
            seeds = np.flatnonzero(free).astype(np.int32)
            if len(seeds) == 0:
                continue
            found = _mapped(
                map_blocks, _blocks(seeds, one_night, buckets, limits, own_bounds, density, partners, nobody)
            )
            for part in found:
                np.maximum(claimed, part.claimed, out=claimed)
            parts += found
        crowded &= partners < NARROWER_SEARCH * PARTNERS_OF_REVISITED
        if not crowded.any():
            break
    return _joined(buckets, parts)


def _partners(buckets: Buckets, bounds: TrackBounds, limits: Limits, density: FloatArray) -> FloatArray:
    """Return how many chance partners on later nights each detection may have, shape (m,)."""
    revisited = are_revisited(buckets, SQUARE_OF_VISITS_DAYS * bounds.speed, limits.shortest_pair_days)
    # A pair two days apart, and its third after two more: acceleration widens the window to 4 a.
    thirds_of_pair = 3.0 * math.pi * (4.0 * bounds.acceleration) ** 2 * density
    where_revisited = np.minimum(PARTNERS_OF_REVISITED, CHANCE_THIRDS_ACROSS / thirds_of_pair)
    return np.where(revisited, where_revisited, PARTNERS_OF_UNREVISITED)


def limits_of_search(buckets: Buckets, bounds: TrackBounds, settings: ClusterAndLinkSettings) -> Limits:
    """Derive from the bounds and the uncertainties what is the same for all seeds; the windows follow for each."""
    variance = buckets.detections["variance"]
    slope_error = (
        settings.window_sigmas * math.sqrt(2.0) * (math.sqrt(float(np.median(variance))) + bounds.parallax / 10)
    )
    return Limits(
        min_observations=settings.min_observations,
        min_nights=settings.min_nights,
        min_arc_days=settings.min_arc_days,
        window_sigmas=settings.window_sigmas,
        model_variance=(bounds.parallax / 3.0) ** 2,
        largest_variance=float(np.quantile(variance, 0.99)),
        widest=bounds.speed,
        widest_third=2.0 * bounds.speed,
        density=1.0,
        min_evidence=MIN_EVIDENCE,
        min_followed=min(4, settings.min_observations),
        max_misses=settings.max_misses,
        shortest_pair_days=slope_error / (SLOPE_SHARE * bounds.speed),
        longest_gap_days=settings.max_gap_days,
        seed_nights=settings.seed_nights,
        farthest_partner=math.inf,
        third_slots_within=6,
        third_slots_across=3,
        speed=bounds.speed,
        acceleration=bounds.acceleration,
        parallax=bounds.parallax,
    )


def tracks_of_block(block: SeedBlock) -> Found:
    """Search one block: the function that is mapped."""
    track = new_track(block.buckets)
    fit = new_track_fit(block.bounds.speed, block.bounds.acceleration, block.bounds.jerk)
    limits = record_of_limits(block.limits)
    claimed = block.claimed.copy()
    thirds, counts = np.zeros(MOST_THIRDS, np.int32), np.zeros(FULL + 1, np.int64)
    found = Found(np.zeros(4096, np.int32), np.zeros(512, np.int64), claimed, thirds, counts)
    seeds = block.seeds
    while len(seeds):
        done = tracks_from_seeds(
            seeds, block.one_night, block.density, block.partners, block.buckets, limits, track, fit, found
        )
        seeds = seeds[done:]
        found = _enlarged(found, len(track.hits))
    n = int(found.counts[TRACKS])
    return found._replace(members=found.members[: found.start[n]].copy(), start=found.start[: n + 1].copy())


def _enlarged(found: Found, longest_track: int) -> Found:
    found.counts[FULL] = 0
    members = np.concatenate([found.members, np.zeros(len(found.members) + longest_track, np.int32)])
    start = np.concatenate([found.start, np.zeros(len(found.start), np.int64)])
    return found._replace(members=members, start=start)


def _blocks(
    seeds: IndexArray,
    one_night: bool,  # noqa: FBT001
    buckets: Buckets,
    limits: Limits,
    bounds: TrackBounds,
    density: FloatArray,
    partners: FloatArray,
    claimed: IndexArray,
) -> list[SeedBlock]:
    """Cut the seeds into stripes along the motion, so that a track's detections are mostly in one block."""
    count = max(1, len(seeds) // DETECTIONS_PER_BLOCK)
    y = buckets.detections["y"][seeds]
    edges = np.quantile(y, np.arange(1, count) / count) if count > 1 else np.empty(0)
    stripe = np.searchsorted(edges, y)
    return [
        SeedBlock(seeds[stripe == k], one_night, buckets, limits, bounds, density, partners, claimed)
        for k in range(count)
    ]


def _mapped(map_blocks: MapBlocks, blocks: list[SeedBlock]) -> list[Found]:
    if len(blocks) == 1:
        return [tracks_of_block(blocks[0])]
    return map_blocks(tracks_of_block, blocks)


def _joined(buckets: Buckets, parts: Sequence[Found]) -> Tracks:
    members = buckets.detections["row"][np.concatenate([part.members for part in parts])]
    lengths = np.concatenate([np.diff(part.start) for part in parts])
    start = np.concatenate([[0], np.cumsum(lengths)])
    return Tracks(members, start, np.sum([part.counts[:FULL] for part in parts], axis=0))
