from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tasks.broker.protocol import PARENT_RUN_HEADER, OutgoingMessage
from tasks.broker.sqlite import SqliteConsumer
from tasks.errors import BrokerUnavailableError
from tasks.operations.drain_dead import NO_REASON, drain_dead
from tasks.records.ids import TaskId
from tasks.records.message import TaskMessage
from tasks.records.status import Released
from tests.support.buckets import EndingBucket, FakeBucket, ProcessEndedHere
from tests.support.jobs import (
    CLAIMED,
    FRESH,
    SUCCEEDED,
    closing_publisher,
    failed,
    make_job,
    received,
    states_of,
    status_of,
)


@pytest.fixture
def dead_letter(publisher, queue):
    """Put messages into the dead queue, as a worker does."""

    def dead_letter(*messages, reason="The job was deleted."):
        publisher.publish([OutgoingMessage(body, headers) for body, headers in messages])
        with closing(SqliteConsumer(queue, delay_seconds=60)) as consumer:
            consumer.start()
            while (delivery := consumer.wait(0)) is not None:
                consumer.dead_letter(delivery, reason)

    return dead_letter


def message(bucket, job, task_id, *, bucket_name=None, **headers):
    body = TaskMessage(job_id=job.job_id, bucket=bucket_name or bucket.url, task_id=TaskId(task_id))
    return body.to_bytes(), headers


@pytest.mark.parametrize(
    ("events", "outcome", "state"),
    [
        (FRESH, "failed", "failed"),
        ((*CLAIMED, Released()), "failed", "failed"),
        (CLAIMED, "sent_again", "in_progress"),
        (SUCCEEDED, "was_over", "succeeded"),
        (failed("task_error"), "was_over", "failed"),
    ],
)
def test_what_a_dead_message_means_to_its_task(bucket, publisher, dead_letter, events, outcome, state):
    job = make_job(bucket, {"a": events})
    dead_letter(message(bucket, job, "a"))

    drained = [*drain_dead(bucket, publisher)]

    assert [(each.outcome, each.job_id, each.task_id) for each in drained] == [(outcome, "survey-07", "a")]
    assert states_of(bucket, job) == {"a": state}
    assert publisher.depth().dead == 0
    assert publisher.depth().ready == (outcome == "sent_again")


def test_the_task_fails_with_the_reason_of_its_message(bucket, publisher, dead_letter):
    job = make_job(bucket, {"a": FRESH})
    dead_letter(message(bucket, job, "a"), reason="This worker serves 'gs://other' only.")

    [*drain_dead(bucket, publisher)]

    status = status_of(bucket, job, "a")
    assert status.error_kind == "lost"
    assert status.error == "Its message came to the dead queue: This worker serves 'gs://other' only."
    assert bucket.read(job.task(TaskId("a")).output("error_message.txt")).body == f"{status.error}\n".encode()


def test_a_message_that_is_sent_again_keeps_its_headers_but_the_reason(bucket, publisher, queue, dead_letter):
    job = make_job(bucket, {"a": CLAIMED})
    dead_letter(message(bucket, job, "a", **{PARENT_RUN_HEADER: "f1"}))

    [*drain_dead(bucket, publisher)]

    assert [delivery.headers for delivery in received(queue)] == [{PARENT_RUN_HEADER: "f1"}]


def test_a_message_without_a_reason_was_delivered_too_often():
    assert "workers died" in NO_REASON


def unreadable(bucket, job):
    return {
        "no JSON": (b"\xff rubbish", {}),
        "no task": message(bucket, job, "z"),
        "another bucket": message(bucket, job, "a", bucket_name="gs://elsewhere"),
        "no status": message(bucket, job, "b"),
    }


@pytest.mark.parametrize("what", ["no JSON", "no task", "another bucket", "no status"])
def test_a_message_that_names_no_task_of_this_bucket_is_listed_and_kept(bucket, publisher, queue, dead_letter, what):
    job = make_job(bucket, {"a": FRESH, "b": FRESH})
    bucket.write(job.task(TaskId("b")).status, b"rubbish")
    dead_letter(unreadable(bucket, job)[what])

    with closing_publisher(queue) as other:
        drained = [*drain_dead(bucket, other)]

    assert [each.outcome for each in drained] == ["kept"]
    assert drained[0].fault
    assert publisher.depth().dead == 1
    assert status_of(bucket, job, "a").state == "requested"


@pytest.mark.parametrize("what", ["no JSON", "no task", "another bucket", "no status"])
def test_such_a_message_is_removed_when_asked_for(bucket, publisher, dead_letter, what):
    job = make_job(bucket, {"a": FRESH, "b": FRESH})
    bucket.write(job.task(TaskId("b")).status, b"rubbish")
    dead_letter(unreadable(bucket, job)[what])

    drained = [*drain_dead(bucket, publisher, discard=True)]

    assert [each.outcome for each in drained] == ["discarded"]
    assert publisher.depth().dead == 0
    assert status_of(bucket, job, "a").state == "requested"


def test_only_the_beginning_of_an_unreadable_body_is_shown(bucket, publisher, dead_letter):
    dead_letter((b"x" * 100_000, {}))

    (drained,) = drain_dead(bucket, publisher)

    assert drained.excerpt == "x" * 120
    assert "x" * 200 not in drained.fault


def test_the_whole_queue_is_drained_past_messages_that_are_kept(bucket, publisher, dead_letter):
    names = [f"t{number}" for number in range(150)]
    job = make_job(bucket, dict.fromkeys(names, SUCCEEDED))
    dead_letter(*[(b"rubbish", {})] * 120, *[message(bucket, job, name) for name in names])

    drained = [*drain_dead(bucket, publisher)]

    assert [each.outcome for each in drained] == ["kept"] * 120 + ["was_over"] * 150


@pytest.mark.parametrize("writes", range(4))
def test_a_drain_that_ends_between_any_two_writes_is_completed_by_the_next(queue, dead_letter, writes):
    bucket = FakeBucket()
    job = make_job(bucket, {"a": FRESH, "b": FRESH})
    dead_letter(message(bucket, job, "a"), message(bucket, job, "b"))
    with closing_publisher(queue) as ending, pytest.raises(ProcessEndedHere):
        [*drain_dead(EndingBucket(bucket, writes=writes), ending)]

    with closing_publisher(queue) as again:
        [*drain_dead(bucket, again)]
        assert again.depth().dead == 0

    assert states_of(bucket, job) == {"a": "failed", "b": "failed"}


def test_a_message_whose_ack_was_lost_finds_its_task_done_the_next_time(bucket, publisher, queue, dead_letter):
    job = make_job(bucket, {"a": FRESH})
    dead_letter(message(bucket, job, "a"))

    class AckLost(type(publisher)):
        def ack(self, delivery):
            raise BrokerUnavailableError("The connection is gone.")

    with closing(AckLost(queue)) as unlucky, pytest.raises(BrokerUnavailableError):
        [*drain_dead(bucket, unlucky)]
    assert states_of(bucket, job) == {"a": "failed"}

    assert [each.outcome for each in drain_dead(bucket, publisher)] == ["was_over"]
    assert publisher.depth().dead == 0


def test_two_operators_at_once_share_the_messages(bucket, publisher, queue, dead_letter):
    names = [f"t{number}" for number in range(20)]
    job = make_job(bucket, dict.fromkeys(names, FRESH))
    dead_letter(*[message(bucket, job, name) for name in names])

    def drain(_):
        with closing_publisher(queue) as own:
            return [*drain_dead(bucket, own)]

    with ThreadPoolExecutor(2) as operators:
        drained = [each for part in operators.map(drain, range(2)) for each in part]

    assert sorted(each.task_id for each in drained) == sorted(names)
    assert publisher.depth().dead == 0
    assert set(states_of(bucket, job).values()) == {"failed"}
