"""What a client has at the end of known objects: their detections in a job, left out of it or not."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.bucket.content import ScratchFile
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.engines.settings import EngineSettings
from tasks.errors import ObjectNotFoundError
from tasks.inputs.known_observations import KNOWN_FIELDS, attributed, known_from_csv
from tasks.inputs.observations_file import observations_from_csv

KNOWN_FILE = "known_observations"

KNOWN_FILES = {
    f"{KNOWN_FILE}.csv": "detections of known objects, with residuals and differences of magnitude",
    f"{KNOWN_FILE}.parquet": "the same",
}

LEFT_OUT = pa.field("left_out", pa.bool_(), nullable=False)
"""Whether the detection was left out of what the job linked."""


@dataclass(frozen=True)
class KnownOfJob:
    """What is known of a job's detections."""

    #: `KNOWN_FIELDS` and `LEFT_OUT`; None: no catalogue was given.
    observations: pa.Table | None
    #: Orbits of the catalogue that may pass through the exposures, at their epoch; None: none was given here.
    orbits: pa.Table | None


def known_of_job(
    bucket: Bucket,
    layout: JobLayout,
    *,
    observations: ScratchFile,
    catalogue: Iterable[pa.Table] | None,
    settings: EngineSettings,
) -> KnownOfJob:
    """Return the detections of known objects: those left out when the job was made, and those in the catalogue.

    Parameters
    ----------
    observations
        The job's, empty when they were deleted: then nothing more is attributed.
    """
    parts = []
    with contextlib.suppress(ObjectNotFoundError):
        parts.append(_marked(known_from_csv(bucket.read(layout.known_observations).body), is_left_out=True))
    orbits = None
    if catalogue is not None and observations.size:
        table = observations_from_csv(observations.opened(), name=layout.observations)
        found = attributed(table, catalogue, settings, name=layout.observations)
        parts.append(_marked(found.observations.select([field.name for field in KNOWN_FIELDS]), is_left_out=False))
        orbits = found.orbits
    if not parts:
        return KnownOfJob(None, orbits)
    by_object = [(name, "ascending") for name in ("known_object", "mjd_utc", "obs_id")]
    return KnownOfJob(pa.concat_tables(parts).sort_by(by_object).combine_chunks(), orbits)


def _marked(table: pa.Table, *, is_left_out: bool) -> pa.Table:
    return table.append_column(LEFT_OUT, pa.array(np.full(len(table), is_left_out)))


def totals_of_known(known: pa.Table | None) -> dict[str, str]:
    """Return what the report's head says of known objects."""
    if known is None:
        return {}
    return {"known objects": str(len(known["known_object"].unique())), "their detections": str(len(known))}
