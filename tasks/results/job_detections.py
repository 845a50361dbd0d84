"""The job's detections as a client needs them at the end: those of recovered orbits each, all others thinned out.

They are read from the bucket in blocks: a survey of ten million detections never becomes one table here.
"""

import csv
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.bucket.content import Body, Content, ScratchFile, content_of, opened
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.engines.tables import OBJECT_ID, OBSERVATIONS, OBSERVER_POSITION
from tasks.errors import ObjectNotFoundError
from tasks.inputs.readers.row_blocks import BLOCK_BYTES, first_row_end, last_row_end, row_blocks

DRAWN_DETECTIONS = 20_000
"""About how many of a job's detections are kept for the map of the sky."""

ASKED = pa.schema([field.with_nullable(True) for field in (*OBSERVATIONS, OBJECT_ID, *OBSERVER_POSITION)])
"""Columns of a detection that was asked for; all null when the job has no such detection."""

TRUTH = pa.schema(
    [
        ASKED.field(name)
        for name in ("obs_id", "mjd_utc", "RA_deg", "Dec_deg", "observatory_code", "night_id", "mag", "object_id")
    ]
)

NO_FILTER = "no filter"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobDetections:
    """What a client knows of the detections of a job."""

    #: Columns of `ASKED`, row for row those that were asked for.
    asked: pa.Table
    #: Number of all detections, and of those of each observatory; 0 and empty when they could not be read.
    n_detections: int
    n_of_observatory: dict[str, int]
    #: RA_deg, Dec_deg of one in `thinning` of all detections, in the order of the file.
    drawn: pa.Table
    thinning: int
    #: Rows with the columns of `TRUTH` of all detections whose object is known.
    truth: pa.Table
    #: First and last time of all detections, MJD UTC; None when there are none.
    span_mjd_utc: tuple[float, float] | None = None
    #: Number of detections by filter; of those without one under "no filter", where others have one.
    n_of_filter: dict[str, int] = field(default_factory=dict)


def download_observations(bucket: Bucket, layout: JobLayout) -> ScratchFile:
    """Return the job's observations.csv; without it in the bucket an empty file, and a warning says so."""
    file = ScratchFile()
    try:
        bucket.download(layout.observations, file)
    except ObjectNotFoundError:
        logger.warning(
            "Cannot read %s of %s: it is missing. Times and positions of detections are left out of the results.",
            layout.observations,
            bucket.url,
        )
    return file


def detections_from_csv(body: Body, asked_ids: pa.ChunkedArray) -> JobDetections:
    """Return the detections of a job with these ids, and the outline of all, from its observations.csv.

    Of an empty file (it was deleted) everything is null or empty.
    """
    content = content_of(body)
    wanted = pc.unique(asked_ids)
    found: list[pa.Table] = []
    drawn: list[pa.Table] = []
    truth: list[pa.Table] = []
    observatories: Counter[str] = Counter()
    filters: Counter[str] = Counter()
    times: list[float] = []
    thinning = max(1, _about_how_many_rows(content) // DRAWN_DETECTIONS)
    n_rows = 0
    for block in _blocks(content):
        found.append(block.filter(pc.is_in(block["obs_id"], wanted)))
        truth.append(block.filter(pc.is_valid(block["object_id"])).select(TRUTH.names))
        first = -n_rows % thinning
        drawn.append(block.select(["RA_deg", "Dec_deg"]).take(np.arange(first, len(block), thinning)))
        observatories.update(_counts(block["observatory_code"]))
        filters.update(_counts(pc.fill_null(block["filter"], NO_FILTER)))
        times += [time for time in pc.min_max(block["mjd_utc"]).as_py().values() if time is not None]
        n_rows += len(block)
    known = pa.concat_tables([ASKED.empty_table(), *found]).combine_chunks()
    rows = pc.index_in(asked_ids, known["obs_id"].combine_chunks())
    return JobDetections(
        asked=known.take(rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows),
        n_detections=n_rows,
        n_of_observatory=dict(sorted(observatories.items())),
        drawn=pa.concat_tables([ASKED.empty_table().select(["RA_deg", "Dec_deg"]), *drawn]),
        thinning=thinning,
        truth=pa.concat_tables([TRUTH.empty_table(), *truth]),
        span_mjd_utc=(min(times), max(times)) if times else None,
        n_of_filter={} if set(filters) <= {NO_FILTER} else dict(sorted(filters.items())),
    )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}


def _blocks(content: Content) -> Iterator[pa.Table]:
    """Yield the rows of the canonical csv with the columns of `ASKED`; null where the file has no such column."""
    file = opened(content)
    names = next(csv.reader([file.readline().decode()]), [])
    options = pyarrow.csv.ConvertOptions(
        column_types={field.name: field.type for field in ASKED},
        include_columns=[name for name in ASKED.names if name in names],
        null_values=[""],
        strings_can_be_null=True,
    )
    for piece in row_blocks(file, block_bytes=BLOCK_BYTES, last_end=last_row_end, first_end=first_row_end):
        # In one piece, in which a text may go over several lines.
        how = pyarrow.csv.ReadOptions(column_names=names, block_size=len(piece) + 1)
        table = pyarrow.csv.read_csv(pa.py_buffer(piece), read_options=how, convert_options=options)
        columns = [
            table[name] if name in table.column_names else pa.nulls(len(table), ASKED.field(name).type)
            for name in ASKED.names
        ]
        yield pa.table(columns, schema=ASKED)


def _about_how_many_rows(content: Content) -> int:
    """Guess from the first rows, so that the file is not read twice."""
    sample = content.read_at(0, 1 << 16)
    return content.size * sample.count(b"\n") // max(1, len(sample))
