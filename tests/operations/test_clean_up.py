"""Old jobs go, when they are done; the age is the manifest's."""

from datetime import timedelta

import pytest

from tasks.errors import BadInputError
from tasks.jobs.manifest_file import read_manifest
from tasks.operations.clean_up import Limits, clean_up, is_old, limits_from_days
from tasks.operations.find_jobs import find_jobs
from tests.support.buckets import FakeBucket, SomebodyWritesForEver
from tests.support.jobs import CLAIMED, FRESH, NOW, SUCCEEDED, failed, make_job

LATER = NOW + timedelta(days=30)


def cleaned(bucket, *, days=7.0, dry_run=False, with_unfinished=False):
    limits = limits_from_days(days, now=LATER, with_unfinished=with_unfinished)
    return {job.job_id: job.verdict for job in clean_up(bucket, limits, dry_run=dry_run)}


@pytest.mark.parametrize(("days", "expected"), [(0, True), (29.9, True), (30, False), (31, False)])
def test_a_job_is_old_by_the_time_in_its_manifest(days, expected):
    bucket = FakeBucket()
    job = make_job(bucket, {"a": SUCCEEDED})
    manifest = read_manifest(bucket, job)

    assert is_old(manifest, limits_from_days(days, now=LATER)) is expected
    without_zone = manifest.model_copy(update={"created_at": NOW.replace(tzinfo=None)})
    assert is_old(without_zone, limits_from_days(days, now=LATER)) is expected


def test_what_is_old_and_done_goes_and_all_else_stays(bucket):
    make_job(bucket, {"a": SUCCEEDED, "b": failed("task_error")}, job_id="done")
    make_job(bucket, {"a": SUCCEEDED, "b": FRESH}, job_id="waiting")
    make_job(bucket, {"a": CLAIMED}, job_id="at-work")
    make_job(bucket, {"a": SUCCEEDED}, job_id="no-status")
    bucket.delete("thor_jobs/v1/jobs-no-status/tasks/a/status.json")
    make_job(bucket, {"a": SUCCEEDED}, job_id="no-manifest")
    bucket.delete("thor_jobs/v1/jobs-no-manifest/manifest.json")

    found = cleaned(bucket)

    left = {"waiting", "at-work", "no-status", "no-manifest"}
    assert found == {"done": "deleted", **dict.fromkeys(left, "kept")}
    assert {job.job_id for job in find_jobs(bucket)} == left
    assert list(bucket.list("thor_jobs/v1/jobs-done/")) == []


def test_a_dry_run_says_the_same_and_changes_nothing():
    bucket = FakeBucket()
    make_job(bucket, {"a": SUCCEEDED}, job_id="done")
    make_job(bucket, {"a": FRESH}, job_id="waiting")
    before = list(bucket.list(""))

    assert cleaned(bucket, dry_run=True) == {"done": "would be deleted", "waiting": "kept"}
    assert list(bucket.list("")) == before


def test_jobs_that_are_not_done_go_only_when_that_is_asked_for():
    bucket = FakeBucket()
    make_job(bucket, {"a": FRESH}, job_id="waiting")

    assert cleaned(bucket) == {"waiting": "kept"}
    assert cleaned(bucket, with_unfinished=True) == {"waiting": "deleted"}


def test_a_young_job_is_not_even_looked_at():
    bucket = FakeBucket()
    make_job(bucket, {"a": SUCCEEDED})
    bucket.history.clear()

    assert cleaned(bucket, days=365) == {}
    assert not any(name.endswith("status.json") for verb, name in bucket.history if verb == "read")


@pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf")])
def test_a_number_of_days_that_means_nothing_is_refused(days):
    with pytest.raises(BadInputError, match="expected 0 or more"):
        limits_from_days(days, now=NOW)


def test_a_job_that_is_retried_meanwhile_stays():
    bucket = FakeBucket()
    job = make_job(bucket, {"a": SUCCEEDED, "b": failed("task_error")})
    source = FakeBucket()
    fresh = source.read(make_job(source, {"b": FRESH}).task("b").status).body

    class RetriedMeanwhile(FakeBucket):
        """Task b is requested again after it was looked at."""

        def __init__(self) -> None:
            self.__dict__ = bucket.__dict__

        def read(self, name):
            found = FakeBucket.read(self, name)
            if name.endswith("b/status.json"):
                FakeBucket.write(self, name, fresh)
            return found

    (old,) = clean_up(RetriedMeanwhile(), Limits(made_before=LATER), dry_run=False)

    assert old.verdict == "kept"
    assert "1 requested" in old.why
    assert find_jobs(bucket) == [job]


def test_a_job_of_which_something_is_left_says_so():
    bucket = FakeBucket()
    job = make_job(bucket, {"a": SUCCEEDED})

    written = SomebodyWritesForEver(bucket, f"{job.prefix}tasks/a/outputs/thor.log")

    (old,) = clean_up(written, limits_from_days(7.0, now=LATER), dry_run=False)

    assert (old.verdict, old.why) == ("deleted", "1 object came in meanwhile: run flows.delete for it")
