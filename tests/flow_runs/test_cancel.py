from flows.cancel import main
from tasks.jobs.claim import is_cancelled
from tests.support.commands import run_command
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, make_job, states_of


def test_the_command_says_what_is_cancelled_and_what_is_still_at_work(place):
    job = make_job(place.bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    ended = run_command(main, job.job_id, *place.bucket_option)

    assert ended.code == 0
    assert ended.out.splitlines() == [
        "Job survey-07 is cancelled: 1 requested task cancelled now, 1 had come to an end before.",
        "Still at work: 1 task; each ends when its worker next renews its lease.",
    ]
    assert states_of(place.bucket, job) == {"a": "failed", "b": "in_progress", "c": "succeeded"}


def test_cancelling_twice_is_no_error(place):
    job = make_job(place.bucket, {"a": FRESH})
    run_command(main, job.job_id, *place.bucket_option)

    ended = run_command(main, job.job_id, "--json", *place.bucket_option)

    assert (ended.code, ended.json["was_cancelled"], ended.json["cancelled"]) == (0, True, [])


def test_an_unknown_job_ends_with_2(place):
    ended = run_command(main, "nobody", *place.bucket_option)

    assert (ended.code, ended.out) == (2, "")
    assert "Cannot find job 'nobody'" in ended.err


def test_single_tasks_that_wait_are_cancelled_and_the_job_goes_on(place):
    job = make_job(place.bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED, "d": FRESH})

    ended = run_command(main, job.job_id, "a", "b", "c", *place.bucket_option)

    assert ended.code == 0
    assert ended.out.splitlines() == [
        "Job survey-07: 1 requested task cancelled, 1 of those named had come to an end before.",
        "At work, and going on: b. Cancel their runs in Prefect, or the whole job.",
    ]
    assert states_of(place.bucket, job) == {"a": "failed", "b": "in_progress", "c": "succeeded", "d": "requested"}
    assert not is_cancelled(place.bucket, job)


def test_a_task_that_the_job_does_not_have_ends_with_2_and_nothing_is_cancelled(place):
    job = make_job(place.bucket, {"a": FRESH})

    ended = run_command(main, job.job_id, "a", "nobody", *place.bucket_option)

    assert ended.code == 2
    assert "Cannot cancel task 'nobody'" in ended.err
    assert states_of(place.bucket, job) == {"a": "requested"}
