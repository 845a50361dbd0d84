import pytest

from flows.clean_up import main
from tasks.operations.find_jobs import find_jobs
from tests.support.commands import run_command
from tests.support.jobs import FRESH, SUCCEEDED, make_job


def test_nothing_is_deleted_without_yes(place):
    make_job(place.bucket, {"a": SUCCEEDED}, job_id="done")
    make_job(place.bucket, {"a": FRESH}, job_id="waiting")

    told = run_command(main, "--older-than-days", "0", *place.bucket_option)

    assert told.code == 0
    assert "1 job would be deleted; say --yes if it is meant." in told.out
    assert len(find_jobs(place.bucket)) == 2


def test_with_yes_old_jobs_that_are_done_go(place):
    make_job(place.bucket, {"a": SUCCEEDED}, job_id="done")
    make_job(place.bucket, {"a": FRESH}, job_id="waiting")

    done = run_command(main, "--older-than-days", "0", "--yes", "--json", *place.bucket_option)

    assert {job["job_id"]: (job["verdict"], job["n_deleted"]) for job in done.json} == {
        "done": ("deleted", 6),
        "waiting": ("kept", 0),
    }
    assert [job.job_id for job in find_jobs(place.bucket)] == ["waiting"]


@pytest.mark.parametrize("days", ["-1", "nan", "many"])
def test_wrong_input_ends_with_2(place, days):
    assert run_command(main, "--older-than-days", days, *place.bucket_option).code == 2


def test_a_dry_run_tells_how_many_objects_would_go(place):
    make_job(place.bucket, {"a": SUCCEEDED}, job_id="done")

    told = run_command(main, "--older-than-days", "0", *place.bucket_option)

    (line,) = [line for line in told.out.splitlines() if line.startswith("done")]
    assert line.split()[-1] == "6"
