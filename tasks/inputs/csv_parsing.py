"""A csv with a header to columns of text; what stands between its columns; what Arrow says of it, in our words."""

import csv
import re

import pyarrow as pa
import pyarrow.csv

from tasks.wording import counted

DELIMITERS = ",;\t|"
"""What may stand between the columns of a csv; the first where two are as likely."""

RAGGED_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
"""As Arrow tells of a row with too few fields, or too many."""


def reason_of_arrow(error: Exception, *, rows_before: int = 0) -> str:
    """Return what Arrow says of a csv; a row is counted as everywhere, from 1 after the header."""

    def said(found: re.Match[str]) -> str:
        return f"row {int(found[1]) + rows_before} has {counted(int(found[3]), 'field')}, expected {found[2]}"

    reason = str(error).removeprefix("CSV parse error: ").splitlines()[0].rstrip(".")
    return RAGGED_ROW.sub(said, reason)


def delimiter_of(header: str) -> str:
    """Return what stands between the columns of a csv: what cuts its header into most names."""
    return max(DELIMITERS, key=lambda each: len(fields_of(header, each)))


def fields_of(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line of csv, without blanks about them; none if it is no line of csv."""
    try:
        return [each.strip() for each in next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])]
    except csv.Error:
        return []


def text_columns(body: bytes) -> pa.Table:
    """Parse a csv with a header; every column is text.

    Raises
    ------
    pyarrow.ArrowInvalid, UnicodeDecodeError, csv.Error
        If it is empty, not UTF-8, or a row has more or fewer fields than the header.
    """
    header, _, rows = body.lstrip(b"\r\n").partition(b"\n")
    text = header.decode("utf-8-sig").rstrip("\r")
    delimiter = delimiter_of(text)
    names = [each.strip() for each in next(csv.reader([text], delimiter=delimiter), [])]
    if not names:
        raise pa.ArrowInvalid("it is empty")
    if not rows:
        return pa.Table.from_arrays([pa.array([], pa.string()) for _ in names], names)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        read = pyarrow.csv.ReadOptions(column_names=names)
        return pyarrow.csv.read_csv(pa.py_buffer(rows), read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:
        # One thread knows the number of the row that is wrong, and says it.
        read = pyarrow.csv.ReadOptions(column_names=names, use_threads=False)
        return pyarrow.csv.read_csv(pa.py_buffer(rows), read_options=read, parse_options=parse, convert_options=convert)
