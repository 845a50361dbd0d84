"""Whether each id of a file stands in one row only, by 8 bytes a row: hashes, and a second look where two are equal."""

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.inputs.readers.blocks import Source

Hashes = NDArray[np.uint64]

HASHES_A_LOOK = 200_000
"""Suspicious hashes that one pass through the file looks into; more take another pass."""

_WORD = 8
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = np.uint64(29)


def hashes_of_ids(ids: pa.Array) -> Hashes:
    """Return a hash of 64 bits of each text. Equal texts have equal hashes; others hardly ever."""
    offsets = np.frombuffer(ids.buffers()[1], dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1].astype(np.int64)
    starts, lengths = offsets[:-1], np.diff(offsets)
    data = ids.buffers()[2]
    text = np.zeros((0 if data is None else data.size) + _WORD, dtype=np.uint8)
    if data is not None:
        text[: data.size] = np.frombuffer(data, dtype=np.uint8)
    # Eight bytes from each place on, wherever it is.
    words = np.lib.stride_tricks.as_strided(text[:_WORD].view(np.uint64), (len(text) - _WORD + 1,), (1,))
    found = _mixed(lengths.astype(np.uint64))
    for begin in range(0, int(lengths.max(initial=0)), _WORD):
        rows = slice(None) if begin == 0 else np.flatnonzero(lengths > begin)
        word = words[np.minimum(starts[rows] + begin, len(words) - 1)]
        spare = np.clip(_WORD - (lengths[rows] - begin), 0, _WORD).astype(np.uint64)
        found[rows] = _mixed(found[rows] ^ _without_last_bytes(word, spare))
    return found


def _without_last_bytes(words: Hashes, spare: Hashes) -> Hashes:
    """Set the last `spare` bytes, as they lie in memory, to zero; a shift by all 64 bits has no meaning."""
    shift = spare * np.uint64(8)
    kept = np.where(shift < 64, ~np.uint64(0) >> np.minimum(shift, np.uint64(63)), np.uint64(0))  # noqa: PLR2004
    return words & kept


def _mixed(values: Hashes) -> Hashes:
    """Spread each value over all bits (multiplications and shifts, as in SplitMix64)."""
    for multiplier in _MULTIPLIERS:
        values = (values ^ (values >> _SHIFT)) * multiplier
    return values ^ (values >> _SHIFT)


@dataclass
class _Seen:
    """Where an id stands first and second."""

    first_row: int
    first: str
    #: None: nowhere, so far.
    second: str | None = None


def require_unique_ids(source: Source, hashes: Iterable[Hashes], pool: Executor) -> None:
    """Refuse a file in which an id stands in two rows; the first id that does is named, with its first two rows.

    Parameters
    ----------
    hashes
        Of all ids of the file, block by block: where two are equal the file is read again, and the ids compared.

    Raises
    ------
    BadInputError
        If an id stands twice.
    """
    suspicious = _repeated(list(hashes))
    first: tuple[str, _Seen] | None = None
    n_repeated = 0
    for start in range(0, len(suspicious), HASHES_A_LOOK):
        for text, seen in _repeated_ids(source, suspicious[start : start + HASHES_A_LOOK], pool):
            n_repeated += 1
            if first is None or seen.first_row < first[1].first_row:
                first = text, seen
    if first is not None:
        text, seen = first
        many = f"; {n_repeated} ids are repeated" if n_repeated > 1 else ""
        expected = f"an id of its own ({seen.first} has the same{many})"
        block = next(iter(source.blocks(pool)))
        raise block.file.error_at(block.columns.obs_id, str(seen.second), text, expected)


def _repeated(hashes: list[Hashes]) -> Hashes:
    """Return the hashes that are there more than once, ascending."""
    every = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
    every.sort()
    return np.unique(every[1:][every[1:] == every[:-1]])


def _repeated_ids(source: Source, suspicious: Hashes, pool: Executor) -> list[tuple[str, _Seen]]:
    seen: dict[str, _Seen] = {}
    n_rows = 0
    for block in source.blocks(pool):
        ids = block.file.required_strings(block.columns.obs_id)
        for row in np.flatnonzero(np.isin(hashes_of_ids(ids), suspicious)).tolist():
            text, place = ids[row].as_py(), block.file.place_of(row)
            known = seen.setdefault(text, _Seen(n_rows + row, place))
            if known.first_row != n_rows + row and known.second is None:
                known.second = place
        n_rows += len(ids)
    return [(text, each) for text, each in seen.items() if each.second is not None]
