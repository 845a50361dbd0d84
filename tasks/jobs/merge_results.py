"""One table of recovered orbits from those of all tasks: an object that several test orbits found appears once.

Two orbits are the same object when they share at least half of the detections of the one that has fewer. The best one
stands for the object: most detections, then lowest reduced chi^2, then ids. The order of the tasks is no matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.jobs.checkpoints import table_from_parquet
from tasks.jobs.collect import CollectedTask

SHARED_FRACTION = 0.5
"""Part of the detections of the smaller orbit that the larger one must have, too, for both to be one object."""

ORBITS_FILE = "recovered_orbits"
MEMBERS_FILE = "recovered_orbit_members"

FOUND_BY = (pa.field("task_id", pa.string()), pa.field("found_by", pa.string()), pa.field("num_found_by", pa.int64()))
"""Task whose orbit stands for the object; test orbits that found it, joined by ';'; and their number."""


@dataclass(frozen=True)
class MergedResults:
    """Recovered objects of a job. Rows sorted like `tables.RECOVERED_ORBITS`, with the columns of `FOUND_BY` added."""

    orbits: pa.Table
    #: Rows of `tables.RECOVERED_ORBIT_MEMBERS` of those orbits, in the order of the orbits.
    members: pa.Table
    #: Number of orbits before merging.
    n_before: int


@dataclass
class _Candidate:
    """One orbit of one task."""

    table: int
    row: int
    orbit_id: str
    task_id: str
    test_orbit_id: str
    rank: tuple[float, float, str, str]
    members: frozenset[str]


def merge_results(tasks: Iterable[CollectedTask]) -> MergedResults:
    """Merge the recovered orbits of all tasks that have any."""
    orbit_tables: list[pa.Table] = []
    member_tables: list[pa.Table] = []
    candidates: list[_Candidate] = []
    for task in tasks:
        orbits, members = task.read(f"{ORBITS_FILE}.parquet"), task.read(f"{MEMBERS_FILE}.parquet")
        if orbits is not None and members is not None:
            orbit_tables.append(table_from_parquet(orbits))
            member_tables.append(table_from_parquet(members))
            candidates += _candidates(task, orbit_tables[-1], member_tables[-1], number=len(orbit_tables) - 1)
    objects = _objects(candidates)
    return MergedResults(
        orbits=_orbits_of(objects, orbit_tables),
        members=_members_of(objects, member_tables),
        n_before=len(candidates),
    )


def _candidates(task: CollectedTask, orbits: pa.Table, members: pa.Table, *, number: int) -> list[_Candidate]:
    obs_of_orbit: dict[str, set[str]] = defaultdict(set)
    in_use = members.filter(pc.equal(members["outlier"], 0)) if "outlier" in members.column_names else members
    for orbit_id, obs_id in zip(in_use["orbit_id"].to_pylist(), in_use["obs_id"].to_pylist(), strict=True):
        obs_of_orbit[orbit_id].add(obs_id)
    columns = (orbits["orbit_id"].to_pylist(), orbits["num_obs"].to_pylist(), orbits["rchi2"].to_pylist())
    return [
        _Candidate(
            table=number,
            row=row,
            orbit_id=orbit_id,
            task_id=task.task_id,
            test_orbit_id=task.orbit_id,
            rank=(-num_obs, rchi2, orbit_id, task.task_id),
            members=frozenset(obs_of_orbit[orbit_id]),
        )
        for row, (orbit_id, num_obs, rchi2) in enumerate(zip(*columns, strict=True))
    ]


def _objects(candidates: list[_Candidate]) -> list[list[_Candidate]]:
    """Group the orbits by object; the first of each group stands for it."""
    objects: list[list[_Candidate]] = []
    objects_of_obs: dict[str, list[int]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda each: each.rank):
        shared: dict[int, int] = defaultdict(int)
        for obs_id in candidate.members:
            for number in objects_of_obs[obs_id]:
                shared[number] += 1
        best = max(shared, key=lambda number: (shared[number], -number), default=None)
        if best is not None and shared[best] >= SHARED_FRACTION * len(candidate.members):
            objects[best].append(candidate)
            continue
        for obs_id in candidate.members:
            objects_of_obs[obs_id].append(len(objects))
        objects.append([candidate])
    return objects


def _orbits_of(objects: Sequence[Sequence[_Candidate]], tables: Sequence[pa.Table]) -> pa.Table:
    if not objects:
        return pa.schema([*RECOVERED_ORBITS, *FOUND_BY]).empty_table()
    rows = pa.concat_tables([tables[found[0].table].slice(found[0].row, 1) for found in objects])
    test_orbits = [sorted({each.test_orbit_id for each in found}) for found in objects]
    columns = [
        pa.array([found[0].task_id for found in objects], pa.string()),
        pa.array([";".join(names) for names in test_orbits], pa.string()),
        pa.array([len(names) for names in test_orbits], pa.int64()),
    ]
    for field, column in zip(FOUND_BY, columns, strict=True):
        rows = rows.append_column(field, column)
    return rows.combine_chunks()


def _members_of(objects: Sequence[Sequence[_Candidate]], tables: Sequence[pa.Table]) -> pa.Table:
    if not objects:
        return RECOVERED_ORBIT_MEMBERS.empty_table()
    rows_of_orbit = [_rows_of_each_orbit(table) for table in tables]
    parts = [tables[found[0].table].take(rows_of_orbit[found[0].table][found[0].orbit_id]) for found in objects]
    return pa.concat_tables(parts).combine_chunks()


def _rows_of_each_orbit(members: pa.Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, orbit_id in enumerate(members["orbit_id"].to_pylist()):
        rows[orbit_id].append(row)
    return rows
