"""The Minor Planet Center's file of orbits, MPCORB, in its own fixed columns: in blocks, so that millions fit.

Source: Minor Planet Center, "Export Format for Minor-Planet Orbits". Epochs are TT, which TDB follows to 2 ms.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.errors import BadInputError
from tasks.inputs.readers.catalogue_blocks import Elements, known_orbits_table, runoff_from_parameter
from tasks.inputs.readers.packed_designations import designation_from_packed, mjd_from_date, mjd_from_packed

FloatArray = npt.NDArray[np.float64]
BytesArray = npt.NDArray[np.bytes_]

BLOCK_BYTES = 16 << 20

SHORTEST_LINE = 103
"""Up to the semi-major axis; what follows may be missing."""

_RULE = re.compile(rb"^-{50,}\s*$", re.MULTILINE)
"""Ends the head of the file."""

_ORBIT = re.compile(rb"^[0-9A-Za-z~_]{5}.. .{11} [IJK]\d\d[1-9A-C][1-9A-V] .{10} ", re.MULTILINE)

# Columns from 0, as slices of a line: the source counts from 1 and to the last.
_DESIGNATION, _H, _G, _EPOCH = slice(0, 7), slice(8, 13), slice(14, 19), slice(20, 25)
_ELEMENTS = {
    "a": slice(92, 103),
    "e": slice(70, 79),
    "i": slice(59, 68),
    "raan": slice(48, 57),
    "ap": slice(37, 46),
    "M": slice(26, 35),
}
_PARAMETER, _LAST_OBSERVED = slice(105, 106), slice(194, 202)


def is_mpcorb(start: bytes) -> bool:
    """Tell whether a file that begins so is MPCORB, with its head or without."""
    rule = _RULE.search(start)
    return _ORBIT.search(start, rule.end() if rule else 0) is not None


def mpcorb_blocks(file: BinaryIO, name: str) -> Iterator[pa.Table]:
    """Yield the orbits as rows of `KNOWN_ORBITS`.

    Raises
    ------
    BadInputError
        If a line can't be read.
    """
    n_lines, head_is_over, rest = 0, False, b""
    while True:
        piece = file.read(BLOCK_BYTES)
        text = rest + piece
        end = text.rfind(b"\n") + 1 if piece else len(text)
        whole, rest = text[:end], text[end:]
        if not head_is_over:
            rule = _RULE.search(whole)
            cut = rule.end() if rule else 0
            n_lines += whole.count(b"\n", 0, cut)
            whole, head_is_over = whole[cut:], True
        if whole.strip():
            yield _block(whole, name, n_lines)
        n_lines += whole.count(b"\n")
        if not piece:
            return


def _block(text: bytes, name: str, lines_before: int) -> pa.Table:
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), lines_before + 1) if line.strip()]
    width = 202
    for number, line in lines:
        if len(line) < SHORTEST_LINE:
            raise _wrong(name, number, f"{len(line)} characters", f"at least {SHORTEST_LINE}, as MPCORB has")
    table = np.array([line[:width].ljust(width) for _, line in lines], dtype=f"S{width}")
    letters = table.view("S1").reshape(len(lines), width)

    def column(part: slice) -> BytesArray:
        return np.ascontiguousarray(letters[:, part]).view(f"S{part.stop - part.start}").ravel()

    def values(part: slice, what: str, convert: Callable[[str], object]) -> list[object]:
        """Convert a column, each distinct value once."""
        distinct, rows = np.unique(column(part), return_inverse=True)
        converted = []
        for each, found in enumerate(distinct.tolist()):
            try:
                converted.append(convert(found.decode("ascii")))
            except (ValueError, IndexError):
                number = lines[int(np.flatnonzero(rows == each)[0])][0]
                raise _wrong(name, number, repr(found.decode("latin-1")), what) from None
        return [converted[row] for row in rows.tolist()]

    def numbers(part: slice, what: str, *, may_be_empty: bool = False) -> FloatArray:
        found = column(part)
        if may_be_empty:
            found = np.where(np.char.strip(found) == b"", b"nan", found)
        try:
            return found.astype(np.float64)
        except ValueError:
            return np.array(values(part, what, float), dtype=np.float64)

    epochs = np.array(values(_EPOCH, "a packed date as epoch", mjd_from_packed), dtype=np.float64)
    elements = {each: numbers(part, f"a number as {each}") for each, part in _ELEMENTS.items()}
    parameters = values(_PARAMETER, "an uncertainty parameter", str)
    return known_orbits_table(
        Elements(
            ids=values(_DESIGNATION, "a packed designation", designation_from_packed),
            epochs_mjd_tdb=epochs,
            keplerian=np.column_stack([elements[each] for each in ("a", "e", "i", "raan", "ap", "M")]),
        ),
        absolute_mag=numbers(_H, "a magnitude as H", may_be_empty=True),
        slope=numbers(_G, "a number as G", may_be_empty=True),
        runoff=np.array([runoff_from_parameter(str(each)) for each in parameters], dtype=np.float64),
        last_observed=np.array(values(_LAST_OBSERVED, "a date", _mjd_or_nan), dtype=np.float64),
    ).select(KNOWN_ORBITS.names)


def _mjd_or_nan(text: str) -> float:
    """Return the date of the last observation; nan where there is none: it only says how old an orbit is."""
    if not text.isdigit():
        return float("nan")
    return mjd_from_date(int(text[:4]), max(int(text[4:6]), 1), max(int(text[6:8]), 1))


def _wrong(name: str, line: int, found: str, expected: str) -> BadInputError:
    return BadInputError(
        f"Cannot use {name}: line {line} has {found}, expected {expected}. "
        "Get MPCORB.DAT anew from the Minor Planet Center, or give the orbits as csv."
    )
