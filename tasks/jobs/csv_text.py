"""Tables as canonical csv: the same table always gives the same bytes."""

import csv
import io

import pyarrow as pa
import pyarrow.csv

COORDINATES = ("x", "y", "z", "vx", "vy", "vz")

COVARIANCE_COLUMNS = tuple(
    f"cov_{COORDINATES[row]}_{COORDINATES[column]}" for row in range(6) for column in range(row + 1)
)
"""Lower triangle of the covariance of a state, row by row; au^2, au^2 / d and au^2 / d^2."""


def csv_from_table(table: pa.Table) -> bytes:
    """Return the table as csv with a header; a covariance becomes 21 columns, null becomes an empty field.

    Floats have the fewest digits that give the same float when read. Text is quoted only where it must be.
    """
    flat = _with_flat_covariance(table)
    header = ",".join(flat.column_names).encode() + b"\n"
    try:
        return header + _unquoted_rows(flat)
    except pa.ArrowInvalid:
        return header + _rows_with_quotes(flat)


def _unquoted_rows(table: pa.Table) -> bytes:
    """Raise ArrowInvalid when a text holds a comma, a quote or a line's end."""
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="none"))
    return sink.getvalue()


def _rows_with_quotes(table: pa.Table) -> bytes:
    """Do the same for any text, some ten times slower. pyarrow itself would quote every text of the table."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return sink.getvalue().encode()


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
