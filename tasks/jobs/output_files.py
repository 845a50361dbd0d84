"""Which files a task brings back: THOR v1.2's names, the diagram's clusterandlink.csv, and parquet for programs."""

from collections.abc import Mapping

import pyarrow as pa

from tasks.engines.interface import Tables
from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.checkpoints import parquet_from_table

READ_BY_PROGRAMS = ("recovered_orbits", "recovered_orbit_members")
"""Tables that are also written as parquet: `collect` merges them."""


def files_from_tables(tables: Tables) -> Mapping[str, bytes]:
    """Return file names and contents of the outputs, for as many stages as have come to an end."""
    files = {f"{name}.csv": csv_from_table(without_row_numbers(table)) for name, table in tables.items()}
    files |= {f"{name}.parquet": parquet_from_table(tables[name]) for name in READ_BY_PROGRAMS if name in tables}
    if "clusters" in tables and "cluster_members" in tables:
        files["clusterandlink.csv"] = csv_from_table(clusters_with_members(tables))
    return files


def clusters_with_members(tables: Tables) -> pa.Table:
    """Return one row per cluster member, with the velocity of its cluster in the co-rotating frame, deg / d."""
    clusters, members = tables["clusters"], tables["cluster_members"]
    rows = members["cluster_index"]
    return pa.table(
        {
            "cluster_id": members["cluster_id"],
            "obs_id": members["obs_id"],
            "vtheta_x": clusters["vtheta_x"].take(rows),
            "vtheta_y": clusters["vtheta_y"].take(rows),
        }
    )


def without_row_numbers(table: pa.Table) -> pa.Table:
    """Leave out the columns that only save looking ids up between stages."""
    return table.drop_columns([name for name in table.column_names if name.endswith("_index")])
