"""Upstream's results as our tables: same columns, units and order of rows."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.engines import tables as schemas
from tasks.engines.builtin.fitting.astrometry import astrometry_rows, light_times
from tasks.engines.builtin.fitting.determination import DeterminedOrbits, no_rivals
from tasks.engines.builtin.fitting.fitted_orbits import FittedOrbits
from tasks.engines.builtin.fitting.members import Members, members_from_owners
from tasks.engines.builtin.fitting.n_body_shifts import Shifts
from tasks.engines.builtin.fitting.orbit_tables import (
    AXES,
    determined_orbits_table,
    first_orbits_table,
    members_table,
    nights_and_arcs,
)
from tasks.engines.builtin.fitting.slopes import no_slopes
from tasks.engines.builtin.survey import PreparedSurvey

FORCE_MODEL = "n-body (upstream THOR, ASSIST)"

IndexArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_RAD_PER_ARCSEC = np.pi / 180.0 / 3600.0


def tables_from_upstream(flat: Mapping[str, pa.Table], survey: PreparedSurvey, software: str) -> dict[str, pa.Table]:
    """Return the tables of one stage.

    Parameters
    ----------
    flat
        What `upstream_interpreter` wrote for the stage, by table.
    survey
        To look detections up.
    software
        Engine and version, for the outputs.
    """
    if "projected_observations" in flat:
        return {"projected_observations": _projected(flat["projected_observations"], survey)}
    if "clusters" in flat:
        return _clusters(flat["clusters"], flat["cluster_members"], survey)
    stem = next(name.removesuffix("_members") for name in flat if name.endswith("_members"))
    return _orbits(stem, flat[f"{stem}s"], flat[f"{stem}_members"], survey, software)


def _projected(table: pa.Table, survey: PreparedSurvey) -> pa.Table:
    obs_index = _rows_of(table["obs_id"], survey)
    order = np.lexsort((obs_index, survey.exposure[obs_index]))
    table, obs_index = table.take(pa.array(order)), obs_index[order]
    own = {
        "obs_index": obs_index,
        "mjd_utc": survey.exposure_mjd_utc[survey.exposure[obs_index]],
        "RA_deg": survey.ra_deg[obs_index],
        "Dec_deg": survey.dec_deg[obs_index],
        "RA_sigma_deg": np.degrees(survey.sigma_ra_rad[obs_index]),
        "Dec_sigma_deg": np.degrees(survey.sigma_dec_rad[obs_index]),
        "observatory_code": survey.observatory_codes.take(pa.array(obs_index)).cast(pa.string()),
    }
    return _table(schemas.PROJECTED_OBSERVATIONS, table, own)


def _clusters(clusters: pa.Table, rows: pa.Table, survey: PreparedSurvey) -> dict[str, pa.Table]:
    clusters = clusters.sort_by("cluster_id")
    rows, members = _members(rows, "cluster_id", clusters["cluster_id"], survey)
    nights, _, _ = nights_and_arcs(survey, members, np.ones(len(members.obs_index), np.bool_))
    own = {"cluster_index": members.owner, "obs_index": members.obs_index}
    return {
        "clusters": _table(schemas.CLUSTERS, clusters, {"num_nights": nights}),
        "cluster_members": _table(schemas.CLUSTER_MEMBERS, rows, own),
    }


def _orbits(stem: str, orbits: pa.Table, rows: pa.Table, survey: PreparedSurvey, software: str) -> dict[str, pa.Table]:
    order = [("num_obs", "descending"), ("orbit_id", "ascending")] if stem == "recovered_orbit" else "orbit_id"
    orbits = orbits.sort_by(order)
    rows, members = _members(rows, "orbit_id", orbits["orbit_id"], survey)
    fitted = _fitted(orbits, rows, members, survey)
    ids = orbits["orbit_id"].to_pylist()
    names = {
        "orbit_id": ids,
        "cluster_id": orbits["cluster_id"].to_pylist(),
        "force_model": [FORCE_MODEL] * len(ids),
    }
    if stem == "iod_orbit":
        made = first_orbits_table(survey, members, fitted, names, schemas.IOD_ORBITS)
        made_members = members_table(survey, members, fitted, ids, schemas.IOD_ORBIT_MEMBERS)
        made_members = _with(made_members, "gauss_sol", rows["solution"])
    else:
        schema = schemas.OD_ORBITS if stem == "od_orbit" else schemas.RECOVERED_ORBITS
        determined = DeterminedOrbits(fitted, _no_shifts(fitted.state), no_rivals(len(fitted.state)))
        made = determined_orbits_table(
            survey, members, determined, names, schema, {"improved": np.ones(len(ids), bool)}
        )
        made_members = members_table(survey, members, fitted, ids, schemas.OD_ORBIT_MEMBERS)
    # Upstream's own figures, where ours would be computed anew.
    for name in ("num_obs", "arc_length", "chi2", "rchi2"):
        made = _with(made, name, orbits[name])
    made_members = _with(made_members, "chi2", rows["chi2"])
    return {f"{stem}s": _with(made, "software", pa.array([software] * len(ids))), f"{stem}_members": made_members}


def _fitted(orbits: pa.Table, rows: pa.Table, members: Members, survey: PreparedSurvey) -> FittedOrbits:
    index = members.obs_index
    state = np.column_stack([orbits[name].to_numpy() for name in AXES])
    epoch = orbits["epoch"].to_numpy()
    residuals = np.column_stack(
        [
            rows["residual_ra_arcsec"].to_numpy() * _RAD_PER_ARCSEC / survey.sigma_ra_rad[index],
            rows["residual_dec_arcsec"].to_numpy() * _RAD_PER_ARCSEC / survey.sigma_dec_rad[index],
        ]
    )
    return FittedOrbits(
        epoch=epoch,
        state=state,
        covariance=_covariances(orbits["covariance"]),
        chi2=orbits["chi2"].to_numpy(),
        iterations=orbits["num_iterations"].to_numpy(),
        converged=np.ones(len(state), np.bool_),
        residuals=residuals,
        used=rows["outlier"].to_numpy() == 0,
        light_time=light_times(astrometry_rows(survey, index), members.first, state, epoch),
    )


def _no_shifts(states: FloatArray) -> Shifts:
    """Upstream says nothing of what the other bodies do to an orbit, but that it took them into account."""
    count = len(states)
    no_values = np.zeros((count, 2, 3))
    return Shifts(np.zeros(count), np.ones(count), no_values, np.ones(count, np.bool_), no_slopes(count, 2), states)


def _covariances(column: pa.ChunkedArray) -> FloatArray:
    triangle = np.array(column.to_pylist(), dtype=np.float64).reshape(-1, 21)
    matrices = np.empty((len(triangle), 6, 6))
    rows, columns = np.tril_indices(6)
    matrices[:, rows, columns] = matrices[:, columns, rows] = triangle
    return matrices


def _members(rows: pa.Table, name: str, owners: pa.ChunkedArray, survey: PreparedSurvey) -> tuple[pa.Table, Members]:
    """Sort members by owner, then time; those of owners that are gone are left out."""
    rows = rows.filter(pc.is_in(rows[name], value_set=owners.combine_chunks()))
    owner = pc.index_in(rows[name], value_set=owners.combine_chunks()).to_numpy().astype(np.int64)
    obs_index = _rows_of(rows["obs_id"], survey)
    order = np.lexsort((obs_index, survey.exposure[obs_index], owner))
    members = members_from_owners(owner[order], obs_index[order].astype(np.int32), len(owners))
    return rows.take(pa.array(order)), members


def _rows_of(obs_ids: pa.ChunkedArray, survey: PreparedSurvey) -> IndexArray:
    rows: IndexArray = pc.index_in(obs_ids.cast(pa.string()), value_set=survey.obs_ids.cast(pa.string())).to_numpy()
    return rows.astype(np.int64)


def _table(schema: pa.Schema, table: pa.Table, own: Mapping[str, object]) -> pa.Table:
    columns = {name: own[name] if name in own else table[name].cast(schema.field(name).type) for name in schema.names}
    return pa.table(columns, schema=schema)


def _with(table: pa.Table, name: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(name), values.cast(table.schema.field(name).type))
