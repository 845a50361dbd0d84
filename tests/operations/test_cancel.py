from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.jobs.claim import claim_task, is_cancelled
from tasks.jobs.status_file import read_status_file
from tasks.operations.cancel import cancel_job
from tasks.records.ids import JobId, TaskId
from tasks.records.status import Released
from tests.support.buckets import EndingBucket, FakeBucket, ProcessEndedHere
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, failed, make_job, states_of, status_of


@pytest.mark.parametrize(
    ("events", "state", "error_kind"),
    [
        (FRESH, "failed", "cancelled"),
        ((*CLAIMED, Released(crashed=True)), "failed", "cancelled"),
        (CLAIMED, "in_progress", None),
        (SUCCEEDED, "succeeded", None),
        (failed("lost"), "failed", "lost"),
    ],
)
def test_only_requested_tasks_are_cancelled_at_once(bucket, events, state, error_kind):
    job = make_job(bucket, {"a": events})

    cancel_job(bucket, job)

    assert is_cancelled(bucket, job)
    status = status_of(bucket, job, "a")
    assert (status.state, status.error_kind) == (state, error_kind)


def test_the_report_says_what_became_of_each_task(bucket):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED, "d": failed("lost")})

    report = cancel_job(bucket, job)

    assert (report.cancelled, report.in_progress, report.n_completed) == (["a"], ["b"], 2)
    assert not report.was_cancelled


def test_cancelling_again_changes_nothing(bucket):
    job = make_job(bucket, {"a": FRESH, "b": SUCCEEDED})
    cancel_job(bucket, job)
    before = {info.name: info.generation for info in bucket.list(job.prefix)}

    report = cancel_job(bucket, job)

    assert report.was_cancelled
    assert report.cancelled == []
    assert {info.name: info.generation for info in bucket.list(job.prefix)} == before


def test_a_job_that_is_not_there_is_not_cancelled(bucket):
    job = JobLayout(JobId("nobody"))

    with pytest.raises(BadInputError, match="Cannot find job 'nobody'"):
        cancel_job(bucket, job)

    assert not is_cancelled(bucket, job)


def test_a_job_that_is_still_being_submitted_can_be_cancelled(bucket):
    job = make_job(bucket, {"a": FRESH})
    bucket.delete(job.manifest)

    report = cancel_job(bucket, job)

    assert report.cancelled == ["a"]
    assert is_cancelled(bucket, job)


@pytest.mark.parametrize("writes", range(5))
def test_a_cancellation_that_ends_between_any_two_writes_is_completed_by_the_next(writes):
    bucket = FakeBucket()
    job = make_job(bucket, {"a": FRESH, "b": FRESH, "c": SUCCEEDED})
    with pytest.raises(ProcessEndedHere):
        cancel_job(EndingBucket(bucket, writes=writes), job)
    assert is_cancelled(bucket, job) == (writes > 0)

    cancel_job(bucket, job)

    assert is_cancelled(bucket, job)
    assert states_of(bucket, job) == {"a": "failed", "b": "failed", "c": "succeeded"}


def test_two_operators_at_once_cancel_each_task_once(bucket):
    job = make_job(bucket, {f"t{number}": FRESH for number in range(12)})

    with ThreadPoolExecutor(2) as operators:
        reports = [*operators.map(lambda _: cancel_job(bucket, job), range(2))]

    cancelled = [task_id for report in reports for task_id in report.cancelled]
    assert sorted(cancelled) == sorted(f"t{number}" for number in range(12))
    assert set(states_of(bucket, job).values()) == {"failed"}


def test_a_task_that_a_worker_claims_meanwhile_stays_with_its_worker():
    job = make_job(bucket := FakeBucket(), {"a": FRESH})

    class ClaimedMeanwhile(FakeBucket):
        """A worker claims the task after it was read, before it is written."""

        def write(self, name, body, **options):
            if name.endswith("status.json") and states_of(bucket, job) == {"a": "requested"}:
                claim_task(read_status_file(bucket, job.task(TaskId("a"))), worker="host:9")
            return bucket.write(name, body, **options)

        read, list, generation = bucket.read, bucket.list, bucket.generation

    report = cancel_job(ClaimedMeanwhile(), job)

    assert report.in_progress == ["a"]
    assert status_of(bucket, job, "a").worker == "host:9"
    assert is_cancelled(bucket, job)
