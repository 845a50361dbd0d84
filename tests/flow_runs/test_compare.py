"""`flows.compare`: two jobs of a bucket, from their outputs to a table, a page and JSON."""

import csv

import pyarrow.compute as pc
import pytest

from flows.compare import main
from tasks.bucket.checksum import crc32c_from_bytes
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.jobs.checkpoints import parquet_from_table
from tasks.records.ids import TaskId
from tasks.records.status import OutputObject, Succeeded
from tests.support.commands import run_command
from tests.support.jobs import CLAIMED, failed, make_job
from tests.support.recovered import merged_demo


@pytest.fixture
def tables():
    results, _ = merged_demo()
    return {
        "recovered_orbits.parquet": results.orbits.select(RECOVERED_ORBITS.names),
        "recovered_orbit_members.parquet": results.members.select(RECOVERED_ORBIT_MEMBERS.names),
    }


def only_two(tables):
    """The first two objects."""
    orbits, members = tables.values()
    kept = pc.is_in(members["orbit_id"], value_set=orbits["orbit_id"].slice(0, 2).combine_chunks())
    return dict(zip(tables, (orbits.slice(0, 2), members.filter(kept)), strict=True))


def submit(place, job_id, tables, **more):
    """A job with one task that succeeded, with these tables, and the others in their states."""
    bodies = {name: parquet_from_table(table) for name, table in tables.items()}
    outputs = tuple(OutputObject(name=n, size=len(b), crc32c=crc32c_from_bytes(b)) for n, b in bodies.items())
    job = make_job(place.bucket, {"a": (*CLAIMED, Succeeded(outputs=outputs)), **more}, job_id=job_id)
    for name, body in bodies.items():
        place.bucket.write(job.task(TaskId("a")).output(name), body)


def test_two_jobs_that_found_the_same_are_told_to_agree_in_a_table_a_page_and_two_csv(place, tables, tmp_path):
    submit(place, "ours", tables)
    submit(place, "upstreams", only_two(tables))

    ended = run_command(main, "ours", "upstreams", *place.bucket_option, "--output", str(tmp_path / "out"))

    assert ended.code == 0
    assert "found by both: 2; only by ours: 1; only by upstreams: 0" in ended.out
    assert "Only found by ours: 1 object (" in ended.out
    with (tmp_path / "out/shared_objects.csv").open() as file:
        shared = list(csv.DictReader(file))
    assert len(shared) == 2
    assert all(float(row["sigmas"]) < 1e-6 and row["n_gained"] == "0" for row in shared)
    with (tmp_path / "out/lone_objects.csv").open() as file:
        assert [row["job"] for row in csv.DictReader(file)] == ["ours"]
    page = (tmp_path / "out/comparison.html").read_text()
    assert shared[0]["orbit_a"] in page
    assert "http" not in page


def test_programs_get_one_json_document(place, tables, tmp_path):
    submit(place, "ours", tables)

    document = run_command(main, "ours", "ours", *place.bucket_option, "--output", str(tmp_path), "--json").json

    assert document["totals"]["found by both"] == "3"
    assert document["comparison"]["job_a"]["engine"] == "builtin 1.0"
    assert document["comparison"]["found"]["shared"][0]["n_common"] == 22


def test_tasks_that_did_not_succeed_are_left_out_and_told(place, tables, tmp_path):
    submit(place, "ours", tables)
    submit(place, "half", tables, b=failed("lost"))

    ended = run_command(main, "ours", "half", *place.bucket_option, "--output", str(tmp_path))

    assert "Job half: 1 of 2 tasks succeeded; the others are left out." in ended.out


@pytest.mark.parametrize("jobs", [("ours", "nobody"), ("ours",), ("../ours", "ours")])
def test_wrong_input_ends_with_2_and_writes_nothing(place, tables, tmp_path, jobs):
    submit(place, "ours", tables)

    ended = run_command(main, *jobs, *place.bucket_option, "--output", str(tmp_path / "out"))

    assert ended.code == 2
    assert not (tmp_path / "out").exists()
