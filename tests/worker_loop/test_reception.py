"""A message whose task is missing: deleted, or is it the bucket that is not there?"""

import pytest

from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.open_bucket import open_bucket
from tasks.errors import BucketUnavailableError
from tasks.records.ids import JobId, TaskId
from tasks.records.message import TaskMessage
from tests.support.jobs import FRESH, make_job
from workers.disposition import DeadLetter
from workers.engines_here import EnginesHere
from workers.reception import look_and_claim


def look(bucket, task_id="deleted"):
    message = TaskMessage(job_id=JobId("survey-07"), bucket=bucket.url, task_id=TaskId(task_id))
    return look_and_claim(bucket, message, {}, worker="here:1", engines=EnginesHere())


@pytest.fixture(params=["directory", pytest.param("gcs", marks=pytest.mark.gcs)])
def buckets(request, tmp_path):
    """A bucket that is there, and one that is not."""
    if request.param == "directory":
        (tmp_path / "mount_point").mkdir()
        yield DirectoryBucket(tmp_path / "bucket"), DirectoryBucket(tmp_path / "mount_point")
        return
    server = request.getfixturevalue("fake_gcs")
    opened = [
        open_bucket(f"gs://{name}", deadline_seconds=10.0, emulator_host=server.url)
        for name in (server.make_bucket(), "not-made")
    ]
    yield opened
    for bucket in opened:
        bucket.close()


def test_a_task_that_was_deleted_buries_its_message(buckets):
    make_job(buckets[0], {"a": FRESH})

    assert isinstance(look(buckets[0]), DeadLetter)


def test_a_bucket_that_is_not_there_buries_nothing(buckets):
    with pytest.raises(BucketUnavailableError, match="no bucket"):
        look(buckets[1])


def test_a_directory_that_does_not_exist_buries_nothing(tmp_path):
    with pytest.raises(BucketUnavailableError, match="no bucket"):
        look(DirectoryBucket(tmp_path / "nowhere"))
