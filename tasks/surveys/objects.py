"""The objects of a survey: orbits with one name for life, their detections, and whether they are certain."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.results.ades_file import NOT_REPORTED
from tasks.results.job_detections import ASKED, JobDetections
from tasks.results.merge_results import FOUND_BY, SHARED_FRACTION, MergedResults
from tasks.results.recovered_tables import complete_tables, trk_subs

OURS = (
    #: The object's name in the survey, for life: the `trkSub` of the detections that it was first found by.
    pa.field("object_id", pa.string(), nullable=False),
    #: Nights (MJD of the local date on which they began) after which it was first there, and last got detections.
    pa.field("first_night", pa.int64(), nullable=False),
    pa.field("last_night", pa.int64(), nullable=False),
    #: Its quality flags leave it uncertain: it is not reported, and its detections are linked again.
    pa.field("is_candidate", pa.bool_(), nullable=False),
)

ORBIT_FIELDS = pa.schema([*RECOVERED_ORBITS, *FOUND_BY, *OURS])
MEMBER_FIELDS = pa.schema([*RECOVERED_ORBIT_MEMBERS, *(field for field in ASKED if field.name != "obs_id")])


@dataclass(frozen=True)
class SurveyObjects:
    """Objects after some night. Orbits ascend in `object_id`; members in the row of their orbit, then in time."""

    #: Rows of `ORBIT_FIELDS`.
    orbits: pa.Table
    #: Rows of `MEMBER_FIELDS`; `orbit_index` is the row of the orbit, `obs_index` of no meaning.
    members: pa.Table

    @property
    def ids(self) -> list[str]:
        """The names of the objects."""
        names: list[str] = self.orbits["object_id"].to_pylist()
        return names

    @cached_property
    def used_ids(self) -> list[frozenset[str]]:
        """The ids of each object's detections in use."""
        sets: list[set[str]] = [set() for _ in range(len(self.orbits))]
        used = self.members.filter(pc.equal(self.members["outlier"], 0))
        for row, obs_id in zip(used["orbit_index"].to_pylist(), used["obs_id"].to_pylist(), strict=True):
            sets[row].add(obs_id)
        return [frozenset(each) for each in sets]

    def where(self, kept: Sequence[bool]) -> "SurveyObjects":
        """Return some of the objects."""
        mask = np.asarray(kept, dtype=np.bool_)
        rows = np.cumsum(mask) - 1
        owner = self.members["orbit_index"].to_numpy()
        members = self.members.filter(pa.array(mask[owner]))
        return SurveyObjects(
            self.orbits.filter(pa.array(mask)),
            _with_column(members, "orbit_index", pa.array(rows[owner[mask[owner]]], pa.int32())),
        )

    def confirmed(self) -> "SurveyObjects":
        """Return those that are certain."""
        return self.where([not each for each in self.orbits["is_candidate"].to_pylist()])

    def candidates(self) -> "SurveyObjects":
        """Return the others."""
        return self.where(self.orbits["is_candidate"].to_pylist())

    def completed(self) -> MergedResults:
        """Return the tables as people get them, with `object_id` and the other columns of `OURS`, under its name."""
        merged = MergedResults(
            self.orbits.select([*RECOVERED_ORBITS.names, *(field.name for field in FOUND_BY)]),
            self.members.select(RECOVERED_ORBIT_MEMBERS.names),
            n_before=len(self.orbits),
        )
        asked = self.members.select(ASKED.names)
        complete = complete_tables(merged, _detections(asked))
        orbits = _with_column(complete.orbits, "trkSub", self.orbits["object_id"].cast(pa.string()))
        for field in OURS:
            orbits = orbits.append_column(field, self.orbits[field.name])
        return MergedResults(orbits, complete.members, complete.n_before)


def no_objects() -> SurveyObjects:
    """Return the objects of a survey before its first night."""
    return SurveyObjects(ORBIT_FIELDS.empty_table(), MEMBER_FIELDS.empty_table())


def joined(parts: Sequence[SurveyObjects]) -> SurveyObjects:
    """Return the objects of all parts, which have different names, in the order of the names."""
    orbits = pa.concat_tables([ORBIT_FIELDS.empty_table(), *(part.orbits for part in parts)])
    before, shifted = 0, [MEMBER_FIELDS.empty_table()]
    for part in parts:
        owner = pa.array(part.members["orbit_index"].to_numpy() + before, pa.int32())
        shifted.append(_with_column(part.members, "orbit_index", owner))
        before += len(part.orbits)
    order = np.argsort(np.asarray(orbits["object_id"].to_pylist(), dtype=np.str_), kind="stable")
    return _in_order(SurveyObjects(orbits, pa.concat_tables(shifted)), order)


def found_objects(found: MergedResults, observations: pa.Table, before: SurveyObjects, night: int) -> SurveyObjects:
    """Return what a night's job has found, under its names.

    An orbit that has at least half of the detections of a candidate, or the candidate of its, is that candidate and
    keeps its name; another gets one that no object before it has.
    """
    asked = _asked(observations, found.members["obs_id"])
    flags = complete_tables(found, _detections(asked)).orbits["quality_flags"].to_pylist()
    members = pa.table(
        [found.members[name] for name in RECOVERED_ORBIT_MEMBERS.names], names=RECOVERED_ORBIT_MEMBERS.names
    )
    for field in MEMBER_FIELDS:
        if field.name not in members.column_names:
            members = members.append_column(field, asked[field.name])
    orbits = found.orbits.select([*RECOVERED_ORBITS.names, *(field.name for field in FOUND_BY)])
    bare = SurveyObjects(orbits, members)
    ids, first_nights = _named(bare.used_ids, before, night)
    columns = [
        pa.array(ids, pa.string()),
        pa.array(first_nights, pa.int64()),
        pa.array([night] * len(ids), pa.int64()),
        pa.array([any(flag in NOT_REPORTED for flag in each.split(";")) for each in flags], pa.bool_()),
    ]
    for field, column in zip(OURS, columns, strict=True):
        orbits = orbits.append_column(field, column)
    return joined([SurveyObjects(orbits.cast(ORBIT_FIELDS), members.select(MEMBER_FIELDS.names).cast(MEMBER_FIELDS))])


def _named(members: Sequence[frozenset[str]], before: SurveyObjects, night: int) -> tuple[list[str], list[int]]:
    """Return name and first night of each orbit that was found."""
    candidates = before.candidates()
    known = list(zip(candidates.ids, candidates.orbits["first_night"].to_pylist(), candidates.used_ids, strict=True))
    taken = set(before.ids)
    names, first_nights, used = [], [], set()
    for own, fresh in zip(members, trk_subs([sorted(each) for each in members]), strict=True):
        shared = [
            (len(own & theirs), name, first)
            for name, first, theirs in known
            if name not in used and len(own & theirs) >= SHARED_FRACTION * min(len(own), len(theirs))
        ]
        _, name, first = max(shared, key=lambda each: (each[0], each[1]), default=(0, fresh, night))
        while name in taken and not shared:
            name = _next_name(name)
        used.add(name)
        taken.add(name)
        names.append(name)
        first_nights.append(first)
    return names, first_nights


def _next_name(name: str) -> str:
    """Return the next free name where a hash gave one that is taken: it happens once in millions of objects."""
    return name[0] + np.base_repr((int(name[1:], 36) + 1) % 36**7, 36).rjust(7, "0")


def _asked(observations: pa.Table, obs_ids: pa.ChunkedArray) -> pa.Table:
    rows = pc.index_in(obs_ids, observations["obs_id"].combine_chunks())
    taken = observations.take(rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows)
    columns = [
        taken[field.name] if field.name in taken.column_names else pa.nulls(len(taken), field.type) for field in ASKED
    ]
    return pa.table(columns, schema=ASKED)


def observations_of(members: pa.Table) -> pa.Table:
    """Return the detections of members, with the columns of `ASKED`."""
    return members.select(ASKED.names)


def _detections(asked: pa.Table) -> JobDetections:
    nothing = asked.slice(0, 0)
    return JobDetections(asked, len(asked), {}, nothing, 1, nothing)


def _in_order(objects: SurveyObjects, order: np.ndarray) -> SurveyObjects:
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    owner = rank[objects.members["orbit_index"].to_numpy()]
    members = _with_column(objects.members, "orbit_index", pa.array(owner, pa.int32()))
    members = members.sort_by([(name, "ascending") for name in ("orbit_index", "mjd_utc", "obs_id")])
    zeros = pa.array(np.zeros(len(members)), pa.int32())
    return SurveyObjects(
        objects.orbits.take(pa.array(order)).combine_chunks(),
        _with_column(members, "obs_index", zeros).combine_chunks(),
    )


def _with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), column)
