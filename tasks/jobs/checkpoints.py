"""What a stage that took long leaves in the bucket, so that a later attempt need not compute it again.

One parquet file per table, then `stage.json`, which makes the checkpoint whole: it carries the checksums of the tables
and the fingerprint of what they were computed from. Whatever does not fit together is computed anew.
"""

import io

import pyarrow as pa
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.layout import TaskLayout
from tasks.bucket.store import Bucket
from tasks.engines.interface import Stage, StageResult
from tasks.errors import ObjectNotFoundError

STAGE_RECORD = "stage.json"
KEPT = "kept"
"""Below it lie the files that the engine itself kept."""


class CheckpointUnusableError(Exception):
    """There is a checkpoint, but no tables can be taken from it."""


class StageRecord(BaseModel):
    """Content of stage.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    #: Table -> CRC-32C of its parquet file.
    tables: dict[str, str]
    #: File that the engine kept, by its own name -> CRC-32C.
    kept: dict[str, str] = Field(default_factory=dict)
    counts: dict[str, int]
    seconds: float


def save_checkpoint(
    bucket: Bucket, task: TaskLayout, stage: Stage, *, result: StageResult, fingerprint: str, seconds: float
) -> None:
    """Write the tables of a stage, then the record that makes them count.

    Twice: two attempts that write the same checkpoint write the same tables, since a stage always gives the same ones.
    """
    checksums: dict[str, str] = {}
    for name, table in result.tables.items():
        body = parquet_from_table(table)
        checksums[name] = crc32c_from_bytes(body)
        bucket.write(task.checkpoint(stage, f"{name}.parquet"), body)
    for name, body in result.kept.items():
        bucket.write(task.checkpoint(stage, f"{KEPT}/{name}"), body)
    record = StageRecord(
        fingerprint=fingerprint,
        tables=checksums,
        kept={name: crc32c_from_bytes(body) for name, body in result.kept.items()},
        counts=dict(result.counts),
        seconds=seconds,
    )
    bucket.write(task.checkpoint(stage, STAGE_RECORD), record.model_dump_json().encode())


def load_checkpoint(
    bucket: Bucket, task: TaskLayout, stage: Stage, *, fingerprint: str
) -> tuple[StageResult, float] | None:
    """Return what a former attempt computed and the seconds it took, or None when it left nothing.

    Raises
    ------
    CheckpointUnusableError
        If it left something that is damaged, incomplete, or made from other inputs.
    """
    try:
        body = bucket.read(task.checkpoint(stage, STAGE_RECORD)).body
    except ObjectNotFoundError:
        return None
    try:
        record = StageRecord.model_validate_json(body)
        if record.fingerprint != fingerprint:
            raise CheckpointUnusableError("its checkpoint was made from other inputs or by another engine")
        bodies = {
            name: _verified(bucket, task.checkpoint(stage, f"{name}.parquet"), checksum)
            for name, checksum in record.tables.items()
        }
        tables = {name: table_from_parquet(table) for name, table in bodies.items()}
        kept = {
            name: _verified(bucket, task.checkpoint(stage, f"{KEPT}/{name}"), checksum)
            for name, checksum in record.kept.items()
        }
    except (ObjectNotFoundError, ValidationError, ValueError, pa.ArrowException) as error:
        raise CheckpointUnusableError(f"its checkpoint is damaged ({error})") from error
    return StageResult(tables=tables, counts=record.counts, kept=kept), record.seconds


def parquet_from_table(table: pa.Table) -> bytes:
    """Return the table as a parquet file."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def table_from_parquet(body: bytes) -> pa.Table:
    """Return the table of a parquet file; `read_table` would do the same, four times slower for small ones."""
    return pyarrow.parquet.ParquetFile(pa.BufferReader(body)).read()


def _verified(bucket: Bucket, name: str, checksum: str) -> bytes:
    body = bucket.read(name).body
    if crc32c_from_bytes(body) != checksum:
        raise ValueError(f"checksum of {name!r} is not the recorded one")
    return body
