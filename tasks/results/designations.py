"""Names of known objects as ADES has them: `permID`, the IAU's number, or `provID`, a provisional designation."""

import re

from tasks.inputs.readers.packed_designations import designation_from_packed

PROVISIONAL = re.compile(
    r"(\d{4} [A-HJ-Y][A-HJ-Z]\d*|\d{4} (?:P-L|T-[123])|"
    r"[ADCPX]/\d{4} [A-Z]{1,2}\d*(?:-[A-Z])?|A[89]\d{2} [A-HJ-Y][A-HJ-Z])"
    r"(?: \(.*\))?"
)
"""ADES's pattern of a provID, of minor planets and comets; comets often with a name in brackets."""

NUMBERED_COMET = re.compile(r"(\d+[IPD](?:-[A-Z]{1,2})?)(?:/.*)?")

NUMBERED = re.compile(r"\(?0*([1-9]\d{0,6})\)?(?: .*)?")
"""A number, alone or with a name: 433, (433), 433 Eros, (433) Eros."""


def designation_of(name: str) -> tuple[str, str] | None:
    """Return ADES's column for an object's name, and what stands in it; None: the name is no designation.

    Packed designations are unpacked. Underscores stand for blanks, as in names of files.
    """
    text = " ".join(name.replace("_", " ").split())
    for column, pattern in (("provID", PROVISIONAL), ("permID", NUMBERED_COMET), ("permID", NUMBERED)):
        found = pattern.fullmatch(text)
        if found:
            return column, found[1]
    try:
        designation = designation_from_packed(name)
    except (ValueError, KeyError, IndexError):
        return None
    return designation_of(designation) if designation != name else None
