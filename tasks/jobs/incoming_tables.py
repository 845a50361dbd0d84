"""Which objects below `incoming/` are observations, which test orbits and settings belong to each, and reading them.

A folder's `orbits.csv` and `config.csv` are for every table in it and below it, unless a folder in between has its own;
so `incoming/orbits.csv` is the standing list of test orbits. csv or parquet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from tasks.bucket.layout import INCOMING_PREFIX
from tasks.bucket.store import Bucket, ObjectInfo
from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError, ObjectNotFoundError
from tasks.jobs.config_file import settings_from_csv
from tasks.jobs.observations_file import detections_from_bytes
from tasks.jobs.orbits_file import orbits_from_bytes
from tasks.jobs.table_file import PARQUET_SUFFIXES

ORBITS = "orbits"
CONFIG = "config"
"""File names, without their ending, that are no observations."""
TABLE_SUFFIXES = (".csv", *sorted(PARQUET_SUFFIXES))


@dataclass(frozen=True)
class IncomingTable:
    """A table of observations that lies below `incoming/`."""

    name: str
    generation: int
    #: Object names; None: there is none.
    orbits: str | None
    config: str | None


@dataclass(frozen=True)
class IncomingInputs:
    """The inputs of a job, read and checked."""

    observations: pa.Table
    orbits: pa.Table
    settings: EngineSettings


def find_tables(listed: Sequence[ObjectInfo]) -> list[IncomingTable]:
    """Return the tables of observations in a listing of `incoming/`, sorted by name. Pure."""
    names = {info.name for info in listed}
    return [
        IncomingTable(
            name=info.name,
            generation=info.generation,
            orbits=_nearest(names, info.name, ORBITS, TABLE_SUFFIXES),
            config=_nearest(names, info.name, CONFIG, (".csv",)),
        )
        for info in sorted(listed, key=lambda info: info.name)
        if _is_observations(info.name)
    ]


def read_inputs(bucket: Bucket, table: IncomingTable) -> IncomingInputs:
    """Read and check a table with its test orbits and settings.

    Raises
    ------
    BadInputError
        For the first thing that is wrong.
    TableChangedError
        If the table is not any more the one that was listed.
    """
    if table.orbits is None:
        raise BadInputError(
            f"Cannot submit {table.name}: there are no test orbits for it. Expected {ORBITS}.csv beside it or in a "
            f"folder above, such as {INCOMING_PREFIX}{ORBITS}.csv."
        )
    orbits = orbits_from_bytes(bucket.read(table.orbits).body, name=table.orbits)
    settings = EngineSettings()
    if table.config is not None:
        settings = settings_from_csv(bucket.read(table.config).body, name=table.config)
    return IncomingInputs(read_observations(bucket, table.name, generation=table.generation), orbits, settings)


def read_observations(bucket: Bucket, name: str, *, generation: int) -> pa.Table:
    """Read and check observations, if they are still those of that generation; else raise `TableChangedError`."""
    try:
        stored = bucket.read(name)
    except ObjectNotFoundError as error:
        raise TableChangedError(f"{name} was taken away while it was looked at.") from error
    if stored.generation != generation:
        raise TableChangedError(f"{name} was replaced while it was looked at.")
    return detections_from_bytes(stored.body, name=name).table


class TableChangedError(Exception):
    """A table is not the one that was listed: the next look finds the new one."""


def _is_observations(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in TABLE_SUFFIXES and path.stem.lower() not in {ORBITS, CONFIG}


def _nearest(names: set[str], table: str, stem: str, suffixes: Sequence[str]) -> str | None:
    """Return the object of that stem in the table's folder or the nearest one above it."""
    return next((name for name in _candidates(table, stem, suffixes) if name in names), None)


def _candidates(table: str, stem: str, suffixes: Sequence[str]) -> Iterator[str]:
    for folder in PurePosixPath(table).parents:
        if f"{folder}/".startswith(INCOMING_PREFIX):
            yield from (f"{folder}/{stem}{suffix}" for suffix in suffixes)
