"""What a short task asks of its bucket, from the message to the end: on a cloud each request costs money and time."""

from collections import Counter

import pytest

from tasks.bucket.layout import JobLayout
from tasks.jobs.finish import finish_task
from tasks.jobs.status_file import read_status_file
from tasks.jobs.submit import Submission, new_job_id
from tasks.jobs.task_inputs import SurveyCache
from tasks.records.status import Claimed, Renewed, Succeeded
from tests.support.buckets import FakeBucket
from tests.support.job_inputs import small_inputs
from tests.support.whole_task import do_task
from workers.engines_here import EnginesHere

JOB = JobLayout(new_job_id("survey-07"))
MOST_REQUESTS = 20
OUTPUTS = 13


@pytest.fixture(scope="module")
def inputs():
    return small_inputs("Hebe", "Eros")


@pytest.fixture
def bucket(inputs):
    bucket = FakeBucket()
    submission = Submission(bucket=bucket, job_id=JOB.job_id, inputs=inputs)
    submission.upload_job_files()
    submission.upload_tasks(0, 2)
    return bucket


def test_a_short_task_makes_few_requests_and_none_that_finds_nothing_to_do(bucket):
    surveys = SurveyCache(10**9)
    engines = EnginesHere()
    do_task(bucket, JOB, "Hebe", surveys, engines)
    bucket.history.clear()

    do_task(bucket, JOB, "Eros", surveys, engines)

    task = JOB.task("Eros")
    asked = Counter(bucket.history)
    assert asked.pop(("read", task.status)) == 1
    assert asked.pop(("write", task.status)) == 2  # claimed, succeeded
    assert asked.pop(("generation", JOB.cancel)) == 1
    assert asked.pop(("read", task.orbits)) == 1
    assert asked.pop(("generation", JOB.observations)) == 1
    assert set(asked.values()) == {1}
    assert len([name for verb, name in asked if verb == "write" and name.startswith(task.outputs_prefix)]) == OUTPUTS
    assert len(asked) == OUTPUTS
    assert len(bucket.history) <= MOST_REQUESTS


def test_what_the_child_told_stands_in_the_last_status_although_no_renewal_was_written(bucket):
    file = read_status_file(bucket, JOB.task("Hebe"))
    file.change(Claimed(worker="w:1", attempt_id="a"))
    news = Renewed(stage="merge_and_extend", engine="builtin 7", prefect_flow_run_id="run")

    finish_task(file, Succeeded(outputs=()), news=news, may_leave=False)

    status = read_status_file(bucket, JOB.task("Hebe")).status
    assert (status.state, status.stage, status.engine) == ("succeeded", "merge_and_extend", "builtin 7")
    assert status.prefect_flow_run_id == "run"


class SlowBucket(FakeBucket):
    """A bucket that wants a pause between two writes of an object, like Google Cloud Storage."""

    write_pause_seconds = 1.0


def test_a_status_says_how_long_it_must_be_left_alone(monkeypatch, inputs):
    now = [100.0]
    monkeypatch.setattr("tasks.jobs.status_file._uptime_seconds", lambda: now[0])
    bucket = SlowBucket()
    Submission(bucket=bucket, job_id=JOB.job_id, inputs=inputs).upload_tasks(0, 2)
    file = read_status_file(bucket, JOB.task("Hebe"))
    assert (file.lease_age_seconds, file.seconds_until_next_write) == (None, 0.0)

    file.change(Claimed(worker="w:1", attempt_id="a"))

    now[0] += 0.75
    assert (file.lease_age_seconds, file.seconds_until_next_write) == (0.75, 0.25)
    now[0] += 0.25
    assert file.seconds_until_next_write == 0.0
