"""Times as files have them, to MJD UTC."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.builtin.observations_check import EARLIEST_MJD_UTC, LATEST_MJD_UTC
from tasks.engines.time_scales import TimeScale, mjd_between_scales
from tasks.inputs.table_file import Range, TableFile

TimeFormat = Literal["mjd", "jd", "iso"]

FIRST_MJD, LAST_MJD = EARLIEST_MJD_UTC + 1.0, LATEST_MJD_UTC - 1.0
"""What an engine takes, a day within: other time scales are a minute from UTC."""

YEARS = "years 1962 to 2099: the Earth's orientation is not tabulated before, so leave earlier rows out"

MJD_UTC = Range(FIRST_MJD, LAST_MJD, f"an MJD between 37686 and 88068 (not a Julian date; {YEARS})")

JD_OF_MJD_0 = 2400000.5

JD = Range(
    FIRST_MJD + JD_OF_MJD_0,
    LAST_MJD + JD_OF_MJD_0,
    f"a Julian date between 2437686.5 and 2488068.5 ({YEARS})",
)

ISO_EXPECTED = "a time such as 2026-11-25T03:04:05.678Z"

ISO_PATTERN = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z?$"

LEAP_SECOND = r"^(\d{4}-(?:06-30|12-31)[T ]23:59:)60(?:\.\d*)?$"
LAST_MOMENT = r"\1" + "59.999999999"
"""A leap second has no MJD in UTC: what is in one is at the last moment before it, at most a second early."""

MJD_OF_UNIX_0 = 40587

NANOSECONDS_PER_DAY = 86_400_000_000_000


def mjd_utc_of(file: TableFile, name: str, time_format: TimeFormat, time_scale: TimeScale) -> pa.Array:
    """Return the times of a column as MJD UTC.

    Raises
    ------
    BadInputError
        If a value is not a time of that format, or out of range.
    """
    if time_format == "iso":
        mjd = _mjd_of_iso(file, name)
    elif time_format == "jd":
        mjd = pc.subtract(file.numbers(name, JD), JD_OF_MJD_0)
    else:
        mjd = file.numbers(name, MJD_UTC)
    if time_scale == "utc":
        return mjd
    return pa.array(mjd_between_scales(mjd.to_numpy(zero_copy_only=False), from_scale=time_scale, to_scale="utc"))


def _mjd_of_iso(file: TableFile, name: str) -> pa.Array:
    file.checks.begin()
    if file.table[name].type != pa.string():
        raise file.error(name, 0, file.table[name][0].as_py(), f"text: {ISO_EXPECTED}")
    text = pc.utf8_trim_whitespace(file.required_strings(name))
    file.refuse_rows(name, pc.invert(pc.match_substring_regex(text, ISO_PATTERN)), ISO_EXPECTED)
    bare = pc.replace_substring_regex(pc.utf8_rtrim(text, characters="Z"), LEAP_SECOND, LAST_MOMENT)
    file.checks.begin()
    try:
        instants = bare.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        # The cast does not say which row it could not read.
        row = next(row for row, value in enumerate(bare) if not _is_instant(value))
        found = text[row].as_py()
        raise file.error(name, row, found, _expected_of_iso(found)) from None
    nanoseconds = instants.cast(pa.int64()).to_numpy(zero_copy_only=False)
    days, rest = np.divmod(nanoseconds, NANOSECONDS_PER_DAY)
    mjd = pa.array(days + MJD_OF_UNIX_0 + rest / NANOSECONDS_PER_DAY)
    outside = pc.or_(pc.less(mjd, FIRST_MJD), pc.greater(mjd, LAST_MJD))
    file.refuse_rows(name, outside, f"a time in the {YEARS}")
    return mjd


def _expected_of_iso(text: str) -> str:
    """Return what to say of a text that is no instant: nanoseconds end in 2262, and years are refused long before."""
    return ISO_EXPECTED if text.startswith(("19", "20")) else f"a time in the {YEARS}"


def _is_instant(text: pa.StringScalar) -> bool:
    try:
        text.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return False
    return True
