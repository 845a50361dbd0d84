"""ADES as XML: `<optical>` elements of `<obsData>`, with the station of `<obsContext>` where they name none."""

from collections.abc import Container, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa

from tasks.errors import BadInputError
from tasks.inputs.readers.ades import ades_blocks
from tasks.inputs.readers.blocks import Block
from tasks.inputs.readers.detections import THOR_COLUMNS
from tasks.inputs.table_file import TableFile

ROOT = "ades"
"""The first element, in whatever namespace."""

OTHER_OBSERVATIONS = ("radar", "offset", "occultation", "radarResidual", "opticalResidual")
"""Elements beside `<optical>` that hold an observation: not detections with a position of their own."""

BLOCK_ROWS = 20_000

Observation = dict[str, str]


@dataclass(frozen=True)
class XmlSource:
    """ADES as XML. Radar and the like are rows without ra and dec; messages count observations from 1."""

    file: BinaryIO
    name: str
    #: Column of the truth, where there is one.
    object_id: str = THOR_COLUMNS.object_id
    block_rows: int = BLOCK_ROWS
    unit: str = "rows"

    def blocks(self, pool: Executor) -> Iterator[Block]:  # noqa: ARG002 (expat keeps the interpreter's lock)
        """Yield the rows in blocks; see `Source`."""
        return ades_blocks(self.name, self._tables, object_id=self.object_id)

    def _tables(self, wanted: Container[str] | None, seen: dict[str, None]) -> Iterator[TableFile]:
        """Yield the observations in blocks; see `Passage`."""
        self.file.seek(0)
        n_before = 0
        rows: list[Observation] = []
        try:
            for row in observations_of_xml(self.file):
                seen.update(dict.fromkeys(row))
                rows.append(row)
                if len(rows) == self.block_rows:
                    yield self._table(rows, wanted, n_before)
                    n_before += len(rows)
                    rows = []
        except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
            raise BadInputError(f"Cannot read {self.name}: {error}. Expected well-formed ADES XML.") from error
        if not seen:
            raise BadInputError(f"Cannot use {self.name}: it has no observations, expected at least one <optical>.")
        if rows:
            yield self._table(rows, wanted, n_before)

    def _table(self, rows: list[Observation], wanted: Container[str] | None, n_before: int) -> TableFile:
        names = dict.fromkeys(key for row in rows for key in row if wanted is None or key in wanted)
        table = pa.table({key: pa.array([row.get(key) or None for row in rows], pa.string()) for key in names})
        numbers = n_before + np.arange(1, len(rows) + 1, dtype=np.int64)
        return TableFile(self.name, table, numbers, unit="observation")


def observations_of_xml(file: BinaryIO) -> Iterator[Observation]:
    """Yield the text of each element of each observation, by its name. What was read is forgotten.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        If the file is not well-formed; LookupError or ValueError if its encoding is unknown.
    """
    station = ""
    opened: list[ET.Element] = []
    # Expat expands no external entities and limits the others.
    for event, element in ET.iterparse(file, ("start", "end")):  # noqa: S314
        if event == "start":
            element.tag = element.tag.rpartition("}")[2]  # without its namespace
            opened.append(element)
            station = "" if element.tag == "obsBlock" else station
            continue
        opened.pop()
        if element.tag == "mpcCode":
            station = _text(element)
        elif element.tag == "optical":
            yield {"stn": station, **{child.tag: _text(child) for child in element}}
        elif element.tag in OTHER_OBSERVATIONS:
            yield {"stn": station}
        if opened and not any(each.tag == "optical" for each in opened):
            opened[-1].remove(element)


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()
