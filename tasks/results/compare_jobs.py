"""Two jobs' recovered objects held against each other: found by both, by one alone, and how far their orbits differ.

Two orbits are the same object by the rule that merges the orbits of one job (`SHARED_FRACTION`), one to one; the pair
with most common detections goes first. Only detections in use count, not those that a fit rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body_partials
from tasks.results.merge_results import SHARED_FRACTION, MergedResults

STATE = ("x", "y", "z", "vx", "vy", "vz")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SharedObject:
    """An object that both jobs found."""

    orbit_a: str
    orbit_b: str
    #: Semi-major axis and eccentricity, of the first job's orbit; au.
    a_au: float
    e: float
    n_observations_a: int
    n_observations_b: int
    n_common: int
    #: How far the orbits differ, in standard deviations; see `sigmas_between`. None: a covariance is missing.
    sigmas: float | None
    #: Distance of the two at the epoch of the second orbit, au.
    distance_au: float
    rchi2_a: float
    rchi2_b: float

    @property
    def n_gained(self) -> int:
        """Observations that only the second job's orbit has."""
        return self.n_observations_b - self.n_common

    @property
    def n_lost(self) -> int:
        """Observations that only the first job's orbit has."""
        return self.n_observations_a - self.n_common


@dataclass(frozen=True)
class LoneObject:
    """An object that one of the jobs found alone."""

    orbit_id: str
    a_au: float
    e: float
    n_observations: int
    rchi2: float
    #: The most detections that it has in common with an object of the other job: too few, or that one is matched.
    n_common: int


@dataclass(frozen=True)
class Comparison:
    """What two jobs found."""

    shared: tuple[SharedObject, ...]
    only_a: tuple[LoneObject, ...]
    only_b: tuple[LoneObject, ...]

    @property
    def median_sigmas(self) -> float | None:
        """Median difference of the orbits; None: there is none that could be told."""
        return _quantile([each.sigmas for each in self.shared], 0.5)

    @property
    def largest_sigmas(self) -> float | None:
        """Largest difference of two orbits of one object."""
        return _quantile([each.sigmas for each in self.shared], 1.0)

    @property
    def n_gained(self) -> int:
        """Observations of objects that both found, which only the second job has."""
        return sum(each.n_gained for each in self.shared)

    @property
    def n_lost(self) -> int:
        """Those that only the first job has."""
        return sum(each.n_lost for each in self.shared)

    @property
    def n_common(self) -> int:
        """Those that both have."""
        return sum(each.n_common for each in self.shared)


def compare_results(first: MergedResults, second: MergedResults) -> Comparison:
    """Compare the recovered objects of two jobs whose observations have the same ids."""
    members_a, members_b = _used_members(first), _used_members(second)
    sizes_a = np.bincount(members_a["a"].to_numpy(), minlength=len(first.orbits))
    sizes_b = np.bincount(members_b["a"].to_numpy(), minlength=len(second.orbits))
    row_a, row_b, common = _overlaps(members_a, members_b)
    pairs = _matched(row_a, row_b, common, sizes_a=sizes_a, sizes_b=sizes_b)
    differences = _differences(first.orbits, second.orbits, pairs)
    orbits_a, orbits_b = _figures(first.orbits), _figures(second.orbits)
    shared = tuple(
        SharedObject(
            orbit_a=orbits_a[i]["orbit_id"],
            orbit_b=orbits_b[j]["orbit_id"],
            a_au=orbits_a[i]["a"],
            e=orbits_a[i]["e"],
            n_observations_a=int(sizes_a[i]),
            n_observations_b=int(sizes_b[j]),
            n_common=n,
            sigmas=sigmas,
            distance_au=distance_au,
            rchi2_a=orbits_a[i]["rchi2"],
            rchi2_b=orbits_b[j]["rchi2"],
        )
        for (i, j, n), (sigmas, distance_au) in zip(pairs, differences, strict=True)
    )
    return Comparison(
        shared=tuple(sorted(shared, key=lambda each: (-each.n_observations_a, each.orbit_a))),
        only_a=_lone(orbits_a, {i for i, _, _ in pairs}, sizes_a, _most_common(row_a, common, len(orbits_a))),
        only_b=_lone(orbits_b, {j for _, j, _ in pairs}, sizes_b, _most_common(row_b, common, len(orbits_b))),
    )


def sigmas_between(
    state_a: FloatArray,
    covariance_a: FloatArray,
    epoch_a: float,
    state_b: FloatArray,
    covariance_b: FloatArray,
    epoch_b: float,
) -> tuple[float | None, float]:
    r"""Return how far two orbits of one object differ: in standard deviations, and in space.

    The first is brought to the epoch of the second: its state with the planets, its covariance with two bodies. With d
    the difference of the six components and C the mean of the two covariances it is sqrt(d' C^-1 d / 6): 1 when
    they are as far apart as either orbit may be from the truth. Both rest on mostly the same detections, so that orbits
    from two right fits come out well below 1.

    Parameters
    ----------
    state_a, state_b : shape (6,)
        Heliocentric ecliptic J2000, au and au/d.
    covariance_a, covariance_b : shape (6, 6)
        nan: it could not be had.
    epoch_a, epoch_b
        MJD TDB.

    Returns
    -------
    sigmas
        None when a covariance is missing, or is none.
    distance_au
        Distance of the two positions at the second epoch.
    """
    moved = propagate(state_a[None], epoch_a, np.array([epoch_b]))[0, 0]
    _, transitions = propagate_two_body_partials(state_a, np.array([epoch_b - epoch_a]))
    covariance = (transitions[0] @ covariance_a @ transitions[0].T + covariance_b) / 2
    difference = state_b - moved
    distance_au = float(np.linalg.norm(difference[:3]))
    scale = np.sqrt(np.diag(covariance))
    if not np.all(scale > 0):  # nan, too
        return None, distance_au
    try:
        # Correlations and not covariances: au and au/d differ by orders of magnitude.
        whitened = np.linalg.solve(np.linalg.cholesky(covariance / np.outer(scale, scale)), difference / scale)
    except np.linalg.LinAlgError:
        return None, distance_au
    return float(np.sqrt(whitened @ whitened / len(STATE))), distance_au


def _used_members(results: MergedResults) -> pa.Table:
    """Return row of the orbit (`a`) and id of the observation of every member in use."""
    members = results.members
    owner = pc.index_in(members["orbit_id"], results.orbits["orbit_id"].combine_chunks())
    table = pa.table({"a": owner.cast(pa.int64()), "obs_id": members["obs_id"]})
    return table.filter(pc.equal(members["outlier"], 0))


def _overlaps(
    members_a: pa.Table, members_b: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return each two orbits that have detections in common, by row, and how many they are."""
    joined = members_a.join(members_b.rename_columns(["b", "obs_id"]), "obs_id", join_type="inner")
    counted = joined.group_by(["a", "b"]).aggregate([("obs_id", "count")])
    row_a, row_b, common = (counted[name].to_numpy().astype(np.int64) for name in ("a", "b", "obs_id_count"))
    return row_a, row_b, common


def _matched(
    row_a: NDArray[np.int64],
    row_b: NDArray[np.int64],
    common: NDArray[np.int64],
    *,
    sizes_a: NDArray[np.int64],
    sizes_b: NDArray[np.int64],
) -> list[tuple[int, int, int]]:
    """Return pairs of rows that are one object, with the number of their common detections; each row once."""
    is_same = common >= SHARED_FRACTION * np.minimum(sizes_a[row_a], sizes_b[row_b])
    order = np.lexsort((row_b, row_a, -common))
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    pairs = []
    for k in order[is_same[order]]:
        i, j = int(row_a[k]), int(row_b[k])
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            pairs.append((i, j, int(common[k])))
    return pairs


def _differences(
    orbits_a: pa.Table, orbits_b: pa.Table, pairs: Sequence[tuple[int, int, int]]
) -> list[tuple[float | None, float]]:
    states_a, states_b = (np.column_stack([table[name].to_numpy() for name in STATE]) for table in (orbits_a, orbits_b))
    covariances_a, covariances_b = _covariances(orbits_a), _covariances(orbits_b)
    epochs_a, epochs_b = orbits_a["epoch"].to_numpy(), orbits_b["epoch"].to_numpy()
    return [
        sigmas_between(states_a[i], covariances_a[i], epochs_a[i], states_b[j], covariances_b[j], epochs_b[j])
        for i, j, _ in pairs
    ]


def _covariances(orbits: pa.Table) -> FloatArray:
    rows, columns = np.tril_indices(len(STATE))
    matrices = np.full((len(orbits), len(STATE), len(STATE)), np.nan)
    for number, triangle in enumerate(orbits["covariance"].to_pylist()):
        if triangle is not None:
            matrices[number, rows, columns] = matrices[number, columns, rows] = triangle
    return matrices


def _figures(orbits: pa.Table) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = orbits.select(["orbit_id", "a", "e", "rchi2"]).to_pylist()
    return figures


def _most_common(rows: NDArray[np.int64], common: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    most = np.zeros(count, np.int64)
    np.maximum.at(most, rows, common)
    return most


def _lone(
    orbits: Sequence[dict[str, Any]], matched: set[int], sizes: NDArray[np.int64], most_common: NDArray[np.int64]
) -> tuple[LoneObject, ...]:
    return tuple(
        LoneObject(
            orbit_id=orbit["orbit_id"],
            a_au=orbit["a"],
            e=orbit["e"],
            n_observations=int(sizes[row]),
            rchi2=orbit["rchi2"],
            n_common=int(most_common[row]),
        )
        for row, orbit in enumerate(orbits)
        if row not in matched
    )


def _quantile(values: Sequence[float | None], q: float) -> float | None:
    told = [value for value in values if value is not None]
    return float(np.quantile(told, q)) if told else None
