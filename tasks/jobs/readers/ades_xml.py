"""ADES as XML: `<optical>` elements of `<obsData>`, with the station of `<obsContext>` where they name none."""

import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa

from tasks.errors import BadInputError
from tasks.jobs.table_file import TableFile

FIRST_ELEMENT = re.compile(rb"<ades[\s>]")

OTHER_OBSERVATIONS = ("radar", "offset", "occultation", "radarResidual", "opticalResidual")
"""Elements beside `<optical>` that hold an observation: not detections with a position of their own."""


def is_ades_xml(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is ADES XML."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and FIRST_ELEMENT.search(start) is not None


def read_ades_xml(body: bytes, *, name: str) -> TableFile:
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
        for _, element in ET.iterparse(io.BytesIO(body)):  # noqa: S314
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
