"""One attempt at a task, with the real engine on one object of the demo and a bucket in memory."""

import errno
import threading
import time

import pytest

from tasks.bucket.layout import JobLayout
from tasks.engines.interface import STAGES
from tasks.engines.settings import settings_from_items
from tasks.errors import BucketUnavailableError, ShutdownRequested
from tasks.jobs.checkpoints import table_from_parquet
from tasks.jobs.run_attempt import CHECKPOINT_SECONDS, Attempt
from tasks.jobs.submit import Submission, new_job_id
from tasks.jobs.task_inputs import JobKey, PreparedJob, SurveyCache
from tasks.records.assignment import Assignment, AttemptFailed, AttemptReleased, AttemptSucceeded, StageBegan
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere
from tests.support.job_inputs import small_inputs

JOB = JobLayout(new_job_id("survey-07"))
TABLES = {
    "cluster_and_link": ("clusters", "cluster_members"),
    "initial_orbit_determination": ("iod_orbits", "iod_orbit_members"),
    "merge_and_extend": ("recovered_orbits", "recovered_orbit_members"),
    "orbit_determination": ("od_orbits", "od_orbit_members"),
    "range_and_shift": ("projected_observations",),
}
CSV_FILES = {f"{name}.csv" for names in TABLES.values() for name in names}


@pytest.fixture(scope="module")
def inputs():
    return small_inputs("Hebe")


@pytest.fixture
def bucket(inputs):
    bucket = FakeBucket()
    submission = Submission(bucket=bucket, job_id=JOB.job_id, inputs=inputs)
    submission.upload_job_files()
    submission.upload_tasks(0, 1)
    return bucket


class Supervisor:
    """The other end of an attempt: hears what it tells, and answers for the lease."""

    def __init__(self, *, lease=lambda: None):
        self.told = []
        self.leases = 0
        self._lease = lease

    def await_lease(self):
        self.leases += 1
        self._lease()


def attempt_at(bucket, supervisor=None, *, attempt=1, task="Hebe", surveys=None, **collaborators):
    supervisor = supervisor or Supervisor()
    assignment = Assignment(job_id=JOB.job_id, task_id=task, bucket_url=bucket.url, attempt=attempt, worker="host:1")
    return Attempt(
        assignment,
        bucket=bucket,
        tell=supervisor.told.append,
        await_lease=supervisor.await_lease,
        surveys=surveys or SurveyCache(10**9),
        **{"checkpoint_seconds": 0.0, **collaborators},
    )


def output(bucket, name, task="Hebe"):
    return bucket.read(JOB.task(task).output(name)).body


def stored_outputs(bucket):
    prefix = JOB.task("Hebe").outputs_prefix
    return {info.name.removeprefix(prefix): (info.size, info.crc32c) for info in list(bucket.list(prefix))}


def test_an_attempt_recovers_the_object_and_names_every_output(bucket):
    supervisor = Supervisor()

    attempt_at(bucket, supervisor).run()

    ending = supervisor.told[-1]
    assert isinstance(ending, AttemptSucceeded)
    assert [record.stage for record in supervisor.told[:-1]] == list(STAGES)
    assert {(output.name, output.size, output.crc32c) for output in ending.outputs} == {
        (name, *size_and_crc) for name, size_and_crc in stored_outputs(bucket).items()
    }
    assert {output.name for output in ending.outputs} >= {*CSV_FILES, "thor.log", "clusterandlink.csv"}
    orbits = table_from_parquet(output(bucket, "recovered_orbits.parquet"))
    assert orbits["num_obs"].to_pylist() == [21]


def test_outputs_are_written_only_after_the_lease_was_confirmed(bucket):
    prefix = JOB.task("Hebe").outputs_prefix
    supervisor = Supervisor(lease=lambda: seen.append(stored_outputs(bucket)))
    seen = []

    attempt_at(bucket, supervisor).run()

    assert seen == [{}]
    assert any(name.startswith(prefix) for name in bucket.written)


def test_csv_outputs_have_thors_columns_and_no_row_numbers(bucket):
    attempt_at(bucket).run()

    header = output(bucket, "clusterandlink.csv").decode().splitlines()[0]
    assert header == "cluster_id,obs_id,vtheta_x,vtheta_y"
    headers = [output(bucket, name).decode().splitlines()[0] for name in CSV_FILES]
    assert [name for line in headers for name in line.split(",") if name.endswith("_index")] == []
    assert "orbit_id,epoch,x,y,z,vx,vy,vz,cov_x_x,cov_y_x" in output(bucket, "recovered_orbits.csv").decode()


def test_the_log_of_the_attempt_is_an_output(bucket):
    attempt_at(bucket).run()

    log = output(bucket, "thor.log").decode()
    assert "Begins attempt 1 at task Hebe of job survey-07" in log
    assert [stage for stage in STAGES if f"Computed {stage} in" not in log] == []


def test_two_attempts_write_byte_identical_tables(bucket):
    attempt_at(bucket).run()
    first = {name: output(bucket, name) for name in stored_outputs(bucket)}

    attempt_at(bucket).run()

    changed = {name for name, body in first.items() if output(bucket, name) != body}
    assert changed <= {"thor.log"}


@pytest.mark.parametrize("finished", range(1, len(STAGES)))
def test_a_later_attempt_resumes_at_the_first_missing_stage(bucket, finished):
    first = attempt_at(bucket)
    for stage in STAGES[:finished]:
        first.run_stage(stage)
    second = attempt_at(bucket, attempt=2)

    second.run()

    resumed = [report.stage for report in second.reports.values() if report.resumed]
    assert resumed == list(STAGES[:finished])
    assert isinstance(second.ending, AttemptSucceeded)


def test_a_stage_that_took_no_time_leaves_no_checkpoint(bucket):
    attempt = attempt_at(bucket, checkpoint_seconds=CHECKPOINT_SECONDS)

    attempt.run()

    assert list(bucket.list(JOB.task("Hebe").checkpoints_prefix)) == []
    assert not attempt.ending.has_leftovers


def test_a_stage_without_a_checkpoint_between_two_that_have_one_is_computed(bucket):
    attempt_at(bucket).run()
    for info in list(bucket.list(JOB.task("Hebe").checkpoint("cluster_and_link", "stage.json"))):
        bucket.delete(info.name)
    again = attempt_at(bucket, attempt=2)

    again.run()

    anew = [report.stage for report in again.reports.values() if not report.resumed]
    assert anew == ["cluster_and_link", "merge_and_extend"]
    assert again.ending.has_leftovers


def test_the_first_attempt_writes_over_what_a_deleted_job_of_that_name_left(bucket):
    bucket.write(JOB.task("Hebe").output("thor.log"), b"of a job that was deleted")
    supervisor = Supervisor()

    attempt_at(bucket, supervisor).run()

    assert supervisor.leases == 2
    assert b"Begins attempt 1" in output(bucket, "thor.log")


def test_outputs_are_uploaded_several_at_a_time_and_asks_come_one_by_one(bucket):
    for name in ("thor.log", "clusters.csv", "od_orbits.csv"):
        bucket.write(JOB.task("Hebe").output(name), b"of a job that was deleted")
    asking = threading.Lock()

    def ask():
        assert asking.acquire(blocking=False)
        time.sleep(0.01)
        asking.release()

    supervisor = Supervisor(lease=ask)
    attempt = attempt_at(bucket, supervisor)
    attempt.run()

    assert isinstance(attempt.ending, AttemptSucceeded)
    assert supervisor.leases == 4


def test_a_job_is_read_and_prepared_once_for_all_its_tasks(bucket):
    surveys = SurveyCache(10**9)
    attempt_at(bucket, surveys=surveys).run()
    bucket.history.clear()

    attempt_at(bucket, surveys=surveys).run()

    assert [name for verb, name in bucket.history if verb == "read"] == [JOB.task("Hebe").orbits]


def test_resumed_stages_give_the_outputs_of_a_whole_attempt(bucket):
    attempt_at(bucket).run()
    whole = {name: output(bucket, name) for name in stored_outputs(bucket) if name != "thor.log"}

    attempt_at(bucket, attempt=2).run()

    assert {name: output(bucket, name) for name in whole} == whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-3],
        lambda body: b"",
        lambda body: bytes([body[0] ^ 1]) + body[1:],
        lambda body: body[: len(body) // 2] + b"x" + body[len(body) // 2 :],
    ],
    ids=["cut short", "empty", "first byte", "one byte more"],
)
@pytest.mark.parametrize("file_name", ["clusters.parquet", "stage.json"])
def test_a_damaged_checkpoint_is_computed_anew_and_so_is_what_follows(bucket, damage, file_name):
    attempt_at(bucket).run()
    name = JOB.task("Hebe").checkpoint("cluster_and_link", file_name)
    bucket.write(name, damage(bucket.read(name).body))
    again = attempt_at(bucket, attempt=2)

    again.run()

    assert isinstance(again.ending, AttemptSucceeded)
    assert [report.stage for report in again.reports.values() if report.resumed] == ["range_and_shift"]


def test_a_checkpoint_of_other_settings_is_not_used(bucket):
    first = attempt_at(bucket)
    first.run_stage("range_and_shift")
    other = small_inputs("Hebe", settings=settings_from_items({"cluster_and_link.min_nights": "5"}))
    bucket.write(JOB.config, other.config_csv)
    second = attempt_at(bucket, attempt=2)

    second.run()

    assert not any(report.resumed for report in second.reports.values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (JOB.observations, "observations.csv' is missing"),
        (JOB.config, "config.csv' is missing"),
        (JOB.task("Hebe").orbits, "orbits.csv' is missing"),
    ],
)
def test_missing_inputs_fail_the_task_as_bad_input(bucket, name, words):
    bucket.delete(name)
    attempt = attempt_at(bucket)

    attempt.run()

    assert isinstance(attempt.ending, AttemptFailed)
    assert attempt.ending.error_kind == "bad_input"
    assert words in attempt.ending.error
    assert words in output(bucket, "error_message.txt").decode()


def test_wrong_inputs_fail_the_task_as_bad_input(bucket):
    bucket.write(JOB.task("Hebe").orbits, b"orbit_id,epoch,x,y,z,vx,vy,vz\nHebe,59000,a,0,0,0,0,0\n")
    attempt = attempt_at(bucket)

    attempt.run()

    assert attempt.ending.error_kind == "bad_input"
    assert "column 'x', row 1 is 'a'" in attempt.ending.error


def test_an_unknown_error_fails_the_task_with_its_traceback_and_the_stages_before(bucket, monkeypatch):
    compute = Attempt._computed

    def broken(self, stage, inputs):
        if stage == "orbit_determination":
            raise ZeroDivisionError("of the stage")
        return compute(self, stage, inputs)

    monkeypatch.setattr(Attempt, "_computed", broken)
    attempt = attempt_at(bucket)

    attempt.run()

    assert attempt.ending.error_kind == "task_error"
    assert attempt.ending.error == "ZeroDivisionError: of the stage"
    assert "Traceback" in output(bucket, "error_message.txt").decode()
    assert "ZeroDivisionError" in output(bucket, "thor.log").decode()
    assert {"clusters.csv", "iod_orbits.csv"} <= set(stored_outputs(bucket))
    assert "recovered_orbits.csv" not in stored_outputs(bucket)
    assert {output.name for output in attempt.ending.outputs} == set(stored_outputs(bucket))


def test_an_error_in_the_map_over_blocks_is_the_tasks_own(bucket):
    def broken_map(function, blocks):
        raise RuntimeError(f"lost {len(blocks)} blocks")

    attempt = attempt_at(bucket, map_blocks=broken_map)

    attempt.run()

    assert attempt.ending.error.startswith("RuntimeError: lost ")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")], ids=repr)
def test_out_of_memory_is_told_to_nobody_since_the_process_has_to_go(bucket, error):
    def hungry_map(function, blocks):
        raise error

    attempt = attempt_at(bucket, map_blocks=hungry_map)

    with pytest.raises(MemoryError):
        attempt.run()

    assert attempt.ending is None


def test_who_lost_the_lease_writes_no_output(bucket):
    def lost():
        raise ShutdownRequested

    attempt = attempt_at(bucket, Supervisor(lease=lost))

    with pytest.raises(ShutdownRequested):
        attempt.run()

    assert stored_outputs(bucket) == {}


def test_a_late_writer_is_stopped_by_the_generation_and_asks_for_the_lease_again(bucket):
    """The former owner slept after its lease was confirmed; meanwhile somebody else wrote the outputs."""
    attempt_at(bucket, attempt=2).run()
    theirs = stored_outputs(bucket)

    def asleep_then_lost():
        if sleeper.leases > 1:
            raise ShutdownRequested

    sleeper = Supervisor(lease=asleep_then_lost)
    late_bucket = StaleListing(bucket)

    with pytest.raises(ShutdownRequested):
        attempt_at(late_bucket, sleeper).run()

    assert sleeper.leases == 2
    assert stored_outputs(bucket) == theirs


class StaleListing:
    """The bucket to a process that listed the outputs before anybody had written any."""

    def __init__(self, bucket):
        self._bucket = bucket

    def __getattr__(self, name):
        return getattr(self._bucket, name)

    def list(self, prefix, *, ending=""):
        yield from ()


def test_whoever_still_owns_the_task_overwrites_what_a_late_writer_left(bucket):
    attempt_at(bucket, attempt=2).run()
    owner = Supervisor()

    attempt_at(StaleListing(bucket), owner, attempt=3).run()

    assert isinstance(owner.told[-1], AttemptSucceeded)
    assert owner.leases == 1 + len(owner.told[-1].outputs)
    assert "Begins attempt 3" in output(bucket, "thor.log").decode()


def test_a_bucket_that_does_not_answer_gives_the_task_back(bucket):
    attempt = attempt_at(FlakyBucket(bucket, seed=1, failing=1.0))

    attempt.run()

    assert isinstance(attempt.ending, AttemptReleased)
    assert "flaky bucket" in attempt.ending.error


class RefusingBucket:
    """The bucket, of which the first `refusals` writes of an object below `prefix` are not answered."""

    def __init__(self, bucket, prefix, *, refusals):
        self._bucket, self._prefix, self.refusals = bucket, prefix, refusals

    def __getattr__(self, name):
        return getattr(self._bucket, name)

    def write(self, name, body, **options):
        if name.startswith(self._prefix) and self.refusals:
            self.refusals -= 1
            raise BucketUnavailableError(f"No answer to the write of {name!r}.")
        return self._bucket.write(name, body, **options)


def test_a_checkpoint_that_cannot_be_written_costs_no_stage(bucket):
    away = RefusingBucket(bucket, JOB.task("Hebe").checkpoints_prefix, refusals=1)
    supervisor = Supervisor()

    attempt_at(away, supervisor).run()

    assert away.refusals == 0
    assert isinstance(supervisor.told[-1], AttemptSucceeded)
    assert [record.stage for record in supervisor.told[:-1]] == list(STAGES)
    assert "without a checkpoint of range_and_shift" in output(bucket, "thor.log").decode()


def test_outputs_that_could_not_be_uploaded_are_uploaded_again_under_a_confirmed_lease(bucket):
    away = RefusingBucket(bucket, JOB.task("Hebe").outputs_prefix, refusals=2)
    supervisor = Supervisor()

    attempt_at(away, supervisor).run()

    assert isinstance(supervisor.told[-1], AttemptSucceeded)
    assert supervisor.leases == 2  # both refusals met the first upload, which writes several files at a time


def test_a_bucket_that_never_takes_outputs_gets_the_task_back_in_the_end(bucket):
    attempt = attempt_at(RefusingBucket(bucket, JOB.task("Hebe").outputs_prefix, refusals=10**6))

    attempt.run()

    assert isinstance(attempt.ending, AttemptReleased)


@pytest.mark.parametrize("seed", range(6))
def test_a_flaky_bucket_never_makes_a_task_fail(bucket, seed):
    flaky = FlakyBucket(bucket, seed=seed, failing=0.05)
    endings = []
    while not endings or isinstance(endings[-1], AttemptReleased):
        attempt = attempt_at(flaky, attempt=len(endings) + 1)
        attempt.run()
        endings.append(attempt.ending)

    assert isinstance(endings[-1], AttemptSucceeded)
    assert {(each.name, each.size, each.crc32c) for each in endings[-1].outputs} == {
        (name, *found) for name, found in stored_outputs(bucket).items()
    }


def test_ended_at_any_write_the_next_attempt_succeeds(bucket):
    whole = FakeBucket()
    for info in list(bucket.list(JOB.prefix)):
        whole.write(info.name, bucket.read(info.name).body)
    before = len(whole.written)
    attempt_at(whole).run()
    surveys = SurveyCache(10**9)

    for writes in range(0, len(whole.written) - before, 3):
        with pytest.raises(ProcessEndedHere):
            attempt_at(EndingBucket(bucket, writes=writes), surveys=surveys).run()
        again = attempt_at(bucket, attempt=2, surveys=surveys)

        again.run()

        assert isinstance(again.ending, AttemptSucceeded), f"after {writes} writes"


def test_an_attempt_that_something_else_interrupted_goes_on_where_it_was(bucket):
    class ShowFailedError(Exception):
        pass

    def stages_of_a_show_that_fails():
        for stage in STAGES[:3]:
            attempt.run_stage(stage)
        raise ShowFailedError

    supervisor = Supervisor()
    attempt = attempt_at(bucket, supervisor)

    with pytest.raises(ShowFailedError):
        attempt.run(stages_of_a_show_that_fails)
    attempt.run()

    assert isinstance(attempt.ending, AttemptSucceeded)
    assert [record.stage for record in supervisor.told if isinstance(record, StageBegan)] == list(STAGES)


def test_a_stage_that_failed_is_not_computed_again_whoever_calls_it(bucket, monkeypatch):
    computed = []

    def broken(self, stage, inputs):
        computed.append(stage)
        raise ZeroDivisionError("of the stage")

    monkeypatch.setattr(Attempt, "_computed", broken)
    attempt = attempt_at(bucket)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            attempt.run_stage("range_and_shift")

    assert computed == ["range_and_shift"]


def test_observations_are_downloaded_once_for_the_tasks_of_a_job(inputs):
    bucket, surveys = FakeBucket(), SurveyCache(10**9)
    both = small_inputs("Hebe", "Eros")
    submission = Submission(bucket=bucket, job_id=JOB.job_id, inputs=both)
    submission.upload_job_files()
    submission.upload_tasks(0, 2)

    for task in both.task_ids:
        attempt_at(bucket, task=task, surveys=surveys).run()

    assert bucket.history.count(("read", JOB.observations)) == 1


class Weight:
    def __init__(self, nbytes):
        self.nbytes = nbytes


def test_the_cache_of_surveys_is_bounded_and_forgets_the_one_used_longest_ago():
    cache = SurveyCache(max_bytes=100)
    made = []

    def get(name, nbytes=40):
        def make():
            made.append(name)
            return PreparedJob(None, None, "builtin 1", Weight(nbytes), "", "", 0)

        cache.get(JobKey("gs://b", name, 1), make)

    for name in ("a", "b", "a", "c", "a", "b"):
        get(name)

    assert made == ["a", "b", "c", "b"]
    get("huge", nbytes=1000)
    get("huge")
    assert made[-1] == "huge"
    assert made.count("huge") == 1


@pytest.mark.parametrize("goes_wrong", [False, True])
def test_what_an_engine_needed_for_the_task_alone_goes_however_the_attempt_ends(bucket, monkeypatch, goes_wrong):
    attempt, gone = attempt_at(bucket), []
    inputs = attempt._require_inputs()
    inputs.problem.at_end.callback(gone.append, "files")
    if goes_wrong:
        monkeypatch.delattr(type(inputs.engine), "cluster_and_link")

    attempt.run()

    assert isinstance(attempt.ending, AttemptFailed if goes_wrong else AttemptSucceeded)
    assert gone == ["files"]


def test_a_stage_taken_from_its_checkpoint_gives_the_engine_back_what_it_kept(bucket):
    attempt_at(bucket).run_stage("range_and_shift")

    later = attempt_at(bucket, attempt=2)
    later.run_stage("range_and_shift")

    assert later._require_inputs().problem.kept == {"range_and_shift": {}}
