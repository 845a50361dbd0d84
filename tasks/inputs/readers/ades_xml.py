"""ADES as XML: `<optical>` elements of `<obsData>`, with the station of `<obsContext>` where they name none."""

import re
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa

from tasks.errors import BadInputError
from tasks.inputs.readers.ades import REQUIRED, AdesIds, ades_block, columns_of_ades
from tasks.inputs.readers.blocks import Block
from tasks.inputs.readers.detections import THOR_COLUMNS
from tasks.inputs.table_file import TableFile, require_names

FIRST_ELEMENT = re.compile(rb"<ades[\s>]")

OTHER_OBSERVATIONS = ("radar", "offset", "occultation", "radarResidual", "opticalResidual")
"""Elements beside `<optical>` that hold an observation: not detections with a position of their own."""


def is_ades_xml(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is ADES XML."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and FIRST_ELEMENT.search(start) is not None


@dataclass(frozen=True)
class XmlSource:
    """ADES as XML: one block, since an element's columns are known when the last one was read."""

    file: BinaryIO
    name: str
    #: Column of the truth, where there is one.
    object_id: str = THOR_COLUMNS.object_id
    unit: str = "rows"

    def blocks(self, pool: Executor) -> Iterator[Block]:  # noqa: ARG002 (it has but one)
        """Yield the block; see `Source`."""
        self.file.seek(0)
        file = read_ades_xml(self.file, name=self.name)
        require_names(self.name, file.table.column_names, REQUIRED)
        ids = AdesIds()
        ids.look_at(file)
        columns = columns_of_ades(file.table.column_names, obs_id=ids.chosen, object_id=self.object_id)
        require_names(self.name, file.table.column_names, columns.required)
        yield ades_block(file, columns)


def read_ades_xml(body: BinaryIO, *, name: str) -> TableFile:
    """Return the observations of an ADES XML file as text, a column for each element's name.

    Radar and the like are rows without ra and dec. Observations are counted from 1 in messages.

    Raises
    ------
    BadInputError
        If it is not well-formed, or holds no observation.
    """
    rows: list[dict[str, str]] = []
    station = ""
    try:
        # Expat expands no external entities and limits the others.
        for _, element in ET.iterparse(body):  # noqa: S314
            if element.tag == "mpcCode":
                station = _text(element)
            elif element.tag == "optical":
                rows.append({"stn": station, **{child.tag: _text(child) for child in element}})
                element.clear()
            elif element.tag in OTHER_OBSERVATIONS:
                rows.append({"stn": station})
                element.clear()
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: an encoding that nobody knows
        raise BadInputError(f"Cannot read {name}: {error}. Expected well-formed ADES XML.") from error
    if not rows:
        raise BadInputError(f"Cannot use {name}: it has no observations, expected at least one <optical>.")
    names = dict.fromkeys(key for row in rows for key in row)
    table = {key: pa.array([row.get(key) or None for row in rows], pa.string()) for key in names}
    return TableFile(name, pa.table(table), np.arange(1, len(rows) + 1, dtype=np.int64), unit="observation")


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()
