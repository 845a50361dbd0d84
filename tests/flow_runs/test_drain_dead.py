from contextlib import closing

import pytest

from flows.drain_dead import main
from tasks.broker.protocol import OutgoingMessage
from tasks.broker.sqlite import SqliteConsumer
from tasks.records.ids import TaskId
from tasks.records.message import TaskMessage
from tests.support.commands import run_command
from tests.support.jobs import FRESH, SUCCEEDED, closing_publisher, make_job, status_of


@pytest.fixture
def job(place):
    """A job with a dead message for each of its tasks, and one message that nobody can read."""
    job = make_job(place.bucket, {"a": FRESH, "b": SUCCEEDED})
    bodies = [
        TaskMessage(job_id=job.job_id, bucket=place.bucket.url, task_id=TaskId(name)).to_bytes() for name in ("a", "b")
    ]
    with closing_publisher(place.queue) as publisher:
        publisher.publish([OutgoingMessage(body) for body in [*bodies, b"rubbish"]])
    with closing(SqliteConsumer(place.queue, delay_seconds=60)) as consumer:
        consumer.start()
        while (delivery := consumer.wait(0)) is not None:
            consumer.dead_letter(delivery, "Nobody serves it.")
    return job


def test_the_command_lists_each_message_and_sums_up(place, job):
    ended = run_command(main, *place.options)

    assert ended.code == 1
    table, sums = ended.out.splitlines()[:4], ended.out.splitlines()[4:]
    assert table[0].split() == ["outcome", "job", "task", "why", "body"]
    assert table[1].split(maxsplit=3)[:3] == ["failed", "survey-07", "a"]
    assert table[3].endswith("rubbish")
    assert sums == [
        "1 message settled: the task is failed now, with the reason.",
        "1 message removed: the task had come to an end.",
        "1 message kept: no task of this bucket.",
        "With --discard the kept ones are removed.",
    ]
    assert status_of(place.bucket, job, "a").error == "Its message came to the dead queue: Nobody serves it."


def test_nothing_is_left_after_a_discard(place, job):
    discarded = run_command(main, "--discard", "--json", *place.options)
    again = run_command(main, *place.options)

    assert (discarded.code, [each["outcome"] for each in discarded.json]) == (0, ["failed", "was_over", "discarded"])
    assert (again.code, again.out) == (0, "The dead queue is empty.\n")
