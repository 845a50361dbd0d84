"""What a stage leaves for a later attempt: tables, counts, and files of the engine's own."""

import pyarrow as pa
import pytest

from tasks.bucket.layout import JobLayout
from tasks.engines.interface import StageResult
from tasks.jobs.checkpoints import CheckpointUnusableError, load_checkpoint, save_checkpoint
from tasks.records.ids import JobId, TaskId
from tests.support.buckets import FakeBucket

TASK = JobLayout(JobId("job")).task(TaskId("task"))
RESULT = StageResult({"clusters": pa.table({"a": [1, 2]})}, {"clusters": 2}, {"clusters.parquet": b"upstream's own"})


@pytest.fixture
def bucket():
    bucket = FakeBucket()
    save_checkpoint(bucket, TASK, "cluster_and_link", result=RESULT, fingerprint="f", seconds=1.5)
    return bucket


def load(bucket, fingerprint="f"):
    return load_checkpoint(bucket, TASK, "cluster_and_link", fingerprint=fingerprint)


def test_tables_and_the_files_that_an_engine_kept_come_back_although_they_share_a_name(bucket):
    result, seconds = load(bucket)

    assert result.tables["clusters"].equals(RESULT.tables["clusters"])
    assert (result.kept, result.counts, seconds) == (RESULT.kept, RESULT.counts, 1.5)


def test_a_kept_file_that_is_damaged_or_gone_makes_the_checkpoint_useless(bucket):
    name = TASK.checkpoint("cluster_and_link", "kept/clusters.parquet")
    bucket.write(name, b"other")
    with pytest.raises(CheckpointUnusableError, match="is damaged"):
        load(bucket)

    bucket.delete(name)
    with pytest.raises(CheckpointUnusableError, match="is damaged"):
        load(bucket)


def test_a_checkpoint_without_kept_files_is_one_too(bucket):
    plain = StageResult(RESULT.tables, RESULT.counts)
    save_checkpoint(bucket, TASK, "cluster_and_link", result=plain, fingerprint="f", seconds=1.0)

    assert load(bucket)[0].kept == {}
