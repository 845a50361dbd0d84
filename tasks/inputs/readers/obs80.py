"""The Minor Planet Center's 80 columns: one optical observation a line, two where the observer moves.

Columns, from 1: 15 how it was made, 16-32 time (UTC), 33-44 RA (hours), 45-56 Dec (degrees), 66-70 magnitude, 71 band,
78-80 observatory. Of the second line of a spacecraft: 33 unit (1: km, 2: au), 35-45, 47-57, 59-69 position from the
Earth's centre, equatorial; of a roving observer: 35-44 east longitude, 46-55 latitude, deg, 57-61 height, m. The format
holds no uncertainties.
"""

import datetime as dt
import functools
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.errors import BadInputError
from tasks.inputs.observatories import located_observatory_codes
from tasks.inputs.readers.blocks import Block
from tasks.inputs.readers.detections import ObservationColumns
from tasks.inputs.readers.observers import POSITION, SYSTEM, with_observers
from tasks.inputs.readers.row_blocks import BLOCK_BYTES, UTF8_MARK, LongRowError, last_line_end, row_blocks
from tasks.inputs.readers.times import YEARS
from tasks.inputs.table_file import TableFile

LENGTH = 80

MOVING_OBSERVERS = {"S": "s", "V": "v"}
"""Marks in column 15 of spacecraft and roving observers: of the first line, and of the second, which says where."""

RADAR, RADAR_SECOND = "R", "r"
"""Marks in column 15 of both lines of a radar observation, which has no RA and Dec."""

REPLACED = "Xx"
"""Marks in column 15 of discovery observations that were replaced by better ones."""

TIME = re.compile(r"(\d{4}) ([ \d]\d) ([ \d]\d(?:\.\d*)?) *")
RA = re.compile(r"([ \d]\d) ([ \d]\d(?:\.\d*)?)(?: ([ \d]\d(?:\.\d*)?))? *")
DEC = re.compile(r"([+-][ \d]\d) ([ \d]\d(?:\.\d*)?)(?: ([ \d]\d(?:\.\d*)?))? *")
"""Blanks may stand where others write zeros."""

SPACE_POSITION = re.compile(r"([12]) ([+-][ \d.]{10}) ([+-][ \d.]{10}) ([+-][ \d.]{10}) *")
ROVING_POSITION = re.compile(r"1 ([+ \d.]{10}) ([+-][ \d.]{9}) ([-+ \d.]{5}) *")
SPACE_SYSTEMS = {"1": "ICRF_KM", "2": "ICRF_AU"}

MAGNITUDE = re.compile(r" *(\d{1,2}(?:\.\d*)?) *")

FIRST_OF_TWO = re.compile(rb"^[^\r\n]{14}[SV]\d{4} [ \d]\d [ \d]\d[ .]", re.MULTILINE)
"""What the beginning of a line looks like that has a second one."""

OF_LINE = re.compile(rb"^[^\r\n]{15}\d{4} [ \d]\d [ \d]\d[ .]", re.MULTILINE)
"""What the beginning of a line of 80 columns looks like."""

HEADER_LINE = re.compile(r"(?:COD|CON|OBS|MEA|TEL|NET|BND|COM|NUM|ACK|AC2)(?: .*)?")
"""What observers write before their lines: who observed with what."""

FIRST_LINES = 5
"""A file without a header is taken for 80 columns when one of its first lines, this many, looks like an observation."""

COLUMNS = ObservationColumns(obs_id="", ra_sigma="", dec_sigma="", exposure_id="", night_id="", object_id="")

FIRST_YEAR, LAST_YEAR = 1962, 2099

MJD_ORDINAL = 678576
"""Python's ordinal of 1858-11-17, MJD 0."""


class Observation(NamedTuple):
    """One line."""

    line: int
    mjd_utc: float
    ra_deg: float
    dec_deg: float
    mag: float | None
    band: str | None
    code: str
    #: As in ADES; None: at its observatory.
    observer: "Observer | None" = None


class Observer(NamedTuple):
    """Where an observer that moves was, as ADES has it."""

    system: str
    position: tuple[float, float, float]


def is_obs80(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes has the Minor Planet Center's 80 columns."""
    lines = [line for line in start.removeprefix(UTF8_MARK).splitlines() if line.strip()]
    has_header = bool(lines) and HEADER_LINE.fullmatch(lines[0].decode(errors="replace").rstrip()) is not None
    first = lines if has_header else lines[:FIRST_LINES]
    return any(OF_LINE.match(line) for line in first) or (has_header and len(lines) > 1 and b"," not in lines[0])


@dataclass(frozen=True)
class Obs80Source:
    """A file of 80-column lines; ids are made of the numbers of the lines."""

    file: BinaryIO
    name: str
    block_bytes: int = BLOCK_BYTES
    unit: str = "lines"

    def blocks(self, pool: Executor) -> Iterator[Block]:  # noqa: ARG002 (Python parses it, one line after the other)
        """Yield the lines in blocks; see `Source`. The first line that is not as it should be is refused."""
        some_move = self._some_observers_move()
        first_line = 1
        try:
            for piece in self._pieces():
                lines = piece.decode("ascii", "surrogateescape").splitlines()
                yield self._block(lines, first_line, some_move=some_move)
                first_line += len(lines)
        except LongRowError:
            raise BadInputError(
                f"Cannot use {self.name}: a line below line {first_line - 1} has no end, expected {LENGTH} columns. "
                "Correct the file and submit again."
            ) from None

    def _pieces(self) -> Iterator[bytes]:
        self.file.seek(0)
        if self.file.read(len(UTF8_MARK)) != UTF8_MARK:
            self.file.seek(0)
        return row_blocks(self.file, block_bytes=self.block_bytes, last_end=_last_record_end)

    def _some_observers_move(self) -> bool:
        try:
            return any(FIRST_OF_TWO.search(piece) for piece in self._pieces())
        except LongRowError:
            return False  # which is told when it is read

    def _block(self, lines: list[str], first_line: int, *, some_move: bool) -> Block:
        left_out = {
            "were replaced by others": sum(len(line) >= LENGTH and line[14] in REPLACED for line in lines),
            "were made by radar": sum(len(line) >= LENGTH and line[14] == RADAR for line in lines),
        }
        observations = list(_observations(lines, self.name, first_line))
        numbers = np.array([each.line for each in observations], dtype=np.int64)
        table = _table(observations)
        return Block(
            TableFile(self.name, _with_positions(table, observations) if some_move else table, numbers),
            COLUMNS,
            n_read=len(observations) + sum(left_out.values()),
            left_out=left_out,
            prepare=functools.partial(with_observers, columns=COLUMNS) if some_move else (lambda file: file),
        )


def _last_record_end(data: bytes) -> int:
    """Return where the last whole record ends: not between its two lines."""
    end = last_line_end(data)
    start = data.rfind(b"\n", 0, end - 1) + 1 if end else 0
    return start if end and FIRST_OF_TWO.match(data, start, end) else end


def _observations(lines: list[str], name: str, first_line: int) -> Iterator[Observation]:
    known = located_observatory_codes()
    numbered = (
        (number, line) for number, line in enumerate(lines, first_line) if line.strip() and not _is_header(line)
    )
    for number, line in numbered:
        _require_line(name, number, line)
        if line[14] in REPLACED or line[14] in {RADAR, RADAR_SECOND}:
            continue
        observer = None
        if line[14] in MOVING_OBSERVERS:
            observer = _observer(name, (number, line), next(numbered, (number, "")))
        elif line[14] in MOVING_OBSERVERS.values():
            raise _error(name, number, line, (15, 15), "the first line of this observation above it")
        elif line[77:80] not in known:
            raise _error(name, number, line, (78, 80), "the code of an observatory on the Earth")
        yield Observation(
            line=number,
            mjd_utc=_mjd_utc(name, number, line),
            ra_deg=_angle(name, number, line, (33, 44), RA, 24.0) * 15.0,
            dec_deg=_angle(name, number, line, (45, 56), DEC, 90.0),
            mag=_magnitude(name, number, line),
            band=line[70].strip() or None,
            code=line[77:80],
            observer=observer,
        )


def _require_line(name: str, number: int, line: str) -> None:
    if not line.isascii():
        column = next(place for place, each in enumerate(line, 1) if not each.isascii())
        raise BadInputError(
            f"Cannot read {name}: line {number}, column {column} is no ASCII character in {line[:LENGTH]!r}. "
            f"Expected lines of {LENGTH} ASCII characters."
        )
    if len(line.rstrip()) != LENGTH:
        raise BadInputError(
            f"Cannot use {name}: line {number} has {len(line.rstrip())} columns, expected {LENGTH}. "
            "Correct the file and submit again."
        )


def _observer(name: str, first: tuple[int, str], second: tuple[int, str]) -> Observer:
    """Return where the observer was, which the second line of an observation says."""
    (number, line), (number_of_second, line_of_second) = first, second
    mark = MOVING_OBSERVERS[line[14]]
    belongs = line_of_second[14:15] == mark and line_of_second[15:32] == line[15:32]
    if not belongs or line_of_second[77:80] != line[77:80]:
        raise _error(
            name,
            number,
            line,
            (15, 15),
            f"below it a second line of the same time and observatory, {mark!r} in column 15: where the observer was",
        )
    _require_line(name, number_of_second, line_of_second)
    pattern = SPACE_POSITION if mark == "s" else ROVING_POSITION
    found = pattern.fullmatch(line_of_second[32:69] if mark == "s" else line_of_second[32:61])
    try:
        values = [float(each.replace(" ", "")) for each in found.groups()] if found else []
    except ValueError:
        values = []
    if not values or found is None:
        expected = "a unit (1: km, 2: au) and three coordinates" if mark == "s" else "1, longitude, latitude and height"
        raise _error(name, number_of_second, line_of_second, (33, 69), expected)
    if mark == "s":
        return Observer(SPACE_SYSTEMS[found[1]], (values[1], values[2], values[3]))
    return Observer("WGS84", (values[0], values[1], values[2]))


def _is_header(line: str) -> bool:
    return HEADER_LINE.fullmatch(line.rstrip()) is not None and OF_LINE.match(line.encode(errors="replace")) is None


def _mjd_utc(name: str, number: int, line: str) -> float:
    found = TIME.fullmatch(line[15:32])
    expected = f"a time such as 2026 11 25.12345, {YEARS}"
    if found is None:
        raise _error(name, number, line, (16, 32), expected)
    year, month, day = int(found[1]), int(found[2]), float(found[3])
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise _error(name, number, line, (16, 32), expected)
    try:
        ordinal = dt.date(year, month, int(day)).toordinal()
    except ValueError:
        raise _error(name, number, line, (16, 32), expected) from None
    # The fraction as it is written: a whole day taken off a number of two digits loses nothing.
    return ordinal - MJD_ORDINAL + (day - int(day))


def _angle(name: str, number: int, line: str, place: tuple[int, int], pattern: re.Pattern[str], limit: float) -> float:
    """Return hours or degrees of a sexagesimal field; minutes may have decimals in place of seconds."""
    found = pattern.fullmatch(line[place[0] - 1 : place[1]])
    expected = "hours 00-23, minutes and seconds" if pattern is RA else "degrees with a sign, minutes and seconds"
    if found is None:
        raise _error(name, number, line, place, expected)
    whole, minutes, seconds = abs(int(found[1])), float(found[2]), float(found[3] or 0.0)
    value = whole + minutes / 60.0 + seconds / 3600.0
    # Sixty seconds are what rounding writes.
    if minutes >= 60.0 or seconds > 60.0 or value > limit:  # noqa: PLR2004
        raise _error(name, number, line, place, expected)
    return -value if found[1].startswith("-") else value


def _magnitude(name: str, number: int, line: str) -> float | None:
    field = line[65:70]
    if not field.strip():
        return None
    found = MAGNITUDE.fullmatch(field)
    if found is None:
        raise _error(name, number, line, (66, 70), "a magnitude, or nothing")
    return float(found[1])


def _error(name: str, number: int, line: str, place: tuple[int, int], expected: str) -> BadInputError:
    first, last = place
    where = f"column {first}" if first == last else f"columns {first}-{last}"
    return BadInputError(
        f"Cannot use {name}: line {number}, {where} is {line[first - 1 : last]!r}, expected {expected}. "
        "Correct the file and submit again."
    )


def _with_positions(table: pa.Table, observations: list[Observation]) -> pa.Table:
    observers = [each.observer for each in observations]
    table = table.append_column(SYSTEM, pa.array([each and each.system for each in observers], pa.string()))
    for place, name in enumerate(POSITION):
        table = table.append_column(name, pa.array([each and each.position[place] for each in observers], pa.float64()))
    return table


def _table(observations: list[Observation]) -> pa.Table:
    return pa.table(
        {
            COLUMNS.time: pa.array([each.mjd_utc for each in observations], pa.float64()),
            COLUMNS.ra: pa.array([each.ra_deg for each in observations], pa.float64()),
            COLUMNS.dec: pa.array([each.dec_deg for each in observations], pa.float64()),
            COLUMNS.observatory_code: pa.array([each.code for each in observations], pa.string()),
            COLUMNS.mag: pa.array([each.mag for each in observations], pa.float64()),
            COLUMNS.filter: pa.array([each.band for each in observations], pa.string()),
        }
    )
