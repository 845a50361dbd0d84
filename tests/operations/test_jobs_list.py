from datetime import timedelta

from tasks.operations.cancel import cancel_job
from tasks.operations.find_jobs import find_jobs
from tasks.operations.jobs_list import list_jobs
from tasks.records.ids import TaskId
from tasks.records.manifest import manifest_from_bytes
from tasks.records.progress import JobProgress
from tests.support.jobs import CLAIMED, FRESH, NOW, SUCCEEDED, failed, make_job


def change_manifest(bucket, job, **changes):
    manifest = manifest_from_bytes(bucket.read(job.manifest).body)
    bucket.write(job.manifest, manifest.model_copy(update=changes).to_bytes())


def test_a_bucket_without_jobs_has_an_empty_list(bucket):
    bucket.write("thor_jobs/v1/doctor/probe.json", b"")
    bucket.write("elsewhere/manifest.json", b"")

    assert list_jobs(bucket).jobs == []


def test_the_tasks_of_each_job_are_counted_by_state(bucket):
    make_job(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED, "d": failed("lost"), "e": SUCCEEDED})

    (job,) = list_jobs(bucket).jobs

    assert (job.job_id, job.created_at, job.notes) == ("survey-07", NOW, ())
    assert job.progress == JobProgress(requested=1, in_progress=1, succeeded=2, failed=1)


def test_the_newest_jobs_come_first_and_older_ones_are_counted(bucket):
    for days, name in enumerate(["oldest", "middle", "newest"]):
        change_manifest(bucket, make_job(bucket, {}, job_id=name), created_at=NOW + timedelta(days=days))

    found = list_jobs(bucket, limit=2)

    assert [job.job_id for job in found.jobs] == ["newest", "middle"]
    assert found.n_left_out == 1


def test_what_is_out_of_the_ordinary_is_noted(bucket):
    cancel_job(bucket, make_job(bucket, {"a": FRESH}, job_id="cancelled"))
    change_manifest(bucket, make_job(bucket, {"a": FRESH}, job_id="submitting"), submitted_at=None)
    bucket.delete(make_job(bucket, {"a": FRESH}, job_id="half").manifest)
    bucket.write(make_job(bucket, {"a": FRESH}, job_id="unreadable").manifest, b"rubbish")
    bucket.delete(make_job(bucket, {"a": FRESH, "b": FRESH}, job_id="torn").task(TaskId("a")).status)

    notes = {job.job_id: job.notes for job in list_jobs(bucket).jobs}

    assert notes["cancelled"] == ("cancelled",)
    assert notes["submitting"] == ("submission not complete",)
    assert notes["half"] == ("no manifest: its submission or deletion was interrupted",)
    assert notes["torn"] == ("1 without a readable status",)
    assert "Cannot read" in notes["unreadable"][0]


def test_jobs_that_need_attention_come_before_all_others(bucket):
    make_job(bucket, {}, job_id="a-fine-job")
    bucket.delete(make_job(bucket, {}, job_id="z-half").manifest)

    assert [job.job_id for job in list_jobs(bucket).jobs] == ["z-half", "a-fine-job"]


def test_an_output_called_manifest_makes_no_job(bucket):
    job = make_job(bucket, {"a": FRESH})
    bucket.write(job.task(TaskId("a")).output("manifest.json"), b"")

    assert [found.job_id for found in find_jobs(bucket)] == ["survey-07"]
