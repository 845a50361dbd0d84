import pytest

from flows.retry import main
from tasks.operations.cancel import cancel_job
from tests.support.commands import run_command
from tests.support.jobs import CANCELLED, FRESH, SUCCEEDED, enqueued_for, failed, make_job, states_of


def test_the_command_says_what_is_requested_again_and_what_is_left(place):
    job = make_job(place.bucket, {"a": failed("lost"), "b": failed("task_error"), "c": SUCCEEDED})

    ended = run_command(main, job.job_id, "--kind", "lost", *place.options)

    assert ended.code == 0
    assert ended.out.splitlines() == [
        "Job survey-07: 1 failed task requested again, 1 message sent.",
        "Left as they are: 1 task failed as task_error; --kind task_error has them done again.",
    ]
    assert enqueued_for(place.queue) == ["a"]


def test_programs_get_one_json_document(place):
    job = make_job(place.bucket, {"a": failed("lost"), "b": CANCELLED})

    ended = run_command(main, job.job_id, "--json", *place.options)

    assert ended.json == {
        "job_id": "survey-07",
        "retried": ["a"],
        "n_published": 1,
        "left_failed": {"cancelled": 1},
        "faults": {},
    }


@pytest.mark.parametrize("arguments", [("b",), ("--kind", "lost", "b"), ("b", "--kind", "lost")])
def test_named_tasks_come_after_the_job_and_its_options_where_people_put_them(place, arguments):
    job = make_job(place.bucket, {"a": failed("lost"), "b": failed("lost")})

    ended = run_command(main, job.job_id, *arguments, *place.options)

    assert ended.code == 0
    assert states_of(place.bucket, job) == {"a": "failed", "b": "requested"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "Cannot find job 'nobody'"),
        (["../up"], "Cannot use job id '../up'"),
        (["survey-07", "--kind", "sad"], 'Invalid value "sad" for --kind'),
        (["survey-07", "z"], "has no such task"),
        (["survey-07"], "it is cancelled"),
        ([], "JOB"),
    ],
)
def test_wrong_input_ends_with_2_and_changes_nothing(place, arguments, message):
    job = make_job(place.bucket, {"a": failed("lost"), "b": FRESH})
    cancel_job(place.bucket, job)

    ended = run_command(main, *arguments, *place.options)

    assert ended.code == 2
    assert message in ended.err
    assert ended.out == ""
    assert states_of(place.bucket, job) == {"a": "failed", "b": "failed"}


def test_a_task_that_can_not_be_retried_makes_the_command_fail(place):
    job = make_job(place.bucket, {"a": failed("lost")})
    place.bucket.write(f"{job.tasks_prefix}a/status.json", b"[]")

    ended = run_command(main, job.job_id, *place.options)

    assert ended.code == 1
    assert "Task a: Cannot read the status" in ended.out


def test_a_queue_that_can_not_be_reached_ends_with_1_and_without_its_password(place):
    job = make_job(place.bucket, {"a": failed("lost")})

    ended = run_command(main, job.job_id, *place.bucket_option, "--queue", "amqp://thor:secret@127.0.0.1:1/")

    assert ended.code == 1
    assert "Cannot reach the queue amqp://thor:***@127.0.0.1:1/" in ended.err
    assert "secret" not in ended.err + ended.out
