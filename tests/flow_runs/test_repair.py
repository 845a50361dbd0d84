import pika
import pytest
from pydantic import SecretStr

from flows.repair import main, repair
from tasks.broker.topology import WORK_QUEUE
from tasks.records.message import message_from_bytes
from tests.support.commands import run_command
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, enqueued_for, make_job
from tests.support.queues import queue_under_test, receive


def test_the_command_says_how_many_messages_it_sent(place):
    make_job(place.bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    ended = run_command(main, "survey-07", *place.options)

    assert (ended.code, ended.out) == (
        0,
        "Job survey-07: 2 messages sent, one for each task that is not done (of 3).\n",
    )
    assert enqueued_for(place.queue) == ["a", "b"]


def test_all_jobs_are_repaired_with_one_command(place):
    make_job(place.bucket, {"a": FRESH}, job_id="one")
    make_job(place.bucket, {"b": FRESH}, job_id="two")

    ended = run_command(main, "--all", "--json", *place.options)

    assert {job["job_id"]: job["n_published"] for job in ended.json["jobs"]} == {"one": 1, "two": 1}
    assert enqueued_for(place.queue) == ["a", "b"]


def test_a_form_that_leaves_the_job_empty_repairs_every_job(place):
    make_job(place.bucket, {"a": FRESH}, job_id="one")
    make_job(place.bucket, {"b": FRESH}, job_id="two")

    report = repair.fn("", bucket=place.bucket.url, queue=SecretStr(f"sqlite:///{place.queue}"))

    assert [job.job_id for job in report.jobs] == ["one", "two"]


def test_a_bucket_without_jobs_is_nothing_wrong(place):
    ended = run_command(main, "--all", *place.options)

    assert (ended.code, ended.out) == (0, "There are no jobs in the bucket.\n")


def test_a_job_that_can_not_be_repaired_makes_the_command_fail(place):
    place.bucket.delete(make_job(place.bucket, {"a": FRESH}).manifest)

    ended = run_command(main, "--all", *place.options)

    assert ended.code == 1
    assert "Job survey-07 was skipped: it has no manifest" in ended.out


@pytest.mark.parametrize("arguments", [[], ["survey-07", "--all"], ["nobody"], ["a/b"], [""]])
def test_wrong_input_ends_with_2(place, arguments):
    make_job(place.bucket, {"a": FRESH})

    ended = run_command(main, *arguments, *place.options)

    assert (ended.code, ended.out) == (2, "")
    assert enqueued_for(place.queue) == []


def test_queues_are_not_made_anew_for_a_single_job(place):
    make_job(place.bucket, {"a": FRESH})

    ended = run_command(main, "survey-07", "--recreate-queues", *place.options)

    assert (ended.code, ended.out) == (2, "")
    assert "Use --all." in ended.err
    assert enqueued_for(place.queue) == []


@pytest.mark.rabbitmq
def test_a_queue_that_was_declared_otherwise_is_made_anew_and_every_task_enqueued_again(place, rabbitmq_url):
    make_job(place.bucket, {"a": FRESH, "b": SUCCEEDED})
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        connection.channel().queue_declare(WORK_QUEUE, durable=True)
    where = (*place.bucket_option, "--queue", rabbitmq_url)

    in_vain = run_command(main, "--all", *where)
    repaired = run_command(main, "--all", "--recreate-queues", *where)

    assert in_vain.code == 1
    assert (repaired.code, repaired.out.splitlines()) == (
        0,
        [
            f"Queue {WORK_QUEUE} did not work and was made anew.",
            "Job survey-07: 1 message sent, one for each task that is not done (of 2).",
        ],
    )
    with queue_under_test(rabbitmq_url) as queue:
        assert message_from_bytes(receive(queue.consumer()).body).task_id == "a"
