from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError, MessageNotPublishedError
from tasks.jobs.claim import is_cancelled
from tasks.operations.cancel import cancel_job
from tasks.operations.retry import retry_job
from tasks.records.ids import JobId, TaskId
from tasks.records.status import Counters, Released
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere
from tests.support.jobs import (
    CANCELLED,
    CLAIMED,
    FRESH,
    SUCCEEDED,
    UnreachableQueue,
    closing_publisher,
    enqueued_for,
    failed,
    make_job,
    states_of,
    status_of,
)

KINDS = ["lost", "crashed", "task_error", "bad_input", "cancelled"]
ALL_STATES = {"fresh": FRESH, "claimed": CLAIMED, "succeeded": SUCCEEDED, **{kind: failed(kind) for kind in KINDS}}


def test_a_failed_task_is_requested_again_and_enqueued(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": SUCCEEDED})

    report = retry_job(bucket, publisher, job)

    assert report.retried == ["a"]
    assert states_of(bucket, job) == {"a": "requested", "b": "succeeded"}
    assert enqueued_for(queue) == ["a"]


def test_a_retried_task_begins_with_clean_counters_and_no_error(bucket, publisher):
    job = make_job(bucket, {"a": failed("crashed")})

    retry_job(bucket, publisher, job)

    status = status_of(bucket, job, "a")
    assert (status.counters, status.error, status.error_kind, status.attempt) == (Counters(), None, None, 1)


@pytest.mark.parametrize(
    ("kind", "retried"),
    [
        (None, ["lost", "crashed", "task_error", "bad_input"]),
        ("all", KINDS),
        *[(kind, [kind]) for kind in KINDS],
    ],
)
def test_only_failures_of_the_kind_asked_for_are_done_again(bucket, publisher, queue, kind, retried):
    job = make_job(bucket, ALL_STATES)

    report = retry_job(bucket, publisher, job, kind=kind)

    assert report.retried == retried
    assert enqueued_for(queue) == retried
    assert report.left_failed == {other: 1 for other in KINDS if other not in retried}
    states = states_of(bucket, job)
    assert [states["claimed"], states["succeeded"]] == ["in_progress", "succeeded"]


def test_only_the_tasks_that_are_named_are_done_again(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": failed("lost"), "c": CANCELLED})

    report = retry_job(bucket, publisher, job, task_ids=["b", "c"])

    assert report.retried == ["b", "c"]
    assert enqueued_for(queue) == ["b", "c"]


def test_a_task_that_the_job_does_not_have_is_refused_before_anything_is_written(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost")})

    with pytest.raises(BadInputError, match="job 'survey-07' has no such task"):
        retry_job(bucket, publisher, job, task_ids=["a", "z"])

    assert states_of(bucket, job) == {"a": "failed"}


def test_a_job_that_is_not_there_is_refused(bucket, publisher):
    with pytest.raises(BadInputError, match="Cannot find job 'nobody'"):
        retry_job(bucket, publisher, JobLayout(JobId("nobody")))


@pytest.mark.parametrize("kind", [None, "lost", "task_error"])
def test_a_cancelled_job_is_not_retried_by_accident(bucket, publisher, queue, kind):
    job = make_job(bucket, {"a": failed("lost"), "b": FRESH})
    cancel_job(bucket, job)

    with pytest.raises(BadInputError, match="it is cancelled"):
        retry_job(bucket, publisher, job, kind=kind)

    assert is_cancelled(bucket, job)
    assert enqueued_for(queue) == []


def test_the_cancellation_ends_when_its_tasks_are_asked_for(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": FRESH})
    cancel_job(bucket, job)

    retry_job(bucket, publisher, job, kind="cancelled")

    assert not is_cancelled(bucket, job)
    assert states_of(bucket, job) == {"a": "failed", "b": "requested"}
    assert enqueued_for(queue) == ["b"]


def test_a_retry_whose_messages_were_not_sent_sends_them_the_next_time(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": FRESH})
    with pytest.raises(MessageNotPublishedError):
        retry_job(bucket, UnreachableQueue(queue), job)
    assert status_of(bucket, job, "a").state == "requested"

    report = retry_job(bucket, publisher, job)

    assert (report.retried, report.n_published) == ([], 1)
    assert enqueued_for(queue) == ["a"]


def test_a_task_that_a_worker_gave_back_is_enqueued_too(bucket, publisher, queue):
    job = make_job(bucket, {"a": (*CLAIMED, Released())})

    retry_job(bucket, publisher, job)

    assert enqueued_for(queue) == ["a"]


@pytest.mark.parametrize("writes", range(4))
def test_a_retry_that_ends_between_any_two_writes_is_completed_by_the_next(tmp_path, queue, writes):
    bucket = FakeBucket()
    job = make_job(bucket, {"a": failed("lost"), "b": CANCELLED, "c": failed("crashed")})
    cancel_job(bucket, job)
    ending = EndingBucket(bucket, writes=writes)
    with closing_publisher(queue) as publisher, pytest.raises(ProcessEndedHere):
        retry_job(ending, publisher, job, kind="all")
    assert enqueued_for(queue) == []

    with closing_publisher(queue) as publisher:
        retry_job(bucket, publisher, job, kind="all")

    assert states_of(bucket, job) == {"a": "requested", "b": "requested", "c": "requested"}
    assert sorted(enqueued_for(queue)) == ["a", "b", "c"]


@pytest.mark.parametrize("seed", range(5))
def test_retrying_until_it_ends_well_rings_for_every_failed_task_on_a_flaky_bucket(queue, seed):
    bucket = FakeBucket()
    job = make_job(bucket, {name: failed("lost") for name in "abcdef"})
    flaky = FlakyBucket(bucket, seed=seed, failing=0.1)

    with closing_publisher(queue) as publisher:
        while True:
            try:
                retry_job(flaky, publisher, job)
                break
            except Exception:
                if not flaky.failures:
                    raise

    assert set(states_of(bucket, job).values()) == {"requested"}
    assert set(enqueued_for(queue)) == set("abcdef")


def test_two_operators_at_once_retry_each_task_once(bucket, queue):
    job = make_job(bucket, {f"t{number}": failed("lost") for number in range(12)})

    def retry(_):
        with closing_publisher(queue) as publisher:
            return retry_job(bucket, publisher, job).retried

    with ThreadPoolExecutor(2) as operators:
        retried = [*operators.map(retry, range(2))]

    assert sorted(retried[0] + retried[1]) == sorted(f"t{number}" for number in range(12))
    assert set(enqueued_for(queue)) == {f"t{number}" for number in range(12)}


def test_a_status_that_can_not_be_read_is_told_and_holds_up_no_other_task(bucket, publisher, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": failed("lost"), "c": failed("lost")})
    bucket.write(job.task(TaskId("a")).status, b"not a status")
    bucket.delete(job.task(TaskId("b")).status)

    report = retry_job(bucket, publisher, job)

    assert report.retried == ["c"]
    assert list(report.faults) == ["a", "b"]
    assert "is not a status" in report.faults[TaskId("a")]
