"""Tables as other programs write them, with the few column types that are used here."""

from collections.abc import Iterable

import pyarrow as pa


def plain(table: pa.Table) -> pa.Table:
    """Return the table with dictionary-encoded and long text columns as plain text.

    The metadata stays: adam-core keeps frame and time scale there.

    Raises
    ------
    UnicodeDecodeError
        If a name, also of a nested field, is not UTF-8: Arrow would say so only when it is asked for.
    """
    _require_text_names(table.schema)
    fields = [
        pa.field(field.name, pa.string())
        if pa.types.is_dictionary(field.type) or pa.types.is_large_string(field.type) or field.type == pa.string_view()
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def _require_text_names(fields: Iterable[pa.Field]) -> None:
    for each in fields:
        _ = each.name
        if pa.types.is_struct(each.type):
            _require_text_names(each.type)
