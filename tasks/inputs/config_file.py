"""A job's config: csv of `key,value`, checked; and the canonical csv of the bucket, with every key.

Keys `ades.*` say who observed with what: no engine reads them, `collect` does. Keys `columns.*` say how the file of
observations is to be read, which is done once a job is submitted: they are not in the bucket.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tasks.engines.errors import EngineInputError
from tasks.engines.settings import (
    EngineSettings,
    items_from_settings,
    require_settings_have_effect,
    settings_from_items,
)
from tasks.errors import BadInputError
from tasks.inputs.ades_settings import checked_ades, without_ades
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.observations_file import ObservationsFormat
from tasks.inputs.readers.detections import columns_from_items
from tasks.inputs.table_file import TableFile, csv_from_bytes, read_table_file, require_unique

COLUMNS_PREFIX = "columns."

EXPOSURES_KEY = "columns.exposures"
"""File of adam-core's exposures; a path that is not absolute begins at the directory of the config."""


@dataclass(frozen=True)
class Config:
    """What a config file says."""

    settings: EngineSettings = field(default_factory=EngineSettings)
    #: The keys `ades.*`.
    ades: Mapping[str, str] = field(default_factory=dict)
    observations_format: ObservationsFormat = field(default_factory=ObservationsFormat)


def read_config(path: Path) -> Config:
    """Return what a csv file with the columns key and value says; keys that are left out have their defaults.

    Raises
    ------
    BadInputError
        For an unknown key, a value of the wrong type or a key that is there twice.
    """
    file = read_table_file(path)
    items = _items(file)
    exposures = items.pop(EXPOSURES_KEY, "")
    columns = {key: items.pop(key) for key in list(items) if key.startswith(COLUMNS_PREFIX)}
    names = {key.removeprefix(COLUMNS_PREFIX): value for key, value in columns.items()}
    settings = _settings(items, name=file.name)
    _require_effect(settings, name=file.name)
    return Config(
        settings=settings,
        ades=checked_ades(items, name=file.name),
        observations_format=ObservationsFormat(
            columns=columns_from_items(names, name=file.name),
            exposures=path.parent / exposures if exposures else None,
            fills_uncertainties="default_sigma_deg" not in items,
        ),
    )


def read_settings(path: Path) -> EngineSettings:
    """Return the engine's settings of a config file; see `read_config`."""
    return read_config(path).settings


def items_from_csv(body: bytes, *, name: str) -> dict[str, str]:
    """Return every key with its value, as text, of a csv that lies in the bucket as `name`."""
    return _items(csv_from_bytes(body, name=name))


def settings_from_csv(body: bytes, *, name: str) -> EngineSettings:
    """Return the settings of a csv that lies in the bucket as `name`."""
    return _settings(_items(csv_from_bytes(body, name=name)), name=name)


def settings_from_overrides(items: Mapping[str, str], *, base: EngineSettings, name: str) -> EngineSettings:
    """Return `base` with some keys changed; `name` is who asks for it, for messages."""
    try:
        settings = settings_from_items({**items_from_settings(base), **items})
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {name}: {error}") from error
    _require_effect(settings, name=name)
    return settings


def csv_from_settings(settings: EngineSettings, ades: Mapping[str, str] | None = None) -> bytes:
    """Return every key and value as csv, sorted by key: a later version with other defaults computes the same."""
    items = sorted({**items_from_settings(settings), **(ades or {})}.items())
    return csv_from_table(pa.table({"key": [key for key, _ in items], "value": [value for _, value in items]}))


def _settings(items: Mapping[str, str], *, name: str) -> EngineSettings:
    checked_ades(items, name=name)
    try:
        return settings_from_items(without_ades(items))
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {name}: {error} Correct the file and submit again.") from error


def _require_effect(settings: EngineSettings, *, name: str) -> None:
    """Refuse what a person asks for in vain. A job that was submitted with such settings is computed all the same."""
    try:
        require_settings_have_effect(settings)
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {name}: {error}") from error


def _items(file: TableFile) -> dict[str, str]:
    file.require_columns(["key", "value"])
    keys = file.required_strings("key")
    require_unique(file, "key", keys)
    values = file.strings("value").fill_null("")
    return dict(zip(keys.to_pylist(), values.to_pylist(), strict=True))
