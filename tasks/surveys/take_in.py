"""Tables below `incoming/` of a survey are taken in: read, checked, freed of known objects, and kept as they were.

Order: the detections of known objects, then the others, under the version's own name and by creation only; then the
state says that this version holds. Idempotent: the same table gives the same version.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.bucket.layout import error_of_table
from tasks.bucket.store import ObjectInfo
from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitudes_deg
from tasks.engines.known_detections.tables import KNOWN_OBSERVATIONS
from tasks.engines.tables import OBSERVATIONS
from tasks.errors import BadInputError, BucketUnavailableError
from tasks.inputs.canonical_file import canonical_from_file
from tasks.inputs.catalogue_file import CatalogueFile
from tasks.inputs.config_file import Config
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.known_observations import attributed, known_csv, known_from_csv
from tasks.inputs.observations_file import observations_from_csv
from tasks.operations.incoming_tables import find_tables
from tasks.records.survey import SurveyState, TableVersion
from tasks.surveys.plan import KEY_LENGTH
from tasks.surveys.survey_files import SurveyFiles

OBSERVATIONS_LEAF, KNOWN_LEAF, RECORD_LEAF = "observations.csv", "known_observations.csv", "table.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What became of one table in this run."""

    table: str
    outcome: Literal["taken", "refused"]
    n_observations: int = 0
    n_known: int = 0
    fault: str | None = None


def take_in(files: SurveyFiles, config: Config) -> list[Taken]:
    """Take in every table that is new or was replaced; what is wrong with one is written beside it, and stops no other.

    Raises
    ------
    BadInputError
        If the catalogue can't be used.
    BucketUnavailableError
        If the bucket does not answer: the next run goes on.
    """
    state = files.read_state()
    listed = {info.name: info for info in files.bucket.list(files.layout.incoming)}
    new = [
        listed[table.name]
        for table in find_tables(list(listed.values()))
        if _generation_taken(state, table.name) != table.generation
    ]
    if not new:
        return []
    with files.catalogue() as catalogue:
        return list(_taken_each(files, config, catalogue, new))


def read_table(files: SurveyFiles, version: str) -> pa.Table:
    """Return what is left of a table that was taken in: the observations of no known object."""
    name = files.layout.table(version, OBSERVATIONS_LEAF)
    body = files.bucket.read(name).body
    if body.count(b"\n") == 1:  # all of it is known
        return OBSERVATIONS.empty_table()
    return observations_from_csv(body, name=name)


def night_of_each(observations: pa.Table) -> np.ndarray:
    """Return the MJD of the local date on which the night of each observation began; in space, of the date UTC."""
    codes = observations["observatory_code"].combine_chunks().dictionary_encode()
    longitudes = np.array([longitudes_deg().get(code, 0.0) for code in codes.dictionary.to_pylist()], dtype=np.float64)
    return solar_nights(observations["mjd_utc"].to_numpy(), longitudes[codes.indices.to_numpy()])


def _generation_taken(state: SurveyState, name: str) -> int | None:
    taken = state.tables.get(name)
    return None if taken is None else taken.generation


def _taken_each(
    files: SurveyFiles, config: Config, catalogue: CatalogueFile | None, new: list[ObjectInfo]
) -> Iterator[Taken]:
    for info in new:
        try:
            table = _version(files, config, catalogue, info)
        except BadInputError as error:
            logger.warning("Refused %s: %s", info.name, error)
            _put_error_beside(files, info.name, str(error))
            yield Taken(info.name, "refused", fault=str(error))
            continue
        files.change_state(functools.partial(_with_table, name=info.name, table=table))
        if (beside := error_of_table(info.name)) is not None:
            files.bucket.delete(beside)
        logger.info("Took in %s: %d observations, version %s.", info.name, table.n_observations, table.version)
        yield Taken(info.name, "taken", n_observations=table.n_observations, n_known=table.n_known)


def _with_table(state: SurveyState, *, name: str, table: TableVersion) -> SurveyState:
    present = state.tables.get(name)
    if present is not None and present.generation >= table.generation:
        return state  # somebody else took this one in, or a newer one
    return state.model_copy(update={"tables": dict(sorted({**state.tables, name: table}.items()))})


def _version(files: SurveyFiles, config: Config, catalogue: CatalogueFile | None, info: ObjectInfo) -> TableVersion:
    with files.fetched(info.name) as path:
        if path is None:
            raise BadInputError(f"Cannot use {info.name}: it was taken away while it was looked at.")
        canonical = canonical_from_file(path, config.observations_format)
        observations = observations_from_csv(canonical.file.opened(), name=info.name)
    version = hashlib.sha256(canonical.file.sha256.encode()).hexdigest()[:KEY_LENGTH]
    kept = files.read(files.layout.table(version, RECORD_LEAF))
    if kept is None:
        known = (
            attributed(observations, catalogue, config.settings, name=info.name).observations
            if catalogue is not None
            else KNOWN_OBSERVATIONS.empty_table()
        )
        name = files.layout.table(version, KNOWN_LEAF)
        files.create(name, known_csv(known))
        # What lies there counts, should another run have had another catalogue: each observation is in one of the two.
        known = known_from_csv(files.bucket.read(name).body)
        rest = observations.filter(pc.invert(pc.is_in(observations["obs_id"], known["obs_id"].combine_chunks())))
        files.create(files.layout.table(version, OBSERVATIONS_LEAF), csv_from_table(rest))
        record = TableVersion(
            version=version,
            generation=0,
            nights=tuple(np.unique(night_of_each(observations)).tolist()),
            n_observations=len(observations),
            n_known=len(known),
            notes=canonical.notes,
        )
        files.create(files.layout.table(version, RECORD_LEAF), record.to_bytes())
        kept = files.bucket.read(files.layout.table(version, RECORD_LEAF)).body
    return TableVersion.from_bytes(kept).model_copy(update={"generation": info.generation})


def _put_error_beside(files: SurveyFiles, name: str, fault: str) -> None:
    beside = error_of_table(name)
    if beside is not None:
        body = f"{fault}\nPut a corrected table in its place; every run looks at it again.\n".encode()
        if files.read(beside) != body:
            with contextlib.suppress(BucketUnavailableError):
                files.bucket.write(beside, body)
