"""A small engine whose results depend on what other tasks claim: pure tables, the same each time.

Some objects with detections on every night; a test orbit's cell holds most detections of three of them, and each with
enough detections left is recovered. Cells overlap, so that tasks find, claim and miss parts of the same objects.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.engines.interface import LinkingProblem, Stage, StageResult, Tables
from tasks.engines.settings import EngineSettings, settings_from_items
from tasks.engines.tables import (
    CLUSTER_MEMBERS,
    CLUSTERS,
    IOD_ORBIT_MEMBERS,
    IOD_ORBITS,
    OBSERVATIONS,
    OD_ORBIT_MEMBERS,
    OD_ORBITS,
    PROJECTED_OBSERVATIONS,
    RECOVERED_ORBIT_MEMBERS,
    RECOVERED_ORBITS,
    TEST_ORBITS,
)
from tasks.inputs.config_file import csv_from_settings
from tasks.inputs.csv_text import csv_from_table
from tasks.records.ids import TaskId

N_OBJECTS = 12
N_DETECTIONS = 14
"""Of each object: two a night."""
FEWEST = 6
"""Detections of an object that is recovered: fewer than it takes to claim any."""


def observations() -> pa.Table:
    """Return the detections of a job, object after object."""
    pairs = [(body, number) for body in range(N_OBJECTS) for number in range(N_DETECTIONS)]
    return filled(
        OBSERVATIONS,
        obs_id=[f"{body:02d}-{number:02d}" for body, number in pairs],
        mjd_utc=[60_000.0 + number // 2 + 0.05 * (number % 2) + 1e-5 * body for body, number in pairs],
        RA_deg=[10.0 + body + 0.01 * number for body, number in pairs],
        Dec_deg=[0.1 * body for body, _ in pairs],
        RA_sigma_deg=[1e-5] * len(pairs),
        Dec_sigma_deg=[1e-5] * len(pairs),
        observatory_code=["I41"] * len(pairs),
    )


def cell(number: int) -> list[int]:
    """Return the rows of the observations that lie in the cell of test orbit `number`."""
    bodies = [(number + step) % N_OBJECTS for step in range(3)]
    rows = [body * N_DETECTIONS + detection for body in sorted(bodies) for detection in range(N_DETECTIONS)]
    return [row for row in rows if (7 * row + number) % 9]


def number_of(orbit_id: str) -> int:
    return int(orbit_id.rpartition("-")[2])


def orbit_csv(orbit_id: str) -> bytes:
    values = dict(zip(("epoch", "x", "y", "z", "vx", "vy", "vz"), (60_000.0, 2.5, 0, 0, 0, 0.01, 0), strict=True))
    orbit = filled(TEST_ORBITS, orbit_id=[orbit_id], **{name: [value] for name, value in values.items()})
    return csv_from_table(orbit)


@dataclass(frozen=True)
class ClaimingInputs:
    """The objects of a job that claims observations, as bytes."""

    observations_csv: bytes
    config_csv: bytes
    task_ids: tuple[TaskId, ...]
    #: Parallel to task_ids.
    orbit_csvs: tuple[bytes, ...]


def claiming_inputs(task_ids: list[str]) -> ClaimingInputs:
    """Return the inputs of these tasks, `<word>-<number>` each."""
    return ClaimingInputs(
        observations_csv=csv_from_table(observations()),
        config_csv=csv_from_settings(settings_from_items({"claims.observations": "true"})),
        task_ids=tuple(TaskId(task_id) for task_id in task_ids),
        orbit_csvs=tuple(orbit_csv(task_id) for task_id in task_ids),
    )


class ClaimingEngine:
    """See `tasks.engines.interface.Engine`. `on_stage` is called as each stage begins, and may sleep, raise or die."""

    name = "claiming"
    version = "1"

    def __init__(self, on_stage: Callable[[Stage], None] = lambda _: None) -> None:
        self.on_stage = on_stage

    def prepare(self, observations: pa.Table, settings: EngineSettings) -> pa.Table:
        return observations

    def range_and_shift(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        self.on_stage("range_and_shift")
        rows = cell(number_of(problem.test_orbit["orbit_id"][0].as_py()))
        kept = problem.survey.take(pa.array(rows))
        columns = {name: kept[name] for name in PROJECTED_OBSERVATIONS.names if name in kept.column_names}
        table = filled(PROJECTED_OBSERVATIONS, obs_index=rows, **columns)
        return StageResult({"projected_observations": table}, {"observations_kept": len(rows)})

    def cluster_and_link(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        self.on_stage("cluster_and_link")
        rows = tables["projected_observations"]["obs_index"].to_numpy()
        ids = tables["projected_observations"]["obs_id"].to_pylist()
        bodies = [body for body in np.unique(rows // N_DETECTIONS) if np.sum(rows // N_DETECTIONS == body) >= FEWEST]
        of_cluster = [(body, place) for body in bodies for place in np.flatnonzero(rows // N_DETECTIONS == body)]
        members = filled(
            CLUSTER_MEMBERS,
            cluster_id=[f"{body:02d}" for body, _ in of_cluster],
            cluster_index=[bodies.index(body) for body, _ in of_cluster],
            obs_id=[ids[place] for _, place in of_cluster],
            obs_index=[rows[place] for _, place in of_cluster],
        )
        clusters = filled(CLUSTERS, cluster_id=[f"{body:02d}" for body in bodies])
        return StageResult({"clusters": clusters, "cluster_members": members}, {"clusters": len(bodies)})

    def initial_orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        self.on_stage("initial_orbit_determination")
        return StageResult(
            {"iod_orbits": IOD_ORBITS.empty_table(), "iod_orbit_members": IOD_ORBIT_MEMBERS.empty_table()}, {}
        )

    def orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        self.on_stage("orbit_determination")
        return StageResult(
            {"od_orbits": OD_ORBITS.empty_table(), "od_orbit_members": OD_ORBIT_MEMBERS.empty_table()}, {}
        )

    def merge_and_extend(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        self.on_stage("merge_and_extend")
        cluster = tables["cluster_members"]["cluster_index"].to_numpy()
        rows = tables["cluster_members"]["obs_index"].to_numpy()
        ids = tables["cluster_members"]["obs_id"].to_pylist()
        found = [rows[cluster == index] for index in range(len(tables["clusters"]))]
        names = [hashlib.sha256(repr(each.tolist()).encode()).hexdigest()[:16] for each in found]
        nights = [each % N_DETECTIONS // 2 for each in found]
        orbits = filled(
            RECOVERED_ORBITS,
            orbit_id=names,
            cluster_id=tables["clusters"]["cluster_id"],
            num_obs=[len(each) for each in found],
            num_nights=[len(np.unique(each)) for each in nights],
            num_sky_nights=[len(np.unique(each)) for each in nights],
            arc_length=[float(np.ptp(each)) for each in nights],
            # One object in five leaves doubt, and is never claimed.
            rchi2=[3.0 if each[0] // N_DETECTIONS % 5 == 4 else 1.0 for each in found],
        )
        members = filled(
            RECOVERED_ORBIT_MEMBERS,
            orbit_id=[names[index] for index in cluster],
            obs_id=ids,
            outlier=[int(row % N_DETECTIONS == N_DETECTIONS - 1) for row in rows],
            orbit_index=cluster,
            obs_index=rows,
        )
        return StageResult({"recovered_orbits": orbits, "recovered_orbit_members": members}, {"orbits": len(orbits)})


def filled(schema: pa.Schema, **columns: object) -> pa.Table:
    """Return a table of that schema; columns that are not given hold null, or zero, or nothing."""
    n_rows = len(next(iter(columns.values())))
    return pa.table({field.name: columns.get(field.name, [nothing(field)] * n_rows) for field in schema}, schema=schema)


def nothing(field: pa.Field) -> object:
    if field.nullable:
        return None
    return "" if pa.types.is_string(field.type) else field.type.to_pandas_dtype()(0)
