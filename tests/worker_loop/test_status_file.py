"""Compare-and-swap of the status, also when the bucket's answers get lost; claim and finish stopped between writes."""

import contextlib

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError, TaskMessageError
from tasks.jobs.claim import claim_task, is_cancelled
from tasks.jobs.finish import finish_task
from tasks.jobs.status_file import read_status_file
from tasks.records.ids import JobId, TaskId
from tasks.records.status import Failed, Released, Renewed, Retried, Status, Succeeded, status_from_bytes
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere

LAYOUT = JobLayout(JobId("job")).task(TaskId("task"))
SUCCEEDED = Succeeded(outputs=())
CRASHED = Failed(error_kind="crashed", error="killed by SIGSEGV")
WORKER = "here:1"


@pytest.fixture
def bucket():
    bucket = FakeBucket()
    bucket.write(LAYOUT.status, Status(state="requested").to_bytes())
    return bucket


def stored(bucket):
    return status_from_bytes(bucket.read(LAYOUT.status).body)


def claimed(bucket, worker=WORKER):
    file = read_status_file(bucket, LAYOUT)
    claim_task(file, worker=worker)
    return file


class AnswerLost:
    """A bucket that does the next write of a status without a word; so many `reads` after it go unanswered."""

    def __init__(self, bucket, *, reads=0):
        self.bucket, self.reads, self.has_lost = bucket, reads, False

    def __getattr__(self, name):
        return getattr(self.bucket, name)

    def write(self, name, body, **options):
        generation = self.bucket.write(name, body, **options)
        if name == LAYOUT.status and not self.has_lost:
            self.has_lost = True
            raise BucketUnavailableError("no answer")
        return generation

    def read(self, name):
        if self.has_lost and self.reads:
            self.reads -= 1
            raise BucketUnavailableError("no answer")
        return self.bucket.read(name)


def test_a_change_is_stored_and_remembered(bucket):
    file = claimed(bucket)

    file.change(Renewed(stage="orbit_determination"))

    assert stored(bucket) == file.status
    assert file.status.stage == "orbit_determination"
    assert file.generation == bucket.generation(LAYOUT.status)


def test_every_write_has_a_nonce_of_its_own_and_moves_the_generation(bucket):
    file = claimed(bucket)
    nonces, generations = {file.status.nonce}, {file.generation}

    for _ in range(3):
        file.change(Renewed())
        nonces.add(file.status.nonce)
        generations.add(file.generation)

    assert (len(nonces), len(generations)) == (4, 4)


def test_of_two_claims_one_is_refused(bucket):
    first, second = read_status_file(bucket, LAYOUT), read_status_file(bucket, LAYOUT)
    claim_task(first, worker="first:1")

    with pytest.raises(GenerationMismatchError):
        claim_task(second, worker="second:2")

    assert (stored(bucket).worker, stored(bucket).attempt) == ("first:1", 1)


def test_after_a_takeover_the_former_owner_can_write_nothing(bucket):
    former = claimed(bucket)
    claimed(bucket, worker="there:2")

    for event in (Renewed(), SUCCEEDED, Released()):
        with pytest.raises(GenerationMismatchError):
            finish_task(former, event) if not isinstance(event, Renewed) else former.change(event)

    assert (stored(bucket).worker, stored(bucket).state) == ("there:2", "in_progress")


def test_a_former_owner_puts_no_error_message_beside_the_outputs_of_the_new_one(bucket):
    former = claimed(bucket)
    claimed(bucket, worker="there:2")

    with pytest.raises(GenerationMismatchError):
        finish_task(former, CRASHED)

    assert list(bucket.list(LAYOUT.outputs_prefix)) == []


def test_a_write_whose_answer_was_lost_is_recognised_at_once(bucket):
    file = claimed(AnswerLost(bucket))

    assert stored(bucket) == file.status
    assert file.generation == bucket.generation(LAYOUT.status)


def test_a_write_whose_answer_was_lost_is_recognised_later_and_not_repeated(bucket):
    file = claimed(bucket)
    file.bucket = AnswerLost(bucket, reads=1)
    with pytest.raises(BucketUnavailableError):
        finish_task(file, SUCCEEDED)
    landed = bucket.generation(LAYOUT.status)

    finish_task(file, SUCCEEDED)

    assert (file.status.state, file.generation) == ("succeeded", landed)
    assert bucket.generation(LAYOUT.status) == landed


def test_a_lost_answer_to_a_renewal_does_not_look_like_the_loss_of_the_task(bucket):
    file = claimed(bucket)
    file.bucket = AnswerLost(bucket, reads=1)
    with pytest.raises(BucketUnavailableError):
        file.change(Renewed(stage="cluster_and_link"))

    file.change(SUCCEEDED)

    assert stored(bucket).state == "succeeded"


def test_a_lost_answer_to_a_failure_leaves_one_failure_with_its_message(bucket):
    file = claimed(bucket)
    file.bucket = AnswerLost(bucket, reads=1)
    with pytest.raises(BucketUnavailableError):
        finish_task(file, CRASHED)

    finish_task(file, CRASHED)

    assert stored(bucket).error_kind == "crashed"
    assert [output.name for output in stored(bucket).outputs] == ["error_message.txt"]


def test_after_an_unknown_outcome_the_write_of_somebody_else_is_still_noticed(bucket):
    file = claimed(bucket)
    file.bucket = AnswerLost(bucket, reads=1)
    with pytest.raises(BucketUnavailableError):
        file.change(Renewed())
    claimed(bucket, worker="there:2")

    with pytest.raises(GenerationMismatchError):
        file.change(SUCCEEDED)


def test_a_status_that_was_deleted_is_a_task_that_was_lost(bucket):
    file = claimed(bucket)
    bucket.delete(LAYOUT.status)

    with pytest.raises(GenerationMismatchError, match="deleted"):
        file.change(SUCCEEDED)


def test_a_task_that_is_not_there_is_told_from_a_status_that_is_none(bucket):
    with pytest.raises(ObjectNotFoundError):
        read_status_file(bucket, JobLayout(JobId("job")).task(TaskId("other")))

    bucket.write(LAYOUT.status, b"{")
    with pytest.raises(TaskMessageError, match="is not a status"):
        read_status_file(bucket, LAYOUT)


def test_a_claim_tells_how_often_its_own_worker_renews_and_a_takeover_forgets_it(bucket):
    claim_task(read_status_file(bucket, LAYOUT), worker=WORKER, renew_seconds=60.0)
    assert stored(bucket).renew_seconds == 60.0

    claim_task(read_status_file(bucket, LAYOUT), worker="there:2")

    assert stored(bucket).renew_seconds is None


def test_a_takeover_names_the_flow_run_that_was_lost_and_begins_without_one(bucket):
    file = read_status_file(bucket, LAYOUT)
    claim_task(file, worker=WORKER, parent_run_id="job-run")
    file.change(Renewed(prefect_flow_run_id="run-1"))

    assignment = claim_task(read_status_file(bucket, LAYOUT), worker="there:2", parent_run_id="job-run")

    assert (assignment.former_flow_run_id, assignment.parent_run_id) == ("run-1", "job-run")
    assert stored(bucket).prefect_flow_run_id is None
    assert stored(bucket).counters.lost == 1


def test_a_job_is_cancelled_when_its_object_is_there(bucket):
    assert not is_cancelled(bucket, LAYOUT.job)

    bucket.write(LAYOUT.job.cancel, b"{}")

    assert is_cancelled(bucket, LAYOUT.job)


def test_checkpoints_go_after_success_and_only_then(bucket):
    file = claimed(bucket)
    bucket.write(LAYOUT.checkpoint("range_and_shift", "table.parquet"), b"x")

    finish_task(file, Released())
    assert list(bucket.list(LAYOUT.checkpoints_prefix)) != []

    finish_task(claimed(bucket), SUCCEEDED)
    assert list(bucket.list(LAYOUT.checkpoints_prefix)) == []


def test_the_error_message_of_an_earlier_failure_goes_when_the_task_succeeds_after_a_retry(bucket):
    finish_task(claimed(bucket), CRASHED)
    read_status_file(bucket, LAYOUT).change(Retried())
    file = claimed(bucket)
    bucket.write(LAYOUT.output("thor.log"), b"log")
    assert bucket.generation(LAYOUT.output("error_message.txt"))

    finish_task(file, SUCCEEDED)

    assert [info.name for info in bucket.list(LAYOUT.outputs_prefix)] == [LAYOUT.output("thor.log")]


def test_a_failure_names_the_outputs_that_there_are(bucket):
    file = claimed(bucket)
    bucket.write(LAYOUT.output("thor.log"), b"log")

    finish_task(file, CRASHED)

    assert [output.name for output in stored(bucket).outputs] == ["error_message.txt", "thor.log"]
    assert bucket.read(LAYOUT.output("error_message.txt")).body == b"killed by SIGSEGV\n"


def test_a_failure_names_no_object_that_a_person_put_beside_the_outputs(bucket):
    file = claimed(bucket)
    bucket.write(LAYOUT.outputs_prefix + "my notes.txt", b"a person's")

    finish_task(file, CRASHED)

    assert [output.name for output in stored(bucket).outputs] == ["error_message.txt"]


@pytest.mark.parametrize("event", [SUCCEEDED, CRASHED, Released()])
@pytest.mark.parametrize("writes", range(6))
def test_a_worker_that_ends_between_any_two_writes_leaves_a_task_that_another_can_end(bucket, event, writes):
    bucket.write(LAYOUT.checkpoint("range_and_shift", "table.parquet"), b"x")
    ending = EndingBucket(bucket, writes=writes)
    with contextlib.suppress(ProcessEndedHere):
        finish_task(claimed(ending), event)

    # Outputs before status: whoever sees `failed` can read why.
    if stored(bucket).state == "failed":
        assert bucket.read(LAYOUT.output("error_message.txt"))
    if not stored(bucket).is_terminal:
        finish_task(claimed(bucket), SUCCEEDED)
    assert stored(bucket).is_terminal
    assert stored(bucket).attempt <= 2


@pytest.mark.parametrize("seed", range(25))
def test_a_flaky_bucket_ends_a_task_exactly_once(bucket, seed):
    flaky = FlakyBucket(bucket, seed=seed)

    def insist(act):
        for _ in range(200):
            try:
                return act()
            except BucketUnavailableError:
                continue
        raise AssertionError("the flaky bucket never answered")

    file = insist(lambda: read_status_file(flaky, LAYOUT))
    try:
        claim_task(file, worker=WORKER)
    except BucketUnavailableError:
        insist(
            lambda: finish_task(insist(lambda: read_status_file(flaky, LAYOUT)), Failed(error_kind="lost", error="x"))
        )
        return
    for _ in range(5):
        insist(lambda: file.change(Renewed()))
    insist(lambda: finish_task(file, SUCCEEDED))

    assert stored(bucket).state == "succeeded"
    assert stored(bucket).attempt == 1
