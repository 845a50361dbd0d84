"""The doctor, and the list of jobs, on tasks that wait for a worker with an engine."""

import pytest

from tasks.operations.doctor_engines import NEWEST, waiting_findings
from tasks.operations.jobs_list import list_jobs
from tasks.records.status import LeftToOthers
from tests.support.buckets import FakeBucket
from tests.support.jobs import FRESH, SUCCEEDED, make_job

LEFT = (LeftToOthers(engine="thor"),)


@pytest.fixture
def bucket():
    return FakeBucket()


def test_tasks_that_wait_are_counted_over_the_jobs_with_what_to_do(bucket):
    make_job(bucket, {"a": LEFT, "b": LEFT, "c": FRESH}, job_id="one", engine="thor")
    make_job(bucket, {"a": LEFT, "b": SUCCEEDED}, job_id="two", engine="thor")
    make_job(bucket, {"a": FRESH}, job_id="three")

    (finding,) = waiting_findings(bucket)

    assert finding.verdict == "warning"
    assert finding.found.startswith("Waiting for a worker with engine thor: 3 tasks.")
    assert "THOR_PYTHON" in finding.found


def test_where_no_task_waits_all_is_well(bucket):
    make_job(bucket, {"a": FRESH}, engine="thor")

    assert [finding.verdict for finding in waiting_findings(bucket)] == ["ok"]


def test_only_the_newest_jobs_are_looked_at(bucket):
    make_job(bucket, {"a": LEFT}, job_id="job-00", engine="thor")
    for number in range(NEWEST):
        make_job(bucket, {"a": FRESH}, job_id=f"job-{number + 1:02}")

    assert [finding.verdict for finding in waiting_findings(bucket)] == ["ok"]


def test_the_list_of_jobs_notes_them(bucket):
    make_job(bucket, {"a": LEFT, "b": FRESH}, engine="thor")

    (job,) = list_jobs(bucket).jobs

    assert job.notes == ("1 waiting for a worker with engine thor",)
