"""A job's config: csv of `key,value`, checked; and the canonical csv of the bucket, with every key.

Keys `ades.*` say who observed with what: no engine reads them, `collect` does. Keys `columns.*` say how the file of
observations is to be read, which is done once a job is submitted: they are not in the bucket.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tasks.engines.errors import EngineInputError
from tasks.engines.setting_fields import Setting, settings_group, settings_of, with_items
from tasks.engines.settings import (
    EngineSettings,
    items_from_settings,
    require_settings_have_effect,
    settings_from_items,
)
from tasks.engines.upstream_settings import SETTINGS as THOR_SETTINGS
from tasks.errors import BadInputError
from tasks.inputs.ades_settings import PREFIX, AdesKeys, checked_ades
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.observations_file import ObservationsFormat
from tasks.inputs.readers.detections import THOR_COLUMNS, ObservationColumns
from tasks.inputs.table_file import TableFile, csv_from_bytes, read_table_file, require_unique

COLUMNS_PREFIX = "columns."


@settings_group
class ColumnSettings(ObservationColumns):
    """The keys `columns.*`."""

    exposures: str = ""
    """File of adam-core's exposures; a path that is not absolute begins at the directory of the config."""


@settings_group
class ConfigModel(EngineSettings):
    """Every key of config.csv: a field, or a field of a group in a field."""

    columns: ColumnSettings = field(default_factory=ColumnSettings)
    ades: AdesKeys = field(default_factory=AdesKeys)


def config_keys() -> Mapping[str, Setting]:
    """Return every key of config.csv with its default, what it means and what it may be.

    `ades.*` may name an observatory besides, and a band for each filter: `ades.X05.band.FILTER`.
    """
    return {**settings_of(ConfigModel), **THOR_SETTINGS}


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
    columns, exposures = _columns(items, name=file.name)
    settings = _settings(items, name=file.name)
    _require_effect(settings, name=file.name)
    return Config(
        settings=settings,
        ades=checked_ades(items, name=file.name),
        observations_format=ObservationsFormat(
            columns=columns,
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


def csv_from_settings(settings: EngineSettings, ades: Mapping[str, str] | None = None) -> bytes:
    """Return every key and value as csv, sorted by key: a later version with other defaults computes the same."""
    items = sorted({**items_from_settings(settings), **(ades or {})}.items())
    return csv_from_table(pa.table({"key": [key for key, _ in items], "value": [value for _, value in items]}))


def _settings(items: Mapping[str, str], *, name: str) -> EngineSettings:
    checked_ades(items, name=name)
    with _explained(name):
        return settings_from_items(_others(items, PREFIX, COLUMNS_PREFIX))


def _require_effect(settings: EngineSettings, *, name: str) -> None:
    """Refuse what a person asks for in vain. A job that was submitted with such settings is computed all the same."""
    with _explained(name):
        require_settings_have_effect(settings)


def _columns(items: Mapping[str, str], *, name: str) -> tuple[ObservationColumns, str]:
    """Return the columns that a config names, and its file of exposures; empty: none."""
    named = {key.removeprefix(COLUMNS_PREFIX): items[key] for key in items if key.startswith(COLUMNS_PREFIX)}
    exposures = named.pop("exposures", "")
    with _explained(name):
        return with_items(THOR_COLUMNS, named, prefix=COLUMNS_PREFIX), exposures


def _others(items: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    return {key: value for key, value in items.items() if not key.startswith(prefixes)}


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say of an unknown key or a wrong value in which file it stands."""
    try:
        yield
    except EngineInputError as error:
        raise BadInputError(f"Cannot use {name}: {error} Correct the file and submit again.") from error


def _items(file: TableFile) -> dict[str, str]:
    file.require_columns(["key", "value"])
    keys = file.required_strings("key")
    require_unique(file, "key", keys)
    values = file.strings("value").fill_null("")
    return dict(zip(keys.to_pylist(), values.to_pylist(), strict=True))
