"""From sets of detections to the tables of clusters: ids, order, and the quadratic track of each."""

import hashlib
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel
from tasks.engines.tables import CLUSTER_MEMBERS, CLUSTERS

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]


class ProjectedDetections(NamedTuple):
    """The m rows of the projected table, as arrays."""

    #: shape (m,): ids, and rows in the survey.
    obs_ids: pa.Array
    obs_index: IndexArray
    #: shape (m,): plane coordinates, deg; times, days from `epoch`; numbers of the nights.
    x: FloatArray
    y: FloatArray
    t: FloatArray
    night: IndexArray
    #: shape (m,): numbers of the nights of the sky.
    sky_night: IndexArray
    #: MJD TDB.
    epoch: float


def cluster_tables(projected: ProjectedDetections, members: IndexArray, start: WideIndexArray) -> dict[str, pa.Table]:
    """Return the tables `clusters` and `cluster_members`, each set of detections once.

    Parameters
    ----------
    members, start
        Rows of the projected table that cluster k has: members[start[k]:start[k + 1]].

    Notes
    -----
    Clusters are in order of the number of members, the largest first, then of `cluster_id`.
    """
    sets = _distinct_sets(members, start)
    ids = _cluster_ids(projected.obs_ids, sets)
    order = sorted(range(len(sets)), key=lambda k: (-len(sets[k]), ids[k]))
    ordered = [sets[k] for k in order]
    flat = np.concatenate([*ordered, np.empty(0, dtype=np.int32)]).astype(np.int32)
    offsets = np.cumsum([0, *(len(rows) for rows in ordered)]).astype(np.int64)
    cluster_ids = pa.array([ids[k] for k in order], type=pa.string())
    owner = np.repeat(np.arange(len(ordered), dtype=np.int32), np.diff(offsets))
    return {
        "clusters": _clusters(projected, cluster_ids, flat, offsets),
        "cluster_members": pa.table(
            {
                "cluster_id": cluster_ids.take(pa.array(owner)),
                "cluster_index": owner,
                "obs_id": projected.obs_ids.take(pa.array(flat)),
                "obs_index": projected.obs_index[flat],
            },
            schema=CLUSTER_MEMBERS,
        ),
    }


def _distinct_sets(members: IndexArray, start: WideIndexArray) -> list[IndexArray]:
    """Sort each set by row, which is by time, and drop repetitions."""
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    in_order = members[np.lexsort((members, owner))]
    sets = {in_order[first:end].tobytes(): in_order[first:end] for first, end in pairwise(start)}
    return list(sets.values())


def _cluster_ids(obs_ids: pa.Array, sets: list[IndexArray]) -> list[str]:
    """Hash the sorted ids of each cluster's members: a set has the same name in every run, on every machine."""
    rows = np.concatenate([*sets, np.empty(0, dtype=np.int32)])
    names = obs_ids.take(pa.array(rows, type=pa.int32())).to_pylist()
    ends = np.cumsum([0, *(len(each) for each in sets)])
    return [
        hashlib.blake2b("\n".join(sorted(names[first:end])).encode(), digest_size=10).hexdigest()
        for first, end in pairwise(ends)
    ]


def _clusters(
    projected: ProjectedDetections, cluster_ids: pa.Array, members: IndexArray, offsets: WideIndexArray
) -> pa.Table:
    n = len(cluster_ids)
    terms = np.zeros((n, 6))
    arc = np.zeros(n)
    nights = np.zeros(n, dtype=np.int32)
    describe_clusters(projected.x, projected.y, projected.t, projected.night, members, offsets, terms, arc, nights)
    return pa.table(
        {
            "cluster_id": cluster_ids,
            "vtheta_x": terms[:, 1],
            "vtheta_y": terms[:, 4],
            "arc_length": arc,
            "num_obs": np.diff(offsets).astype(np.int32),
            "num_nights": nights,
            "epoch": np.full(n, projected.epoch),
            "theta_x0": terms[:, 0],
            "theta_y0": terms[:, 3],
            "atheta_x": terms[:, 2],
            "atheta_y": terms[:, 5],
        },
        schema=CLUSTERS,
    )


@kernel
def describe_clusters(
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    night: IndexArray,
    members: IndexArray,
    offsets: WideIndexArray,
    terms: FloatArray,
    arc: FloatArray,
    nights: IndexArray,
) -> None:
    """Write each cluster's quadratic least-squares track about t = 0, its arc in days, and its number of nights.

    The fit is done about the cluster's own mean time, where it is well conditioned, then moved to t = 0.
    """
    for c in range(len(offsets) - 1):
        rows = members[offsets[c] : offsets[c + 1]]
        arc[c] = t[rows].max() - t[rows].min()
        nights[c] = len(np.unique(night[rows]))
        middle = t[rows].mean()
        tau = t[rows] - middle
        scale = max(np.abs(tau).max(), 1e-9)
        # Orthogonal polynomials on the times at hand (Forsythe 1957): no matrix to solve.
        p1 = tau / scale
        s2 = (p1 * p1).sum()
        a = (p1 * p1 * p1).sum() / s2 if s2 > 0.0 else 0.0
        b = s2 / len(rows)
        p2 = p1 * p1 - a * p1 - b
        s4 = (p2 * p2).sum()
        for axis in range(2):
            value = x[rows] if axis == 0 else y[rows]
            c0 = value.mean()
            c1 = (value * p1).sum() / s2 if s2 > 0.0 else 0.0
            c2 = (value * p2).sum() / s4 if s4 > 1e-9 else 0.0
            constant, linear, quadratic = c0 - c2 * b, (c1 - c2 * a) / scale, c2 / scale**2
            terms[c, 3 * axis] = constant - linear * middle + quadratic * middle**2
            terms[c, 3 * axis + 1] = linear - 2.0 * quadratic * middle
            terms[c, 3 * axis + 2] = quadratic
