"""ADES as PSV: blocks of header lines, a line of column names, rows with fields between bars."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.errors import BadInputError
from tasks.jobs.table_file import TableFile

FIRST_LINE = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*# *version *= *\d+")
"""How a PSV file begins."""

HEADER_LINES = re.compile(rb"(?:^[#!].*\n?)+", re.MULTILINE)


class Section(NamedTuple):
    """Column names and rows between two blocks of header lines."""

    body: bytes
    #: Line of the file at which it begins, from 1.
    first_line: int


def is_ades_psv(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is ADES PSV."""
    return FIRST_LINE.match(start) is not None


def read_ades_psv(body: bytes, *, name: str) -> TableFile:
    """Return all rows of a PSV file as text, null where a field is blank; blocks may have different columns.

    Raises
    ------
    BadInputError
        If it is not UTF-8, has no rows, or a row has more or fewer fields than its column names.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    tables, lines = [], []
    for section in _sections(body):
        table, first_line = _table_of_section(section, name)
        tables.append(table)
        lines.append(first_line + np.arange(len(table), dtype=np.int64))
    if not tables:
        raise BadInputError(f"Cannot use {name}: it has no rows, expected at least one below a line of column names.")
    return TableFile(name, pa.concat_tables(tables, promote_options="default"), np.concatenate(lines))


def _sections(body: bytes) -> Iterator[Section]:
    start, line = 0, 1
    for header in HEADER_LINES.finditer(body):
        if body[start : header.start()].strip():
            yield Section(body[start : header.start()], line)
        line += body.count(b"\n", start, header.end())
        start = header.end()
    if body[start:].strip():
        yield Section(body[start:], line)


def _table_of_section(section: Section, name: str) -> tuple[pa.Table, int]:
    """Return the rows of a section and the line at which they begin."""
    leading = len(section.body) - len(section.body.lstrip(b"\n"))
    names_line = section.first_line + leading
    head, _, rows = section.body.strip(b"\n").partition(b"\n")
    try:
        names = [each.strip() for each in head.decode().split("|")]
        if len(set(names)) != len(names) or not all(names):
            raise BadInputError(
                f"Cannot use {name}: line {names_line} is {head.decode()[:80]!r}, expected column names between bars, "
                "each once. Correct the file and submit again."
            )
        table = _rows(rows, names)
    except UnicodeDecodeError as error:
        raise BadInputError(f"Cannot read {name}: {error}. Expected UTF-8.") from error
    except pa.ArrowInvalid as error:
        raise _wrong_row(rows, names, names_line + 1, name) from error
    return table, names_line + 1


def _rows(rows: bytes, names: list[str]) -> pa.Table:
    if not rows:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    table = pyarrow.csv.read_csv(
        pa.py_buffer(rows),
        read_options=pyarrow.csv.ReadOptions(column_names=names),
        parse_options=pyarrow.csv.ParseOptions(delimiter="|", quote_char=False, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    return pa.table({name: _trimmed(table[name]) for name in names})


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _wrong_row(rows: bytes, names: list[str], first_line: int, name: str) -> BadInputError:
    for line, row in enumerate(rows.split(b"\n"), first_line):
        fields = row.count(b"|") + 1
        if fields != len(names):
            return BadInputError(
                f"Cannot use {name}: line {line} has {fields} fields, expected {len(names)} "
                f"({', '.join(names)}). Correct the file and submit again."
            )
    return BadInputError(f"Cannot read {name}: expected UTF-8 text with fields between bars.")
