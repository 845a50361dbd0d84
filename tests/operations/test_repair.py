import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError, MessageNotPublishedError
from tasks.operations.cancel import cancel_job
from tasks.operations.find_jobs import find_jobs
from tasks.operations.repair import repair_job, repair_jobs
from tasks.records.ids import JobId, TaskId
from tasks.records.message import message_from_bytes
from tasks.records.status import Released
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, UnreachableQueue, enqueued_for, failed, make_job, received


@pytest.mark.parametrize(
    ("events", "is_enqueued"),
    [
        (FRESH, True),
        (CLAIMED, True),
        ((*CLAIMED, Released()), True),
        (SUCCEEDED, False),
        (failed("lost"), False),
        (failed("cancelled"), False),
    ],
)
def test_exactly_the_tasks_that_are_not_done_are_enqueued_again(bucket, publisher, queue, events, is_enqueued):
    job = make_job(bucket, {"a": events})

    report = repair_job(bucket, publisher, job)

    assert report.n_published == is_enqueued
    assert enqueued_for(queue) == ["a"] * is_enqueued


def test_the_messages_come_in_the_order_of_the_manifest_and_say_where_the_task_is(bucket, publisher, queue):
    job = make_job(bucket, {"c": FRESH, "a": FRESH, "b": FRESH})

    repair_job(bucket, publisher, job)

    messages = [message_from_bytes(delivery.body) for delivery in received(queue)]
    assert [message.task_id for message in messages] == ["c", "a", "b"]
    assert {(message.job_id, message.bucket) for message in messages} == {(job.job_id, bucket.url)}


def test_a_repair_changes_nothing_in_the_bucket(bucket, publisher):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})
    before = [*bucket.list("")]

    repair_job(bucket, publisher, job)

    assert [*bucket.list("")] == before


def test_a_cancelled_job_is_enqueued_too_so_that_workers_end_it(bucket, publisher, queue):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED})
    cancel_job(bucket, job)

    repair_job(bucket, publisher, job)

    assert enqueued_for(queue) == ["b"]


def test_a_repair_whose_messages_were_not_sent_sends_them_the_next_time(bucket, publisher, queue):
    job = make_job(bucket, {"a": FRESH})
    with pytest.raises(MessageNotPublishedError):
        repair_job(bucket, UnreachableQueue(queue), job)

    repair_job(bucket, publisher, job)

    assert enqueued_for(queue) == ["a"]


def test_a_job_that_is_not_there_is_refused(bucket, publisher):
    with pytest.raises(BadInputError, match="Cannot find job 'nobody'"):
        repair_job(bucket, publisher, JobLayout(JobId("nobody")))


def test_every_job_of_the_bucket_is_repaired_and_what_can_not_be_is_named(bucket, publisher, queue):
    make_job(bucket, {"a": FRESH}, job_id="one")
    make_job(bucket, {"b": SUCCEEDED}, job_id="two")
    interrupted = make_job(bucket, {"c": FRESH}, job_id="half-submitted")
    bucket.delete(interrupted.manifest)
    bucket.write(make_job(bucket, {"d": FRESH}, job_id="unreadable").manifest, b"{}")

    report = repair_jobs(bucket, publisher, find_jobs(bucket))

    assert {job.job_id: job.n_published for job in report.jobs} == {"one": 1, "two": 0}
    assert sorted(report.skipped) == ["half-submitted", "unreadable"]
    assert "run that again" in report.skipped[JobId("half-submitted")]
    assert enqueued_for(queue) == ["a"]


def test_a_status_that_can_not_be_read_is_told_and_the_others_are_enqueued_again(bucket, publisher, queue):
    job = make_job(bucket, {"a": FRESH, "b": FRESH})
    bucket.delete(job.task(TaskId("a")).status)

    report = repair_job(bucket, publisher, job)

    assert list(report.faults) == ["a"]
    assert enqueued_for(queue) == ["b"]
