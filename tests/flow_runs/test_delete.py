import pytest

from flows.delete import main
from tests.support.commands import run_command
from tests.support.jobs import FRESH, SUCCEEDED, make_job


def objects(place):
    return [*place.bucket.list("")]


def test_nothing_is_deleted_without_yes(place):
    make_job(place.bucket, {"a": SUCCEEDED})
    before = objects(place)

    ended = run_command(main, "survey-07", *place.bucket_option)

    assert ended.code == 2
    assert "Nothing was deleted." in ended.err
    assert objects(place) == before


def test_the_command_says_how_much_it_deleted(place):
    make_job(place.bucket, {"a": SUCCEEDED})

    ended = run_command(main, "survey-07", "--yes", *place.bucket_option)

    assert (ended.code, ended.out) == (0, "Job survey-07 is deleted: 6 objects.\n")
    assert objects(place) == []


def test_force_deletes_a_job_that_is_not_done_and_says_what_to_do_next(place):
    make_job(place.bucket, {"a": FRESH})

    refused = run_command(main, "survey-07", "--yes", *place.bucket_option)
    forced = run_command(main, "survey-07", "--yes", "--force", *place.bucket_option)

    assert (refused.code, forced.code) == (2, 0)
    assert "0 tasks in progress and 1 requested" in refused.err
    assert "1 task had not come to an end" in forced.out
    assert objects(place) == []


@pytest.mark.parametrize("arguments", [["nobody", "--yes"], ["..", "--yes"], ["--yes"]])
def test_wrong_input_ends_with_2(place, arguments):
    make_job(place.bucket, {"a": SUCCEEDED})
    before = objects(place)

    assert run_command(main, *arguments, *place.bucket_option).code == 2
    assert objects(place) == before
