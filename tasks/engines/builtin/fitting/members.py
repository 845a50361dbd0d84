"""Which detections belong to which orbit: the members of all orbits in one array, orbit after orbit."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Members:
    """m detections of c orbits or clusters."""

    #: shape (m,): rows of the detections in the survey; of one orbit in order of time.
    obs_index: IndexArray
    #: shape (c + 1,): those of orbit k are `obs_index[first[k]:first[k + 1]]`.
    first: IntArray

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def owner(self) -> IntArray:
        """The orbit of each detection, shape (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def of(self, orbits: IntArray) -> "Members":
        """Return the members of some orbits."""
        rows, first = members_of(self.first, orbits)
        return Members(self.obs_index[rows], first)

    def where(self, kept: BoolArray) -> "Members":
        """Return the members that are kept, shape (m,); no orbit goes, even if it loses all."""
        counts = np.bincount(self.owner[kept], minlength=len(self))
        return Members(self.obs_index[kept], _firsts(counts))

    def equal_to(self, other: "Members") -> BoolArray:
        """Return which orbits have the same members in both, shape (c,)."""
        same: BoolArray = np.diff(self.first) == np.diff(other.first)
        orbits = np.flatnonzero(same)
        mine, own_first = members_of(self.first, orbits)
        theirs = members_of(other.first, orbits)[0]
        differ = self.obs_index[mine] != other.obs_index[theirs]
        same[orbits] = np.bincount(np.repeat(np.arange(len(orbits)), np.diff(own_first)), differ, len(orbits)) == 0
        return same


def joined_members(first: Members, second: Members) -> Members:
    """Return the orbits of both, one after the other."""
    return Members(
        np.concatenate([first.obs_index, second.obs_index]),
        np.concatenate([first.first, first.first[-1] + second.first[1:]]),
    )


def merged_members(preferred: Members, others: Members, exposure: IndexArray) -> Members:
    """Return the members of both for each orbit, in order of time; where two are of one exposure, the preferred one.

    `exposure`, shape (n,), is the exposure of each detection of the survey.
    """
    owner = np.concatenate([preferred.owner, others.owner])
    obs_index = np.concatenate([preferred.obs_index, others.obs_index])
    is_other = np.repeat([0, 1], [len(preferred.obs_index), len(others.obs_index)])
    order = np.lexsort((is_other, exposure[obs_index], owner))
    owner, obs_index = owner[order], obs_index[order]
    shown = exposure[obs_index]
    new = np.ones(len(owner), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (shown[1:] != shown[:-1])
    return members_from_owners(owner[new], obs_index[new], len(preferred))


def members_from_owners(owner: IntArray, obs_index: IndexArray, count: int) -> Members:
    """Group detections by their owners 0 to count - 1; `owner` ascends."""
    return Members(np.asarray(obs_index, np.int32), _firsts(np.bincount(owner, minlength=count)))


def members_of(first: IntArray, orbits: IntArray) -> tuple[IntArray, IntArray]:
    """Return the rows of some orbits' members, orbit after orbit, and where each orbit's begin among them."""
    counts = first[orbits + 1] - first[orbits]
    own_first = _firsts(counts)
    rows = np.arange(own_first[-1]) + np.repeat(first[orbits] - own_first[:-1], counts)
    return rows, own_first


def ids_from_members(obs_ids: pa.Array, members: Members, prefix: str) -> list[str]:
    """Return an id for each orbit, the same whenever it has the same members: a hash of their sorted ids."""
    names = obs_ids.take(pa.array(members.obs_index)).to_pylist()
    return [
        prefix + hashlib.blake2b("\n".join(sorted(names[a:b])).encode(), digest_size=8).hexdigest()
        for a, b in zip(members.first[:-1], members.first[1:], strict=True)
    ]


def _firsts(counts: IntArray) -> IntArray:
    first = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=first[1:])
    return first
