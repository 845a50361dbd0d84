"""Is a text an ADES file (version 2022, PSV, optical observations) that the Minor Planet Center takes? Pure.

The rules are those of the ADES description (IAU ADES Master, September 2022) for a submission: which header records
must be there, which columns, and what a value may look like.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

VERSION_LINE = "# version=2022"

REQUIRED_RECORDS = {
    "observatory": ("mpcCode",),
    "submitter": ("name",),
    "observers": ("name",),
    "measurers": ("name",),
    "telescope": ("design", "aperture", "detector"),
}
"""Header record -> what must stand below it. The schema could do without observers; the Minor Planet Center can't."""

OTHER_RECORDS = ("software", "comment", "fundingSource")

REQUIRED_COLUMNS = ("trkSub", "mode", "stn", "obsTime", "ra", "dec", "astCat")

_DECIMAL = r"(0|[1-9]\d*)(\.\d*)?"
_POSITIVE = rf"(?=[0-9.]*[1-9]){_DECIMAL}"

VALUES: Mapping[str, str] = {
    "trkSub": r"[-A-Za-z0-9_]{1,8}",
    "obsSubID": r"[^|]{1,25}",
    "mode": r"[A-Za-z0-9_]{1,3}",
    "stn": r"[A-Za-z0-9_]{3,4}",
    "obsTime": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z",
    "ra": r"(?:[12]?\d?\d|3[0-5]\d)(\.\d{0,9})?",
    "dec": r"[+-]?(?:[0-8]?\d(\.\d{0,9})?|90(\.0{0,9})?)",
    "rmsRA": rf"(?=.{{1,7}}$){_POSITIVE}",
    "rmsDec": rf"(?=.{{1,7}}$){_POSITIVE}",
    "astCat": r"[.A-Za-z0-9_]{1,8}",
    "mag": r"(?=[+-]?.{1,7}$)(-[0-4](\.\d*)?|[+]?([0-9]|[12]\d|3[0-4])(\.\d*)?)",
    "rmsMag": rf"(?=.{{1,6}}$){_POSITIVE}",
    "band": r"[A-Za-z0-9_]{1,3}",
    "photCat": r"[.A-Za-z0-9_]{1,8}",
}
"""Column -> what a value that is not empty looks like; columns stand in this order."""

TOGETHER = {"rmsMag": "mag", "mag": "band", "photCat": "mag"}
"""Where the first has a value, the second must."""

MOST_FAULTS = 5


def faults_of_psv(text: str) -> list[str]:
    """Return what is wrong with a file, each with its line, at most `MOST_FAULTS`; empty: it can be sent."""
    lines = text.splitlines()
    faults = []
    for fault in (*_header_faults(lines), *_table_faults(lines)):
        faults.append(fault)
        if len(faults) == MOST_FAULTS:
            break
    return faults


def _header_faults(lines: Sequence[str]) -> Iterator[str]:
    if not lines or lines[0] != VERSION_LINE:
        yield f"line 1 is {lines[0] if lines else ''!r}, expected {VERSION_LINE!r}"
    records: dict[str, set[str]] = {}
    record = ""
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("# "):
            record = line[2:].split()[0]
            records[record] = set()
            if record not in REQUIRED_RECORDS and record not in OTHER_RECORDS:
                yield f"line {number}: there is no header record {record!r}"
        elif line.startswith("! "):
            key, _, value = line[2:].partition(" ")
            records.setdefault(record, set()).add(key)
            if not value.strip() or "|" in value or len(value) > 100:  # noqa: PLR2004 (of the schema)
                yield f"line {number}: {key} is {value!r}, expected 1 to 100 characters without '|'"
        else:
            break
    for record, keys in REQUIRED_RECORDS.items():
        for key in keys:
            if key not in records.get(record, set()):
                yield f"the header has no {record} {key}"


def _table_faults(lines: Sequence[str]) -> Iterator[str]:
    start = next((number for number, line in enumerate(lines) if not line.startswith(("#", "!"))), len(lines))
    if len(lines) < start + 2:
        yield "there are no observations"
        return
    columns = [name.strip() for name in lines[start].split("|")]
    yield from _column_faults(columns)
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        values = [value.strip() for value in line.split("|")]
        if len(values) != len(columns):
            yield f"line {number} has {len(values)} values, expected {len(columns)}"
            continue
        yield from (f"line {number}: {fault}" for fault in _row_faults(dict(zip(columns, values, strict=True))))


def _column_faults(columns: Sequence[str]) -> Iterator[str]:
    for name in REQUIRED_COLUMNS:
        if name not in columns:
            yield f"there is no column {name}"
    expected = [name for name in VALUES if name in columns]
    if list(columns) != expected:
        yield f"columns are {', '.join(columns)}, expected {', '.join(expected)}"


def _row_faults(row: Mapping[str, str]) -> Iterator[str]:
    for name, value in row.items():
        if not value:
            if name in REQUIRED_COLUMNS:
                yield f"{name} is empty"
        elif re.fullmatch(VALUES.get(name, ".*"), value) is None or (name == "obsTime" and not _is_a_time(value)):
            yield f"{name} is {value!r}"
    for name, needed in TOGETHER.items():
        if row.get(name) and not row.get(needed):
            yield f"{name} without {needed}"


def _is_a_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
