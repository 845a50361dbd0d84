"""Tables as canonical csv: the same table always gives the same bytes."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

COORDINATES = ("x", "y", "z", "vx", "vy", "vz")

COVARIANCE_COLUMNS = tuple(
    f"cov_{COORDINATES[row]}_{COORDINATES[column]}" for row in range(6) for column in range(row + 1)
)
"""Lower triangle of the covariance of a state, row by row; au^2, au^2 / d and au^2 / d^2."""


MUST_BE_QUOTED = '[",\\r\\n]'
"""A text with any of these stands between quotes."""

ROWS_AT_A_TIME = 16_384
"""Rows at a time: pyarrow writes a fifth faster than by its own 1024."""


def csv_from_table(table: pa.Table) -> bytes:
    """Return the table as csv with a header; a covariance becomes 21 columns, null becomes an empty field.

    Floats have the fewest digits that give the same float when read. Text is quoted only where it must be, so that a
    row has the same bytes whatever stands in the others.
    """
    flat = _with_flat_covariance(table)
    return csv_header(flat.column_names) + csv_rows(flat)


def csv_header(names: list[str]) -> bytes:
    """Return the line of column names."""
    return ",".join(names).encode() + b"\n"


def csv_rows(table: pa.Table) -> bytes:
    """Return the rows alone: a table cut in pieces gives the bytes of the whole one, cut in pieces."""
    try:
        return _unquoted_rows(table)
    except pa.ArrowInvalid:
        return _rows_with_quotes(table)


def _unquoted_rows(table: pa.Table) -> bytes:
    """Raise ArrowInvalid when a text holds a comma, a quote or a line's end."""
    sink = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none", batch_size=ROWS_AT_A_TIME)
    pyarrow.csv.write_csv(table, sink, options)
    return sink.getvalue()


def _rows_with_quotes(table: pa.Table) -> bytes:
    """Do the same for any text. pyarrow itself would quote every text of the table."""
    fields = [_fields(column.combine_chunks()) for column in table.columns]
    lines = pc.binary_join_element_wise(*fields, ",", null_handling="replace", null_replacement="")
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()


def _fields(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(text, MUST_BE_QUOTED), quoted, text)


def _with_flat_covariance(table: pa.Table) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in table.column_names:
        column = table[name]
        if not pa.types.is_fixed_size_list(column.type):
            columns[name] = column
        elif column.null_count < len(column):
            rows = column.to_pylist()
            for place, flat_name in enumerate(COVARIANCE_COLUMNS):
                columns[flat_name] = pa.array([row and row[place] for row in rows], pa.float64())
    return pa.table(columns)
