"""What is drawn of one task, taken from its tables at once: small arrays, whatever the size of the survey."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.tables import (
    CLUSTER_MEMBERS,
    CLUSTERS,
    PROJECTED_OBSERVATIONS,
    RECOVERED_ORBIT_MEMBERS,
    RECOVERED_ORBITS,
)

MOST_DETECTIONS = 5000
"""Most detections that are drawn, taken evenly through the table, which is in order of time."""
MOST_CLUSTERS = 400
"""Clusters whose tracks are drawn; the table is in the engine's order, not by quality."""
MOST_RESIDUALS = 5000

SCHEMAS = {
    "projected_observations": PROJECTED_OBSERVATIONS,
    "clusters": CLUSTERS,
    "cluster_members": CLUSTER_MEMBERS,
    "recovered_orbits": RECOVERED_ORBITS,
    "recovered_orbit_members": RECOVERED_ORBIT_MEMBERS,
}
"""The tables that are looked at; those of stages that did not run count as empty."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TaskPlotData:
    """One task, ready to be drawn."""

    #: Detections in the cell, and a sample of them: theta_x, theta_y in the co-rotating frame, deg.
    n_detections: int
    theta_deg: FloatArray
    #: Clusters, and of some the positions of their members in order of time, deg.
    n_clusters: int
    tracks_deg: list[FloatArray]
    #: Velocity of each cluster in that frame, deg / d, and whether an orbit was recovered from it.
    velocity_deg_per_day: FloatArray
    is_recovered: NDArray[np.bool_]
    #: Recovered orbits, and a sample of observed minus predicted: RA cos(Dec), Dec, arcsec; 1: not used in the fit.
    n_orbits: int
    residual_arcsec: FloatArray
    is_outlier: NDArray[np.bool_]


def plot_data_of_task(tables: Mapping[str, pa.Table]) -> TaskPlotData | None:
    """Return what is drawn of these tables (`tasks.engines.tables`); of stages that did not run, nothing.

    None: not even the first stage ran.
    """
    if "projected_observations" not in tables:
        return None
    empty = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
    projected, clusters, members, recovered, residuals = ({**empty, **tables}[name] for name in SCHEMAS)
    theta = _columns(projected, "theta_x_deg", "theta_y_deg")
    used = set(recovered["cluster_id"].to_pylist())
    fits = residuals.take(np.arange(0, len(residuals), _step(residuals, MOST_RESIDUALS)))
    return TaskPlotData(
        n_detections=len(theta),
        theta_deg=theta[:: _step(projected, MOST_DETECTIONS)],
        n_clusters=len(clusters),
        tracks_deg=_tracks(projected, theta, members),
        velocity_deg_per_day=_columns(clusters, "vtheta_x", "vtheta_y"),
        is_recovered=np.array([each in used for each in clusters["cluster_id"].to_pylist()], dtype=np.bool_),
        n_orbits=len(recovered),
        residual_arcsec=_columns(fits, "residual_ra_arcsec", "residual_dec_arcsec"),
        is_outlier=np.asarray(fits["outlier"].to_numpy() != 0, dtype=np.bool_),
    )


def _tracks(projected: pa.Table, theta: FloatArray, members: pa.Table) -> list[FloatArray]:
    """Return the positions of the members of the first clusters."""
    cluster = members["cluster_index"].to_numpy()
    chosen = cluster < MOST_CLUSTERS
    cluster, index = cluster[chosen], members["obs_index"].to_numpy()[chosen]
    obs_index = projected["obs_index"].to_numpy()
    order = np.argsort(obs_index, kind="stable")
    rows = order[np.searchsorted(obs_index, index, sorter=order)]
    return [theta[rows[cluster == number]] for number in np.unique(cluster)]


def _columns(table: pa.Table, *names: str) -> FloatArray:
    return np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64).reshape(-1, len(names))


def _step(table: pa.Table, most: int) -> int:
    return max(1, -(-len(table) // most))
