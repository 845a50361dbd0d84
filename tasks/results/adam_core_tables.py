"""Recovered orbits and members as tables that adam-core reads (`Orbits`, `FittedOrbitMembers`), by plain pyarrow.

adam-core itself takes seconds to import and is not needed to write them: its tables are Arrow structs, with the frame
and the time scale in the metadata. A test has adam-core read what is written here.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.orbit_catalogue import covariances_from_table

NANOSECONDS_PER_DAY = 86_400_000_000_000

ORBITS_METADATA = {"coordinates.frame": "ecliptic", "coordinates.time.scale": "tdb"}

RESIDUALS_DIMENSIONS = 6
"""adam-core's residuals have the six spherical coordinates: rho, lon, lat and their rates; all but two are NaN here."""


def adam_core_orbits(orbits: pa.Table) -> pa.Table:
    """Return the table of `adam_core.orbits.Orbits`: heliocentric ecliptic J2000 states at TDB epochs, with H and G.

    `object_id` is the known object where one was attributed, else null.
    """
    count = len(orbits)
    known = orbits["known_object"] if "known_object" in orbits.column_names else pa.nulls(count, pa.string())
    states = {name: orbits[name].combine_chunks() for name in ("x", "y", "z", "vx", "vy", "vz")}
    coordinates = _struct(
        **states,
        time=_times(orbits["epoch"]),
        covariance=_struct(values=_covariances(orbits)),
        origin=_struct(code=pa.array(["SUN"] * count, pa.large_string())),
    )
    table = pa.table(
        {
            "orbit_id": orbits["orbit_id"].cast(pa.large_string()),
            "object_id": known.cast(pa.large_string()),
            "coordinates": coordinates,
            "physical_parameters": _physical_parameters(orbits),
            "non_gravitational_parameters": _no_such_forces(count),
        }
    )
    not_null = table.schema.field("orbit_id").with_nullable(False)
    return table.cast(table.schema.set(0, not_null)).replace_schema_metadata(ORBITS_METADATA)


def adam_core_members(members: pa.Table) -> pa.Table:
    """Return the table of `adam_core.orbit_determination.FittedOrbitMembers`.

    Residuals are observed minus predicted in degrees, that of the longitude times cos(Dec), as adam-core has them.
    """
    values = np.full((len(members), RESIDUALS_DIMENSIONS), np.nan)
    for column, name in ((1, "residual_ra_arcsec"), (2, "residual_dec_arcsec")):
        values[:, column] = members[name].to_numpy() / 3600.0
    offsets = pa.array(np.arange(len(members) + 1) * RESIDUALS_DIMENSIONS, pa.int32())
    chi2 = members["chi2"].combine_chunks()
    residuals = _struct(
        values=pa.ListArray.from_arrays(offsets, pa.array(values.ravel())),
        chi2=chi2,
        dof=pa.array(np.full(len(members), 2, np.int64)),
        # Of chi^2 with two degrees of freedom: the chance of a larger one, as adam-core has it.
        probability=pc.exp(pc.divide(chi2, -2.0)),
    )
    outlier = pc.not_equal(members["outlier"], 0)
    schema = pa.schema(
        [
            pa.field("orbit_id", pa.large_string(), nullable=False),
            pa.field("obs_id", pa.large_string(), nullable=False),
            pa.field("residuals", residuals.type),
            pa.field("solution", pa.bool_()),
            pa.field("outlier", pa.bool_()),
        ]
    )
    columns = [members["orbit_id"], members["obs_id"], residuals, pc.invert(outlier), outlier]
    return pa.table(dict(zip(schema.names, columns, strict=True))).cast(schema)


def _times(mjd: pa.ChunkedArray) -> pa.StructArray:
    """Days and nanoseconds since the beginning of the day."""
    days = np.floor(mjd.to_numpy())
    nanos = np.rint((mjd.to_numpy() - days) * NANOSECONDS_PER_DAY)
    carried = nanos >= NANOSECONDS_PER_DAY
    return _struct(
        days=pa.array((days + carried).astype(np.int64)),
        nanos=pa.array(np.where(carried, 0.0, nanos).astype(np.int64)),
    )


def _covariances(orbits: pa.Table) -> pa.Array:
    """Return all 36 values of each covariance, row by row; null where there is none."""
    full = covariances_from_table(orbits).reshape(-1, 36)
    known = orbits["covariance"].is_valid().to_numpy()
    offsets = np.concatenate([[0], np.cumsum(np.where(known, 36, 0))])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(full[known].ravel()))
    return pc.if_else(pa.array(known), lists, pa.nulls(len(orbits), lists.type))


def _physical_parameters(orbits: pa.Table) -> pa.StructArray:
    nothing = pa.nulls(len(orbits), pa.float64())
    return _struct(
        H_v=orbits["H"].combine_chunks(),
        H_v_sigma=nothing,
        G=orbits["G"].combine_chunks(),
        G_sigma=nothing,
        sigma_eff=nothing,
        chi2_red=nothing,
    )


def _no_such_forces(count: int) -> pa.StructArray:
    names = ("A1", "A2", "A3", "ALN", "NK", "NM", "NN", "R0")
    return _struct(source=pa.nulls(count, pa.large_string()), **{name: pa.nulls(count, pa.float64()) for name in names})


def _struct(**children: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(children.values()), names=list(children))
