import pytest

from flows.list import main
from tests.support.commands import run_command
from tests.support.jobs import FRESH, SUCCEEDED, failed, make_job


def test_the_table_has_one_line_for_each_job(place):
    make_job(place.bucket, {"a": FRESH, "b": SUCCEEDED, "c": failed("lost")})

    ended = run_command(main, *place.bucket_option)

    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["job", "created", "(UTC)", "tasks", "requested", "in_progress", "succeeded", "failed", "notes"],
        ["survey-07", "2026-11-23", "12:00", "3", "1", "0", "1", "1"],
    ]


def test_programs_get_one_json_document(place):
    make_job(place.bucket, {"a": FRESH})

    found = run_command(main, "--json", *place.bucket_option).json

    assert found["bucket"] == place.bucket.url
    assert found["n_left_out"] == 0
    assert found["jobs"][0]["progress"] == {"requested": 1, "in_progress": 0, "succeeded": 0, "failed": 0}


def test_older_jobs_are_left_out_unless_asked_for(place):
    for number in range(3):
        make_job(place.bucket, {}, job_id=f"job-{number}")

    newest = run_command(main, "--limit", 2, *place.bucket_option)
    every = run_command(main, "--all", *place.bucket_option)

    assert newest.out.splitlines()[-1] == "1 older job left out; --all shows them."
    assert len(every.out.splitlines()) == 4


def test_an_empty_bucket_is_said_to_be_empty(place):
    assert run_command(main, *place.bucket_option).out == f"There are no jobs in {place.bucket.url}.\n"


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "many"], ["--all", "--limit", "3"]])
def test_wrong_input_ends_with_2(place, arguments):
    assert run_command(main, *arguments, *place.bucket_option).code == 2


def test_a_bucket_url_that_means_nothing_ends_with_2():
    ended = run_command(main, "--bucket", "s3://elsewhere")

    assert ended.code == 2
    assert "Cannot open the bucket 's3://elsewhere'" in ended.err
