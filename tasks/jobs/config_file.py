"""The job's settings: csv of `key,value`, checked; and the canonical csv of the bucket, with every key.

Keys `ades.*` say who observed with what: no engine reads them, `collect` does.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from tasks.engines.errors import EngineInputError
from tasks.engines.settings import EngineSettings, items_from_settings, settings_from_items
from tasks.errors import BadInputError
from tasks.jobs.ades_settings import checked_ades, without_ades
from tasks.jobs.csv_text import csv_from_table
from tasks.jobs.observations_file import require_unique
from tasks.jobs.table_file import TableFile, csv_from_bytes, read_table_file


def read_settings(path: Path) -> EngineSettings:
    """Return the settings of a csv file with the columns key and value; keys that are left out have their defaults.

    Raises
    ------
    BadInputError
        For an unknown key, a value of the wrong type or a key that is there twice.
    """
    return _checked(read_table_file(path))


def read_ades_settings(path: Path) -> dict[str, str]:
    """Return the keys `ades.*` of a settings file, checked; the others are checked and belong to the computation.

    Raises
    ------
    BadInputError
        As `read_settings` does.
    """
    file = read_table_file(path)
    _checked(file)
    return checked_ades(_items(file), name=file.name)


def items_from_csv(body: bytes, *, name: str) -> dict[str, str]:
    """Return every key with its value, as text, of a csv that lies in the bucket as `name`."""
    return _items(csv_from_bytes(body, name=name))


def settings_from_csv(body: bytes, *, name: str) -> EngineSettings:
    """Return the settings of a csv that lies in the bucket as `name`."""
    return _checked(csv_from_bytes(body, name=name))


def settings_from_overrides(items: Mapping[str, str], *, base: EngineSettings, name: str) -> EngineSettings:
    """Return `base` with some keys changed; `name` is who asks for it, for messages."""
    try:
        return settings_from_items({**items_from_settings(base), **items})
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {name}: {error}") from error


def csv_from_settings(settings: EngineSettings, ades: Mapping[str, str] | None = None) -> bytes:
    """Return every key and value as csv, sorted by key: a later version with other defaults computes the same."""
    items = sorted({**items_from_settings(settings), **(ades or {})}.items())
    return csv_from_table(pa.table({"key": [key for key, _ in items], "value": [value for _, value in items]}))


def _checked(file: TableFile) -> EngineSettings:
    items = _items(file)
    checked_ades(items, name=file.name)
    try:
        return settings_from_items(without_ades(items))
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {file.name}: {error} Correct the file and submit again.") from error


def _items(file: TableFile) -> dict[str, str]:
    file.require_columns(["key", "value"])
    keys = file.required_strings("key")
    require_unique(file, "key", keys)
    values = file.strings("value").fill_null("")
    return dict(zip(keys.to_pylist(), values.to_pylist(), strict=True))
