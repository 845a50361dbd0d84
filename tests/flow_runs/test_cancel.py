from flows.cancel import main
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
