"""Is a text an ADES file (version 2022, PSV, optical observations) that the Minor Planet Center takes? Pure.

The rules are those of the ADES description (IAU ADES Master, September 2022) for a submission: which header records
must be there, which columns, and what a value may look like.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from tasks.wording import counted

VERSION_LINE = "# version=2022"

LONGEST_OBS_SUB_ID = 35

LONGEST_TEXT, LONGEST_DESIGN, LONGEST_DETECTOR = 100, 35, 25

REQUIRED_RECORDS = {
    "observatory": ("mpcCode",),
    "submitter": ("name",),
    "observers": ("name",),
    "measurers": ("name",),
    "telescope": ("design", "aperture", "detector"),
}
"""Header record -> what must stand below it. The schema could do without observers; the Minor Planet Center can't."""

REQUIRED_COLUMNS = ("trkSub", "mode", "stn", "obsTime", "ra", "dec", "astCat")

POSITIVE = r"(?=[0-9.]*[1-9])(0|[1-9]\d{0,4})(\.\d*)?"
"""A decimal above 0 and below 100 000, without an exponent or a sign."""

POSITION = r"(?=.{1,14}$)[+-]?(0|[1-9]\d{0,11})(\.\d*)?"

_TEXT = rf"(?=.*\S)[^|]{{1,{LONGEST_TEXT}}}"
_WIDTH_6 = rf"(?=.{{1,6}}$){POSITIVE}"

HEADER_VALUES: Mapping[str, Mapping[str, str]] = {
    "observatory": {"mpcCode": r"[A-Za-z0-9_]{3,4}"},
    "submitter": {"name": _TEXT, "institution": _TEXT},
    "observers": {"name": _TEXT},
    "measurers": {"name": _TEXT},
    "telescope": {
        "name": _TEXT,
        "design": rf"(?=.*\S)[^|]{{1,{LONGEST_DESIGN}}}",
        "aperture": _WIDTH_6,
        "detector": rf"(?=.*\S)[^|]{{1,{LONGEST_DETECTOR}}}",
        "fRatio": _WIDTH_6,
        "pixelScale": _WIDTH_6,
    },
    "fundingSource": {},
    "comment": {"line": _TEXT},
}
"""Header record -> what may stand below it, and what its value looks like: what we write, less than ADES has."""

SEVERAL = ("observers", "measurers", "comment")
"""Records whose line may stand more than once."""

VALUES: Mapping[str, str] = {
    "permID": r"\d+([IPD](-[A-Z]{1,2})?)?",
    "provID": (
        r"(?=.{1,25}$)(\d{4} [A-HJ-Y][A-HJ-Z]\d*|\d{4} (P-L|T-[123])|"
        r"[ADCPX]/\d{4} [A-Z]{1,2}\d*(-[A-Z])?|A[89]\d{2} [A-HJ-Y][A-HJ-Z])"
    ),
    "trkSub": r"[-A-Za-z0-9_]{1,8}",
    "obsSubID": rf"(?!\s*$)[^|]{{1,{LONGEST_OBS_SUB_ID}}}",
    "mode": r"[A-Za-z0-9_]{1,3}",
    "stn": r"[A-Za-z0-9_]{3,4}",
    "sys": r"ICRF_KM",
    "ctr": r"399",
    "pos1": POSITION,
    "pos2": POSITION,
    "pos3": POSITION,
    "obsTime": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z",
    "ra": r"(?:[12]\d\d|3[0-5]\d|[1-9]?\d)(\.\d{0,9})?",
    "dec": r"[+-]?(?:[1-8]?\d(\.\d{0,9})?|90(\.0{0,9})?)",
    "rmsRA": rf"(?=.{{1,7}}$){POSITIVE}",
    "rmsDec": rf"(?=.{{1,7}}$){POSITIVE}",
    "astCat": r"[.A-Za-z0-9_]{1,8}",
    "mag": r"(?=[+-]?.{1,7}$)(-[0-4](\.\d*)?|[+]?([0-9]|[12]\d|3[0-4])(\.\d*)?)",
    "rmsMag": rf"(?=.{{1,6}}$){POSITIVE}",
    "band": r"[A-Za-z0-9_]{1,3}",
    "photCat": r"[.A-Za-z0-9_]{1,8}",
}
"""Column -> what a value that is not empty looks like; columns stand in this order."""

TOGETHER = {"rmsMag": "mag", "mag": "band", "band": "mag", "photCat": "mag"} | {
    "sys": "ctr",
    "ctr": "pos1",
    "pos1": "pos2",
    "pos2": "pos3",
    "pos3": "sys",
}
"""Where the first has a value, the second must."""

MOST_FAULTS = 5


def faults_of_psv(text: str) -> list[str]:
    """Return what is wrong with a file, each with its line, at most `MOST_FAULTS`; empty: it can be sent."""
    lines = text.removesuffix("\n").split("\n")
    faults = []
    for fault in (*_unprintable(lines), *_header_faults(lines), *_table_faults(lines)):
        faults.append(fault)
        if len(faults) == MOST_FAULTS:
            break
    return faults


def _unprintable(lines: Sequence[str]) -> Iterator[str]:
    """Say where XML could not hold a character."""
    for number, line in enumerate(lines, start=1):
        if not line.isprintable():
            yield f"line {number} has a character that can't be printed: {line!r}"


def _header_faults(lines: Sequence[str]) -> Iterator[str]:
    if lines[0] != VERSION_LINE:
        yield f"line 1 is {lines[0]!r}, expected {VERSION_LINE!r}"
    seen: dict[str, list[str]] = {}
    record = ""
    for number, line in enumerate(lines[1:], start=2):
        key, _, value = line[2:].strip().partition(" ")
        if line.startswith("# "):
            record = key
            yield from (f"line {number}: {fault}" for fault in _record_faults(record, value, seen))
            seen.setdefault(record, [])
        elif line.startswith("! "):
            keys = seen.setdefault(record, [])
            yield from (f"line {number}: {record} {fault}" for fault in _key_faults(record, key, value.strip(), keys))
            keys.append(key)
        else:
            break
    yield from _missing_from_header(seen)


def _record_faults(record: str, value: str, seen: Collection[str]) -> Iterator[str]:
    if record not in HEADER_VALUES:
        yield f"there is no header record {record!r}"
    elif record in seen:
        yield f"header record {record!r} is there a second time"
    elif not _is_like(value, _TEXT if record == "fundingSource" else ""):
        yield f"{record} is {value!r}"


def _key_faults(record: str, key: str, value: str, seen: Collection[str]) -> Iterator[str]:
    if key in seen and record not in SEVERAL:
        yield f"{key} is there a second time"
    elif not _is_like(value, HEADER_VALUES.get(record, {}).get(key)):
        yield f"{key} is {value!r}"


def _missing_from_header(seen: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for record, keys in REQUIRED_RECORDS.items():
        yield from (f"the header has no {record} {key}" for key in keys if key not in seen.get(record, []))
    if "comment" in seen and not seen["comment"]:
        yield "the header's comment has no line"


def _is_like(value: str, pattern: str | None) -> bool:
    return pattern is not None and re.fullmatch(pattern, value, re.ASCII) is not None


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
            yield f"line {number} has {counted(len(values), 'value')}, expected {len(columns)}"
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
        elif not _is_like(value, VALUES.get(name, ".*")) or (name == "obsTime" and not _is_a_time(value)):
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
