"""ADES, the Astrometry Data Exchange Standard: what its columns mean, whether they came as PSV or XML.

Units are the standard's: degrees, arcseconds (rmsRA is of RA cos(Dec)), ISO times in UTC.
"""

import functools
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.inputs.readers.blocks import Block
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.readers.observers import brings_positions, with_observers
from tasks.inputs.table_file import TableFile, require_names

ID_COLUMNS = ("obsID", "obsSubID")
"""Columns that may hold ids, the Minor Planet Center's and the observer's; the first that has one in each row."""


NO_POSITION = "have no ra and dec of their own (radar or occultation)"
DEPRECATED = "are marked as deprecated"
"""Why rows are left out."""

REQUIRED = ["stn", "obsTime", "ra", "dec"]

NEEDED_FOR_IDS = ("ra", "dec", "deprecated", *ID_COLUMNS)


class Passage(Protocol):
    """Goes through an ADES file, from its start; a file allows it more than once."""

    def __call__(self, wanted: Container[str] | None, seen: dict[str, None]) -> Iterator[TableFile]:
        """Yield the rows in blocks, as text, with the columns that are wanted (None: all).

        Names of all columns that a row could have are put into `seen`.
        """
        ...


@dataclass
class AdesIds:
    """Which columns of ids have one in every usable row, as far as the file was looked at."""

    names: list[str] = field(default_factory=lambda: list(ID_COLUMNS))
    #: Rows that are not left out.
    n_usable: int = 0

    def look_at(self, file: TableFile) -> None:
        """Look at some rows of the file, or all."""
        usable, _ = usable_rows(file)
        self.n_usable += len(usable.table)
        self.names = [name for name in self.names if usable.has(name) and usable.strings(name).null_count == 0]

    @property
    def chosen(self) -> str:
        """The column to use; empty: none is whole."""
        return self.names[0] if self.names else ""


def columns_of_ades(names: Sequence[str], *, obs_id: str, object_id: str) -> ObservationColumns:
    """Return what the standard's columns mean, of a file that has these.

    No designation is taken for the truth unless `object_id` names its column: a file may name some objects only.
    """
    return ObservationColumns(
        obs_id=obs_id,
        time="obsTime",
        time_format="iso",
        ra="ra",
        dec="dec",
        ra_sigma="rmsRA" if "rmsRA" in names else "",
        dec_sigma="rmsDec" if "rmsDec" in names else "",
        sigma_unit="arcsec",
        observatory_code="stn",
        mag="mag",
        mag_sigma="rmsMag",
        filter="band",
        exposure_id="",
        night_id="",
        object_id=object_id,
    )


def usable_rows(file: TableFile) -> tuple[TableFile, dict[str, int]]:
    """Leave out rows without a position of their own and deprecated ones; return how many, by why."""
    no_position = pc.and_(pc.is_null(file.strings("ra")), pc.is_null(file.strings("dec")))
    deprecated = (
        pc.invert(pc.is_null(file.strings("deprecated")))
        if file.has("deprecated")
        else pa.array(np.zeros(len(file.table), dtype=bool))
    )
    counts = {
        NO_POSITION: pc.sum(no_position).as_py() or 0,
        DEPRECATED: pc.sum(pc.and_not(deprecated, no_position)).as_py() or 0,
    }
    return file.where(pc.invert(pc.or_(no_position, deprecated))), counts


def ades_blocks(name: str, passage: Passage, *, object_id: str) -> Iterator[Block]:
    """Yield the optical detections of an ADES file, with the standard's column names, all text.

    The file is read twice: only the whole of it tells which columns it has, and which ids are in every row.

    Raises
    ------
    BadInputError
        If the file can't be read, or lacks a column.
    """
    names: dict[str, None] = {}
    ids = AdesIds()
    for file in passage(NEEDED_FOR_IDS, names):
        ids.look_at(_with_columns(file, NEEDED_FOR_IDS))
    columns = columns_of_ades(list(names), obs_id=ids.chosen, object_id=object_id)
    if ids.n_usable:  # else there are blocks without rows, and what was left out is the error
        require_names(name, list(names), REQUIRED)
        require_names(name, list(names), columns.required)
    prepare = functools.partial(with_observers, columns=columns) if brings_positions(list(names)) else _as_it_is
    for file in passage(None, {}):
        usable, left_out = usable_rows(_with_columns(file, list(dict.fromkeys((*names, "ra", "dec")))))
        yield Block(usable, columns, n_read=len(file.table), left_out=left_out, prepare=prepare)


def _as_it_is(file: TableFile) -> TableFile:
    return file


def _with_columns(file: TableFile, names: Sequence[str]) -> TableFile:
    """Return the rows with these columns, empty where they have none: another section of the file had them."""
    table = file.table
    for name in names:
        if not file.has(name):
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return replace(file, table=table)
