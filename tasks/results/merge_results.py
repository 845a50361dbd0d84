"""One table of recovered orbits from those of all tasks: an object that several test orbits found appears once.

Two orbits are the same object when they share at least half of the detections of the one that has fewer. The best one
stands for the object: lowest chi^2 less the price of its detections, then ids. The order of the tasks is no matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.jobs.checkpoints import table_from_parquet
from tasks.records.ids import TaskId

SHARED_FRACTION = 0.5
"""Part of the detections of the smaller orbit that the larger one must have, too, for both to be one object."""

PRICE_OF_A_DETECTION = 20.0
"""An orbit with one detection more is better while its chi^2 is not larger by more than this: as within a task (a test
holds the two together)."""

ORBITS_FILE = "recovered_orbits"
MEMBERS_FILE = "recovered_orbit_members"

FOUND_BY = (pa.field("task_id", pa.string()), pa.field("found_by", pa.string()), pa.field("num_found_by", pa.int64()))
"""Task whose orbit stands for the object; test orbits that found it, joined by ';'; and their number."""

TABLES_PRESSED_AT_ONCE = 256
"""Tables of tasks that are kept as they came; then they become one, which takes a tenth of the memory."""

IntArray = NDArray[np.int64]


class TaskOutputs(Protocol):
    """The outputs of one task, wherever they lie."""

    @property
    def task_id(self) -> TaskId:
        """The task."""
        ...

    @property
    def orbit_id(self) -> str:
        """Its test orbit."""
        ...

    def read(self, file_name: str) -> bytes | None:
        """Return the content of an output, or None when the task has no such file."""
        ...


@dataclass(frozen=True)
class MergedResults:
    """Recovered objects of a job. Rows sorted like `tables.RECOVERED_ORBITS`, with the columns of `FOUND_BY` added."""

    orbits: pa.Table
    #: Rows of `tables.RECOVERED_ORBIT_MEMBERS` of those orbits, in the order of the orbits.
    members: pa.Table
    #: Number of orbits before merging.
    n_before: int


class _Pile:
    """Many small tables that become one."""

    def __init__(self, schema: pa.Schema) -> None:
        self._pressed = [schema.empty_table()]
        self._loose: list[pa.Table] = []
        self.n_rows = 0

    def add(self, table: pa.Table) -> None:
        self._loose.append(table)
        self.n_rows += len(table)
        if len(self._loose) >= TABLES_PRESSED_AT_ONCE:
            self._press()

    def whole(self) -> pa.Table:
        self._press()
        return pa.concat_tables(self._pressed).combine_chunks()

    def _press(self) -> None:
        if self._loose:
            self._pressed.append(pa.concat_tables(self._loose).combine_chunks())
            self._loose.clear()


@dataclass(frozen=True)
class _Found:
    """Orbits of all tasks, in the order of the tasks."""

    orbits: pa.Table
    members: pa.Table
    #: Row in `members` -> row in `orbits`.
    owner: IntArray
    #: Row in `orbits` -> number of the task in the two lists.
    task: IntArray
    task_ids: list[str]
    test_orbit_ids: list[str]


def merge_results(tasks: Iterable[TaskOutputs]) -> MergedResults:
    """Merge the recovered orbits of all tasks that have any. Each task's tables are read once, one after the other."""
    found = _gathered(tasks)
    objects = _most_detections_first(_objects(_ranked(found), _used_members(found)), found)
    return MergedResults(
        orbits=_orbits_of(objects, found),
        members=_members_of(objects, found),
        n_before=len(found.orbits),
    )


def _gathered(tasks: Iterable[TaskOutputs]) -> _Found:
    orbit_pile, member_pile = _Pile(RECOVERED_ORBITS), _Pile(RECOVERED_ORBIT_MEMBERS)
    owners: list[IntArray] = []
    counts: list[int] = []
    task_ids: list[str] = []
    test_orbit_ids: list[str] = []
    for task in tasks:
        orbits_body, members_body = task.read(f"{ORBITS_FILE}.parquet"), task.read(f"{MEMBERS_FILE}.parquet")
        if orbits_body is None or members_body is None:
            continue
        orbits, members = table_from_parquet(orbits_body), table_from_parquet(members_body)
        row_in_task = pc.index_in(members["orbit_id"], orbits["orbit_id"].combine_chunks()).to_numpy()
        owners.append(row_in_task.astype(np.int64) + orbit_pile.n_rows)
        counts.append(len(orbits))
        task_ids.append(task.task_id)
        test_orbit_ids.append(task.orbit_id)
        orbit_pile.add(orbits)
        member_pile.add(members)
    return _Found(
        orbits=orbit_pile.whole(),
        members=member_pile.whole(),
        owner=np.concatenate([np.empty(0, np.int64), *owners]),
        task=np.repeat(np.arange(len(counts)), counts),
        task_ids=task_ids,
        test_orbit_ids=test_orbit_ids,
    )


def _ranked(found: _Found) -> list[int]:
    """Return the rows of the orbits, the best one first."""
    columns = (found.orbits[name].to_pylist() for name in ("num_obs", "chi2", "orbit_id"))
    ranks = [
        (chi2 - PRICE_OF_A_DETECTION * num_obs, orbit_id, found.task_ids[task], row)
        for row, (num_obs, chi2, orbit_id, task) in enumerate(zip(*columns, found.task.tolist(), strict=True))
    ]
    return [rank[-1] for rank in sorted(ranks)]


def _used_members(found: _Found) -> list[list[int]]:
    """Return for each orbit the numbers of the detections in use: one number for one id in all tasks."""
    numbers = found.members["obs_id"].combine_chunks().dictionary_encode()
    if isinstance(numbers, pa.ChunkedArray):
        numbers = numbers.unify_dictionaries().combine_chunks()
    used = np.flatnonzero(found.members["outlier"].to_numpy() == 0)
    ordered = used[np.argsort(found.owner[used], kind="stable")]
    ends = np.cumsum(np.bincount(found.owner[used], minlength=len(found.orbits)))
    return [part.tolist() for part in np.split(numbers.indices.to_numpy()[ordered], ends[:-1])] if len(ends) else []


def _objects(ranked: Sequence[int], members: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group the orbits, by their rows, by object; the first of each group stands for it."""
    objects: list[list[int]] = []
    objects_of_obs: dict[int, list[int]] = defaultdict(list)
    for row in ranked:
        own = set(members[row])
        shared: dict[int, int] = defaultdict(int)
        for obs in own:
            for number in objects_of_obs[obs]:
                shared[number] += 1
        best = max(shared, key=lambda number: (shared[number], -number), default=None)
        if best is not None and shared[best] >= SHARED_FRACTION * len(own):
            objects[best].append(row)
            continue
        for obs in own:
            objects_of_obs[obs].append(len(objects))
        objects.append([row])
    return objects


def _most_detections_first(objects: list[list[int]], found: _Found) -> list[list[int]]:
    """Sort the objects as `tables.RECOVERED_ORBITS` is, by the orbits that stand for them."""
    num_obs, orbit_ids = (found.orbits[name].to_pylist() for name in ("num_obs", "orbit_id"))
    return sorted(objects, key=lambda group: (-num_obs[group[0]], orbit_ids[group[0]]))


def _orbits_of(objects: Sequence[Sequence[int]], found: _Found) -> pa.Table:
    rows = found.orbits.take(pa.array([group[0] for group in objects], pa.int64()))
    test_orbits = [sorted({found.test_orbit_ids[found.task[row]] for row in group}) for group in objects]
    columns = [
        pa.array([found.task_ids[found.task[group[0]]] for group in objects], pa.string()),
        pa.array([";".join(names) for names in test_orbits], pa.string()),
        pa.array([len(names) for names in test_orbits], pa.int64()),
    ]
    for field, column in zip(FOUND_BY, columns, strict=True):
        rows = rows.append_column(field, column)
    return rows.combine_chunks()


def _members_of(objects: Sequence[Sequence[int]], found: _Found) -> pa.Table:
    """Return the members of the orbits that stand for objects, with `orbit_index` the row among these."""
    place = np.full(len(found.orbits), -1, np.int64)
    place[[group[0] for group in objects]] = np.arange(len(objects))
    owner = place[found.owner]
    kept = np.flatnonzero(owner >= 0)
    kept = kept[np.argsort(owner[kept], kind="stable")]
    members = found.members.take(pa.array(kept))
    column = members.column_names.index("orbit_index")
    index = pa.array(owner[kept], pa.int32())
    return members.set_column(column, members.schema.field(column), index).combine_chunks()
