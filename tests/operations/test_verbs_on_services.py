"""The operator's verbs on RabbitMQ and Google Cloud Storage: what the embedded tests show holds there too."""

import pytest

from tasks.broker.protocol import OutgoingMessage
from tasks.operations.cancel import cancel_job
from tasks.operations.drain_dead import drain_dead
from tasks.operations.repair import repair_job
from tasks.operations.retry import retry_job
from tasks.records.ids import TaskId
from tasks.records.message import TaskMessage, message_from_bytes
from tests.bucket.kinds import gcs_kind
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, failed, make_job, states_of
from tests.support.queues import queue_under_test, receive, receive_and_ack

pytestmark = [pytest.mark.gcs, pytest.mark.rabbitmq]


@pytest.fixture
def bucket(fake_gcs):
    kind = gcs_kind(fake_gcs.url, fake_gcs.make_bucket())
    yield kind.bucket
    kind.bucket.close()


@pytest.fixture
def queue(rabbitmq_url):
    with queue_under_test(rabbitmq_url) as opened:
        yield opened


def enqueued_for(queue, count):
    return [message_from_bytes(body).task_id for body in receive_and_ack(queue.consumer(), count)]


def test_failed_tasks_are_requested_again_and_enqueued(bucket, queue):
    job = make_job(bucket, {"a": failed("lost"), "b": SUCCEEDED, "c": failed("crashed")})

    retry_job(bucket, queue.publisher(), job)

    assert states_of(bucket, job) == {"a": "requested", "b": "succeeded", "c": "requested"}
    assert enqueued_for(queue, 2) == ["a", "c"]


def test_a_cancelled_job_is_taken_up_again(bucket, queue):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED})
    cancel_job(bucket, job)
    assert states_of(bucket, job) == {"a": "failed", "b": "in_progress"}

    retry_job(bucket, queue.publisher(), job, kind="cancelled")

    assert enqueued_for(queue, 1) == ["a"]


def test_unfinished_tasks_are_enqueued_again(bucket, queue):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    report = repair_job(bucket, queue.publisher(), job)

    assert report.n_published == 2
    assert enqueued_for(queue, 2) == ["a", "b"]


def test_dead_messages_are_settled_and_the_unreadable_one_stays(bucket, queue):
    job = make_job(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})
    bodies = [
        TaskMessage(job_id=job.job_id, bucket=bucket.url, task_id=TaskId(name)).to_bytes() for name in ("a", "b", "c")
    ]
    publisher, consumer = queue.publisher(), queue.consumer()
    publisher.publish([OutgoingMessage(body) for body in [*bodies, b"rubbish"]])
    for _ in range(4):
        consumer.dead_letter(receive(consumer), "Nobody serves it.")
    consumer.close()

    operator = queue.publisher()
    outcomes = [message.outcome for message in drain_dead(bucket, operator)]
    operator.close()

    assert outcomes == ["failed", "sent_again", "was_over", "kept"]
    assert states_of(bucket, job) == {"a": "failed", "b": "in_progress", "c": "succeeded"}
    assert [delivery.body for delivery in publisher.take_dead(10)] == [b"rubbish"]
    assert enqueued_for(queue, 1) == ["b"]
