from flows.incoming import main
from tasks.inputs.csv_text import csv_from_table
from tasks.operations.find_jobs import find_jobs
from tests.support.commands import run_command
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.jobs import enqueued_for


def test_the_command_submits_what_is_new_and_names_what_is_wrong(place):
    place.bucket.write("incoming/orbits.csv", csv_from_table(orbits_of(("Hebe",))))
    place.bucket.write("incoming/night.csv", csv_from_table(observations_of(("Hebe",))))
    place.bucket.write("incoming/other.csv", b"nothing\n1\n")

    ended = run_command(main, *place.options)
    again = run_command(main, "--json", *place.options)

    assert ended.code == 1
    assert [line.split()[:2] for line in ended.out.splitlines()[1:]] == [
        ["incoming/night.csv", "submitted"],
        ["incoming/other.csv", "refused"],
    ]
    assert "its first line is 'nothing'" in ended.out
    assert (again.code, [arrival["outcome"] for arrival in again.json]) == (1, ["refused"])
    assert enqueued_for(place.queue) == ["Hebe"]
    assert [job.job_id.startswith("night-") for job in find_jobs(place.bucket)] == [True]


def test_an_empty_place_has_nothing_to_do(place):
    ended = run_command(main, *place.options)

    assert (ended.code, ended.out) == (0, "There is no new table.\n")


def test_a_bucket_that_means_nothing_ends_with_2():
    assert run_command(main, "--bucket", "s3://x").code == 2
