"""Tasks that leave out what earlier ones linked: which claims count, and that every attempt uses the same ones."""

import dataclasses
import json
import threading
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tasks.bucket.layout import JobLayout
from tasks.engines.settings import ClaimSettings, settings_from_items
from tasks.errors import BucketUnavailableError, ObjectNotFoundError, TaskInputError
from tasks.inputs.job_inputs import inputs_from_tables
from tasks.jobs.claims import USED_CLAIMS, ClaimsCache, begin_claims, confident_rows
from tasks.jobs.run_attempt import Attempt
from tasks.jobs.submit import Submission, new_job_id
from tasks.jobs.task_inputs import SurveyCache
from tasks.records.assignment import Assignment, AttemptFailed, AttemptReleased, AttemptSucceeded
from tasks.records.ids import TaskId
from tasks.records.status import Status
from tests.support.buckets import FakeBucket
from tests.support.job_inputs import ONE_BLOCK_A_WEEK, observations_of, orbits_of

JOB = JobLayout(new_job_id("survey-07"))
FIRST, SECOND, THIRD = (JOB.task(TaskId(name)) for name in ("first", "second", "third"))
NOTE = SECOND.checkpoint("claims", "used.json")
N_OBSERVATIONS = 21


def inputs_with(**changes):
    """Three tasks with the same test orbit: what one finds, the others find again."""
    orbit = orbits_of(("Hebe",))
    named = [orbit.set_column(0, orbit.field(0), pa.array([name])) for name in ("first", "second", "third")]
    settings = settings_from_items({**ONE_BLOCK_A_WEEK, **changes})
    return inputs_from_tables(
        observations=observations_of(("Hebe",)), orbits=pa.concat_tables(named), settings=settings
    )


@pytest.fixture(scope="module")
def inputs():
    return inputs_with(**{"claims.observations": "true"})


def submitted(inputs, bucket=None):
    bucket = bucket or FakeBucket()
    submission = Submission(bucket=bucket, job_id=JOB.job_id, inputs=inputs)
    submission.upload_job_files()
    submission.upload_tasks(0, 3)
    return bucket


@pytest.fixture
def bucket(inputs):
    return submitted(inputs)


def run(bucket, task, *, attempt=1, attempt_id=None):
    assignment = Assignment(
        job_id=JOB.job_id,
        task_id=task.task_id,
        bucket_url=bucket.url,
        attempt=attempt,
        attempt_id=attempt_id,
        worker="host:1",
    )
    at_work = Attempt(
        assignment,
        bucket=bucket,
        tell=[].append,
        await_lease=lambda: None,
        surveys=SurveyCache(10**9),
        checkpoint_seconds=0.0,
    )
    at_work.run()
    return at_work


def set_status(bucket, task, state, *, attempt=1, attempt_id=None):
    status = Status(state=state, attempt=attempt, attempt_id=attempt_id, updated_at=datetime.now(UTC))
    bucket.write(task.status, status.to_bytes())


def used_by(bucket, task):
    return json.loads(bucket.read(task.output(USED_CLAIMS)).body)


def claim(bucket, task, rows, *, attempt=1, state="succeeded"):
    bucket.write(task.claim(attempt), json.dumps({"obs_index": rows}).encode())
    set_status(bucket, task, state, attempt=attempt)


def begun(bucket, task=SECOND, cache=None):
    return begin_claims(bucket, task, ClaimSettings(), n_observations=100, cache=cache or ClaimsCache())


def test_what_a_finished_task_linked_is_left_out_of_the_next(bucket):
    run(bucket, FIRST)
    set_status(bucket, FIRST, "succeeded")

    second = run(bucket, SECOND)

    assert isinstance(second.ending, AttemptSucceeded)
    assert second.reports["range_and_shift"].counts["claimed_by_other_tasks"] == N_OBSERVATIONS
    assert second.reports["merge_and_extend"].counts["recovered_orbits"] == 0
    assert USED_CLAIMS in {output.name for output in second.ending.outputs}
    assert used_by(bucket, SECOND) == {
        "claims": [{"task_id": "first", "attempt": 1, "num_obs": N_OBSERVATIONS}],
        "num_claimed": N_OBSERVATIONS,
        "num_left_out": N_OBSERVATIONS,
    }


@pytest.mark.parametrize(("state", "attempt"), [("in_progress", 1), ("failed", 1), ("succeeded", 2)])
def test_the_claim_of_an_attempt_that_did_not_succeed_does_not_count(bucket, state, attempt):
    claim(bucket, FIRST, [1, 2])
    set_status(bucket, FIRST, state, attempt=attempt)

    assert begun(bucket).used.claims == ()


def test_the_claim_of_an_attempt_at_a_job_that_was_deleted_and_made_again_does_not_count(bucket):
    """It slept while the job was deleted, and wrote its claim when another job of that name was there."""
    run(bucket, FIRST, attempt_id="of the deleted job")
    run(bucket, FIRST, attempt_id="of this job")
    set_status(bucket, FIRST, "succeeded", attempt_id="of this job")

    assert begun(bucket).used.claims == ()


def test_tasks_at_work_at_one_time_both_find_the_object(bucket):
    run(bucket, FIRST)

    second = run(bucket, SECOND)

    assert second.reports["merge_and_extend"].counts["recovered_orbits"] == 1
    assert used_by(bucket, SECOND)["num_left_out"] == 0


def test_without_the_setting_nothing_is_claimed_and_nothing_left_out():
    bucket = submitted(inputs_with())
    run(bucket, FIRST)
    set_status(bucket, FIRST, "succeeded")

    second = run(bucket, SECOND)

    assert second.reports["merge_and_extend"].counts["recovered_orbits"] == 1
    assert list(bucket.list(JOB.claims_prefix)) == []
    assert not bucket.generation(SECOND.output(USED_CLAIMS))


def test_a_later_attempt_uses_what_the_first_one_noted(bucket):
    claim(bucket, FIRST, [1, 2])
    before = begun(bucket)
    claim(bucket, THIRD, [3, 4])

    after = begun(bucket)

    assert after.used == before.used
    assert after.claimed.tolist() == [1, 2]
    assert after.fingerprint == before.fingerprint
    assert begun(bucket, JOB.task(TaskId("new"))).claimed.tolist() == [1, 2, 3, 4]


def test_a_resumed_attempt_leaves_out_the_same_and_tells_the_same(bucket):
    run(bucket, FIRST)
    set_status(bucket, FIRST, "succeeded")
    run(bucket, SECOND)
    outputs = {info.name: bucket.read(info.name).body for info in list(bucket.list(SECOND.outputs_prefix))}
    claim(bucket, THIRD, list(range(N_OBSERVATIONS, 30)))

    again = run(bucket, SECOND, attempt=2)

    assert [report.resumed for report in again.reports.values()] == [True, True, True, True, False]
    changed = [name for name, body in outputs.items() if bucket.read(name).body != body]
    assert changed == [SECOND.output("thor.log")]


def test_checkpoints_that_were_made_with_other_claims_are_not_used(bucket):
    run(bucket, SECOND)
    bucket.delete(NOTE)
    claim(bucket, FIRST, [0, 1])

    again = run(bucket, SECOND, attempt=2)

    assert not any(report.resumed for report in again.reports.values())


class LateBucket(FakeBucket):
    """Another attempt writes its note just before ours."""

    def read(self, name):
        if name == NOTE and not self.generation(NOTE):
            self.write(NOTE, b'{"claims": [{"task_id": "third", "attempt": 1, "num_obs": 1}]}')
            raise ObjectNotFoundError(name)
        return super().read(name)


def test_of_two_attempts_at_once_both_use_the_note_that_was_first():
    bucket = LateBucket()
    claim(bucket, FIRST, [1, 2])
    claim(bucket, THIRD, [7])

    assert begun(bucket).claimed.tolist() == [7]


def test_a_claim_that_cannot_be_read_is_left_aside(bucket, caplog):
    claim(bucket, FIRST, [1, 2])
    bucket.write(THIRD.claim(1), b"{")
    set_status(bucket, THIRD, "succeeded")

    assert begun(bucket).claimed.tolist() == [1, 2]
    assert "Leaves claim" in caplog.text


@pytest.mark.parametrize("rows", [[-1], [100]])
def test_rows_that_are_not_of_this_job_are_refused(bucket, rows):
    claim(bucket, FIRST, rows)

    with pytest.raises(TaskInputError, match="there are 100 observations"):
        begun(bucket)


def test_a_claim_that_was_used_and_is_gone_fails_the_task_as_bad_input(bucket):
    claim(bucket, FIRST, [1, 2])
    begun(bucket)
    bucket.delete(FIRST.claim(1))

    ending = run(bucket, SECOND, attempt=2).ending

    assert isinstance(ending, AttemptFailed)
    assert ending.error_kind == "bad_input"
    assert "first/1.json" in ending.error


class DeafBucket(FakeBucket):
    """Refuses to write one object."""

    def __init__(self, deaf_to):
        super().__init__()
        self._deaf_to = deaf_to

    def write(self, name, body, **options):
        if name == self._deaf_to:
            raise BucketUnavailableError(name)
        return super().write(name, body, **options)


def test_a_bucket_that_does_not_take_the_claim_fails_nothing(inputs):
    bucket = submitted(inputs, DeafBucket(FIRST.claim(1)))

    assert isinstance(run(bucket, FIRST).ending, AttemptSucceeded)


def test_a_bucket_that_does_not_take_the_note_gets_the_task_back(inputs):
    bucket = submitted(inputs, DeafBucket(NOTE))

    assert isinstance(run(bucket, SECOND).ending, AttemptReleased)


def test_the_claim_is_written_after_the_outputs_and_once(bucket):
    run(bucket, FIRST)
    written = [name for verb, name in bucket.history if verb == "write"]
    body = bucket.read(FIRST.claim(1)).body

    run(bucket, FIRST)

    assert written[-1] == FIRST.claim(1)
    assert bucket.read(FIRST.claim(1)).body == body
    assert [name for verb, name in bucket.history if verb == "write"].count(FIRST.claim(1)) == 1


def test_a_claim_is_read_once_by_each_process(bucket):
    claim(bucket, FIRST, [1, 2])
    cache = ClaimsCache()
    begun(bucket, SECOND, cache)
    bucket.history.clear()

    begun(bucket, THIRD, cache)

    assert FIRST.claim(1) not in [name for _, name in bucket.history]
    bucket.write(JOB.observations, b"another job of this name")
    assert cache.of_job(bucket, JOB) == {}


class PatientBucket(FakeBucket):
    """Gives no claim away before four are asked for."""

    def __init__(self):
        super().__init__()
        self._four = threading.Barrier(4)

    def read(self, name):
        if JOB.claim_from_name(name):
            self._four.wait(timeout=10)
        return super().read(name)


def test_many_claims_are_read_at_a_time_by_the_first_attempt_and_by_a_later_one():
    """One after the other, thousands would take a new process longer than its task, or than a task may take."""
    bucket = PatientBucket()
    for number in range(4):
        claim(bucket, JOB.task(TaskId(f"t{number}")), [number])

    assert begun(bucket).claimed.tolist() == [0, 1, 2, 3]
    assert begun(bucket).claimed.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1]),
        ({"min_observations": 11}, []),
        ({"min_nights": 6}, []),
        ({"min_arc_days": 9.5}, []),
        ({"max_reduced_chi2": 0.9}, []),
        ({"max_reduced_chi2": 5.0}, [0, 1, 3, 4]),
    ],
)
def test_only_orbits_without_doubt_claim_and_never_their_outliers(changes, expected):
    orbits = pa.table(
        {
            "num_obs": [10, 10],
            # Two observatories in each night of the sky.
            "num_nights": [10, 10],
            "num_sky_nights": [5, 5],
            "arc_length": [9.0, 9.0],
            "rchi2": [1.0, 4.0],
        }
    )
    members = pa.table({"orbit_index": [0, 0, 0, 1, 1], "obs_index": [1, 0, 2, 4, 3], "outlier": [0, 0, 1, 0, 0]})

    assert confident_rows(orbits, members, dataclasses.replace(ClaimSettings(), **changes)).tolist() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (FIRST.claim(12), ("first", 12)),
        (f"{JOB.claims_prefix}first/0.json", None),
        (f"{JOB.claims_prefix}first/x.json", None),
        (f"{JOB.claims_prefix}first/1.json/2.json", None),
        (f"{JOB.claims_prefix}../1.json", None),
        (f"{JOB.claims_prefix}1.json", None),
        (FIRST.status, None),
    ],
)
def test_names_of_claims_are_read_strictly(name, expected):
    assert JOB.claim_from_name(name) == expected
