"""The detections of known objects: which they are, and the observations without them."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tasks.engines.errors import EngineInputError
from tasks.engines.known_detections.tables import KNOWN_OBSERVATIONS
from tasks.errors import BadInputError
from tasks.inputs.csv_text import csv_from_table
from tasks.wording import counted

if TYPE_CHECKING:
    from tasks.engines.known_detections.attribution import Attribution
    from tasks.engines.settings import EngineSettings

KNOWN_FIELDS = tuple(field for field in KNOWN_OBSERVATIONS if field.name != "obs_index")
"""Columns of `known_observations`, but for `left_out`, which only results have."""


@dataclass(frozen=True)
class LeftOut:
    """Observations that were divided by a catalogue."""

    #: Rows of `tables.OBSERVATIONS` that are of no known object.
    rest: pa.Table
    #: known_observations.csv of the others.
    known_csv: bytes
    note: str


def attributed(
    observations: pa.Table, catalogue: Iterable[pa.Table], settings: "EngineSettings", *, name: str
) -> "Attribution":
    """Attribute observations, called `name` in messages, to the orbits of a catalogue."""
    # The engine's compiled kernels take a second to import: a job without a catalogue shall not pay for it.
    from tasks.engines.known_detections.attribution import attribute_known  # noqa: PLC0415

    try:
        return attribute_known(observations, catalogue, settings)
    except EngineInputError as error:
        raise BadInputError(f"Cannot look for known objects in {name}: {error}") from error


def without_known(
    observations: pa.Table, catalogue: Iterable[pa.Table], settings: "EngineSettings", *, name: str
) -> LeftOut:
    """Divide observations into those of known objects and the rest.

    Raises
    ------
    BadInputError
        If nothing is left to link.
    """
    found = attributed(observations, catalogue, settings, name=name)
    is_left = np.ones(len(observations), np.bool_)
    is_left[found.observations["obs_index"].to_numpy()] = False
    n_known, n_objects = len(found.observations), len(found.observations["known_object"].unique())
    if n_known == len(observations):
        raise BadInputError(
            f"Cannot link {name}: each of its {counted(n_known, 'observation')} is of a known object. "
            "Leave --leave-out-known away to link them all the same."
        )
    note = (
        f"Left out {n_known} of {counted(len(observations), 'observation')}: of {counted(n_objects, 'known object')}; "
        f"the catalogue has {counted(found.n_orbits, 'orbit')}."
    )
    return LeftOut(observations.filter(pa.array(is_left)), known_csv(found.observations), note)


def known_csv(known: pa.Table) -> bytes:
    """Return rows of `KNOWN_OBSERVATIONS` as csv, without row numbers."""
    return csv_from_table(known.select([field.name for field in KNOWN_FIELDS]))


def known_from_csv(body: bytes) -> pa.Table:
    """Return what `known_csv` wrote."""
    names = next(csv.reader(io.StringIO(body.decode())), [])
    options = pyarrow.csv.ConvertOptions(
        column_types={field.name: field.type for field in KNOWN_FIELDS},
        include_columns=[field.name for field in KNOWN_FIELDS if field.name in names],
        null_values=[""],
        strings_can_be_null=True,
    )
    return pyarrow.csv.read_csv(pa.py_buffer(body), convert_options=options).cast(pa.schema(KNOWN_FIELDS))
