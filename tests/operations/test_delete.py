from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError, GenerationMismatchError
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.status_file import read_status_file
from tasks.operations.delete import delete_job
from tasks.operations.find_jobs import find_jobs
from tasks.records.ids import JobId, TaskId
from tasks.records.status import Renewed
from tests.support.buckets import EndingBucket, FakeBucket, ProcessEndedHere, SomebodyWritesForEver
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, failed, make_job, states_of


def names(bucket, prefix=""):
    return [info.name for info in bucket.list(prefix)]


def test_nothing_of_a_deleted_job_is_left_and_other_jobs_are_untouched(bucket):
    job = make_job(bucket, {"a": SUCCEEDED, "b": failed("lost")})
    other = make_job(bucket, {"a": FRESH}, job_id="survey-077")
    before = names(bucket, other.prefix)
    n_objects = len(names(bucket, job.prefix))

    report = delete_job(bucket, job)

    assert names(bucket) == before
    assert (report.n_deleted, report.n_left) == (n_objects, 0)


@pytest.mark.parametrize("events", [FRESH, CLAIMED])
def test_a_job_that_is_not_done_is_deleted_by_force_only(bucket, events):
    job = make_job(bucket, {"a": events, "b": SUCCEEDED})
    before = names(bucket)

    with pytest.raises(BadInputError, match="cancel the job first, or give --force"):
        delete_job(bucket, job)

    assert names(bucket) == before
    delete_job(bucket, job, force=True)
    assert names(bucket) == []


def test_a_job_that_is_not_there_is_refused(bucket):
    with pytest.raises(BadInputError, match="nothing lies below"):
        delete_job(bucket, JobLayout(JobId("nobody")))


@pytest.mark.parametrize("what", ["manifest", "status"])
def test_a_job_of_which_something_can_not_be_read_can_be_deleted(bucket, what):
    job = make_job(bucket, {"a": SUCCEEDED})
    bucket.write(job.manifest if what == "manifest" else job.task(TaskId("a")).status, b"rubbish")

    delete_job(bucket, job)

    assert names(bucket) == []


def test_a_worker_that_holds_a_task_of_a_deleted_job_is_fenced(bucket):
    job = make_job(bucket, {"a": CLAIMED})
    held = read_status_file(bucket, job.task(TaskId("a")))

    delete_job(bucket, job, force=True)

    with pytest.raises(GenerationMismatchError):
        held.change(Renewed())
    assert names(bucket) == []


N_OBJECTS = 12


def big_job(bucket):
    job = make_job(bucket, {"a": SUCCEEDED, "b": SUCCEEDED})
    assert len(names(bucket, job.prefix)) == N_OBJECTS - 3
    bucket.write(job.cancel, b"{}")
    bucket.write(f"{job.prefix}what-somebody-put-there.txt", b"")
    bucket.write(job.task(TaskId("a")).checkpoint("cluster_and_link", "clusters.parquet"), b"")
    return job


@pytest.mark.parametrize("writes", range(N_OBJECTS))
def test_a_deletion_that_ends_between_any_two_deletes_leaves_no_job_that_looks_whole(writes):
    bucket = FakeBucket()
    job = big_job(bucket)

    with pytest.raises(ProcessEndedHere):
        delete_job(EndingBucket(bucket, writes=writes), job)

    assert (read_manifest_if_there(bucket, job) is None) == (writes > 0)
    left = names(bucket)
    for task_id in states_of(bucket, job):
        assert job.task(TaskId(task_id)).output("thor.log") in left, "a succeeded status outlived its outputs"
    assert job.observations in left
    assert find_jobs(bucket) == [job]

    delete_job(bucket, job)
    assert names(bucket) == []


def test_what_a_worker_writes_meanwhile_is_deleted_too():
    bucket = FakeBucket()
    job = make_job(bucket, {"a": CLAIMED})
    late = job.task(TaskId("a")).output("thor.log")

    class WorkerWritesLate(FakeBucket):
        """A worker uploads an output after the outputs were listed."""

        list, read, write = bucket.list, bucket.read, bucket.write

        def delete(self, name):
            bucket.delete(name)
            if name == job.observations and late not in bucket.written:
                bucket.write(late, b"log")

    report = delete_job(WorkerWritesLate(), job, force=True)

    assert report.n_left == 0
    assert names(bucket) == []


def test_somebody_who_never_stops_writing_is_told():
    bucket = FakeBucket()
    job = make_job(bucket, {"a": SUCCEEDED})

    assert delete_job(SomebodyWritesForEver(bucket, job.cancel), job).n_left == 1


def test_two_operators_at_once_delete_a_job_together(bucket):
    job = make_job(bucket, {f"t{number}": SUCCEEDED for number in range(8)})

    with ThreadPoolExecutor(2) as operators:
        reports = [operators.submit(delete_job, bucket, job) for _ in range(2)]

    # The slower one may come when nothing is left.
    assert all(isinstance(report.exception(), BadInputError | None) for report in reports)
    assert names(bucket) == []
