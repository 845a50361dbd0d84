"""THOR's own way to link, for comparison: shift by each velocity of a grid, then DBSCAN in the plane.

Source: Moeyens et al. 2021, AJ 162, 143, section 3; DBSCAN: Ester et al. 1996, KDD-96, 226. Times count from the
middle of the arc, where a grid of velocities of a given step does four times as much as from its beginning.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tasks.engines.builtin.linking.cluster_tables import ProjectedDetections
from tasks.engines.builtin.linking.find_tracks import Tracks
from tasks.engines.settings import ClusterAndLinkSettings

FloatArray = NDArray[np.float64]
WideIndexArray = NDArray[np.int64]


def clusters_of_velocity_grid(projected: ProjectedDetections, settings: ClusterAndLinkSettings) -> Tracks:
    """Return the clusters of all velocities; a set of detections that several velocities give is there once."""
    t = projected.t - 0.5 * (projected.t.min() + projected.t.max())
    velocities = np.linspace(-settings.grid_speed_deg_per_day, settings.grid_speed_deg_per_day, settings.grid_bins)
    sets: dict[bytes, NDArray[np.int32]] = {}
    for vx in velocities:
        for vy in velocities:
            shifted = np.column_stack([projected.x - vx * t, projected.y - vy * t])
            for rows in clusters_by_density(shifted, settings.grid_radius_deg, settings.min_observations):
                if _is_acceptable(rows, t, projected.sky_night, settings):
                    members = np.sort(rows).astype(np.int32)
                    sets.setdefault(members.tobytes(), members)
    members = np.concatenate([*sets.values(), np.empty(0, np.int32)])
    start = np.cumsum([0, *(len(rows) for rows in sets.values())]).astype(np.int64)
    return Tracks(members, start, np.zeros(0, np.int64))


def clusters_by_density(places: FloatArray, radius: float, min_neighbours: int) -> list[WideIndexArray]:
    """Return DBSCAN's clusters of places, shape (m, 2), as arrays of rows.

    A place with at least `min_neighbours` places within the radius (itself counted) is a core; cores within the
    radius of each other are one cluster, and each other place within the radius of a core joins that of the nearest.
    """
    tree = cKDTree(places)
    pairs = tree.query_pairs(radius, output_type="ndarray")
    neighbours = np.bincount(pairs.ravel(), minlength=len(places)) + 1
    is_core = neighbours >= min_neighbours
    cores = np.flatnonzero(is_core)
    if len(cores) == 0:
        return []
    joined = pairs[is_core[pairs].all(axis=1)]
    graph = coo_matrix((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(len(places),) * 2)
    _, label = connected_components(graph, directed=False)
    distance, nearest = cKDTree(places[cores]).query(places, distance_upper_bound=np.nextafter(radius, np.inf))
    rows = np.flatnonzero(np.isfinite(distance))
    labels = label[cores[nearest[rows]]]
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(rows[order], edges)


def _is_acceptable(
    rows: WideIndexArray, t: FloatArray, night: NDArray[np.int32], settings: ClusterAndLinkSettings
) -> bool:
    return (
        len(rows) >= settings.min_observations
        and float(np.ptp(t[rows])) >= settings.min_arc_days
        and len(np.unique(night[rows])) >= settings.min_nights
        and len(np.unique(t[rows])) == len(rows)
    )
