"""Which objects below `incoming/` are observations, which test orbits and settings belong to each, and reading them.

A folder's `orbits.csv` and `config.csv` are for every table in it and below it, unless a folder in between has its own;
so `incoming/orbits.csv` is the standing list of test orbits.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.bucket.content import Body, ScratchFile, blocks_of, content_of
from tasks.bucket.layout import ERROR_SUFFIX, INCOMING_PREFIX
from tasks.bucket.store import Bucket, ObjectInfo
from tasks.errors import BadInputError, ObjectNotFoundError
from tasks.inputs import job_inputs as inputs
from tasks.inputs.config_file import read_config
from tasks.inputs.job_inputs import InputFiles, JobInputs

ORBITS = "orbits"
CONFIG = "config"
"""File names, without their endings, that are no observations."""
TABLE_SUFFIXES = (".csv", ".parquet", ".pq")
PACKED_SUFFIXES = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
ORBITS_SUFFIXES = tuple(f"{table}{packed}" for packed in PACKED_SUFFIXES for table in TABLE_SUFFIXES)
CONFIG_SUFFIXES = (".csv",)

NO_TABLES = (".md", ".log", ".html", ".pdf", ".png", ".svg", ".part", ".tmp")
"""Endings of what people put beside their tables. Whatever else lies there is looked at: no ending tells a format."""


@dataclass(frozen=True)
class IncomingTable:
    """A table of observations that lies below `incoming/`."""

    name: str
    generation: int
    #: Object names; None: there is none.
    orbits: str | None
    config: str | None


def find_tables(listed: Sequence[ObjectInfo]) -> list[IncomingTable]:
    """Return the tables of observations in a listing of `incoming/`, sorted by name. Pure."""
    names = {info.name for info in listed}
    return [
        IncomingTable(
            name=info.name,
            generation=info.generation,
            orbits=_nearest(names, info.name, ORBITS, ORBITS_SUFFIXES),
            config=_nearest(names, info.name, CONFIG, CONFIG_SUFFIXES),
        )
        for info in sorted(listed, key=lambda info: info.name)
        if _is_observations(info.name)
    ]


def read_inputs(bucket: Bucket, table: IncomingTable) -> JobInputs:
    """Read and check a table with its test orbits and settings: in any format that a person's files may have.

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
    with tempfile.TemporaryDirectory(prefix="thor-incoming-") as folder:
        try:
            return inputs.read_inputs(
                InputFiles(
                    observations=_fetched(folder, table.name, _read_unchanged(bucket, table)),
                    orbits=_fetched(folder, table.orbits, bucket.read(table.orbits).body),
                    config=_fetched_config(folder, bucket, table.config),
                )
            )
        except BadInputError as error:
            # People know the objects, and not the directory.
            raise BadInputError(str(error).replace(f"{folder}/", "")) from error


def _fetched(folder: str, name: str, body: Body) -> Path:
    """Put an object's bytes in a file; object names are safe relative paths, so it lies below the folder."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for block in blocks_of(content_of(body)):
            file.write(block)
    return path


def _fetched_config(folder: str, bucket: Bucket, name: str | None) -> Path | None:
    if name is None:
        return None
    path = _fetched(folder, name, bucket.read(name).body)
    if read_config(path).observations_format.exposures is not None:
        raise BadInputError(
            f"Cannot use {name}: it names a file of exposures, and who puts objects in a bucket may read no files of "
            "this machine. Put the times in the table."
        )
    return path


def _read_unchanged(bucket: Bucket, table: IncomingTable) -> ScratchFile:
    found = ScratchFile()
    try:
        generation = bucket.download(table.name, found)
    except ObjectNotFoundError as error:
        raise TableChangedError(f"{table.name} was taken away while it was looked at.") from error
    if generation != table.generation:
        raise TableChangedError(f"{table.name} was replaced while it was looked at.")
    return found


class TableChangedError(Exception):
    """A table is not the one that was listed: the next look finds the new one."""


def _is_observations(name: str) -> bool:
    """Tell whether an object is to be read as observations; what it is its content tells."""
    file = PurePosixPath(name).name.lower()
    is_other = file.startswith((".", "readme")) or file.endswith((*NO_TABLES, ERROR_SUFFIX))
    return not is_other and file.partition(".")[0] not in {ORBITS, CONFIG, "exposures"}


def _nearest(names: set[str], table: str, stem: str, suffixes: Sequence[str]) -> str | None:
    """Return the object of that stem in the table's folder or the nearest one above it."""
    return next((name for name in _candidates(table, stem, suffixes) if name in names), None)


def _candidates(table: str, stem: str, suffixes: Sequence[str]) -> Iterator[str]:
    for folder in PurePosixPath(table).parents:
        if f"{folder}/".startswith(INCOMING_PREFIX):
            yield from (f"{folder}/{stem}{suffix}" for suffix in suffixes)
