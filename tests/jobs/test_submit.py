"""Submitting: the order of writes, and every place where a client may stop."""

import functools
import threading

import pytest

from tasks.broker.protocol import OutgoingMessage
from tasks.bucket.content import ScratchFile
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError, MessageNotPublishedError
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.job_inputs import InputFiles, JobInputs, read_inputs
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.submit import Submission, batches, new_job_id, submit_job
from tasks.records.message import message_from_bytes
from tasks.records.status import Claimed, Succeeded, status_from_bytes
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere
from tests.support.job_inputs import observations_of, orbits_of, small_inputs
from tests.support.jobs import states_of, status_after

OBJECTS = ("Hebe", "Eros", "Pallas")
JOB = new_job_id("survey-07")
LAYOUT = JobLayout(JOB)


@pytest.fixture(scope="module")
def inputs() -> JobInputs:
    return small_inputs(*OBJECTS)


class Queue:
    """A queue that stores messages, and lists them in the history of the bucket; it may stop the process, or refuse."""

    def __init__(self, bucket: FakeBucket, *, stop_after: int | None = None, refuse: bool = False) -> None:
        self.bucket = bucket
        self.sent: list[str] = []
        self._left = stop_after
        self._refuse = refuse

    def publish(self, messages: list[OutgoingMessage]) -> None:
        if self._refuse:
            raise MessageNotPublishedError("Nobody is there.")
        for message in messages:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise ProcessEndedHere
            self.sent.append(message_from_bytes(message.body).task_id)
            self.bucket.history.append(("publish", self.sent[-1]))

    def close(self) -> None:
        pass


def submit(bucket, inputs, queue):
    return submit_job(Submission(bucket=bucket, job_id=JOB, inputs=inputs), lambda: queue)


def test_bucket_comes_before_queue_and_the_completed_manifest_is_last(inputs):
    bucket = FakeBucket()

    submit(bucket, inputs, Queue(bucket))

    acts = [(verb, name.removeprefix(LAYOUT.prefix)) for verb, name in bucket.history if verb in {"write", "publish"}]
    tasks = [
        ("write", f"tasks/{task_id}/{name}")
        for task_id in inputs.task_ids
        for name in ("inputs/orbits.csv", "status.json")
    ]
    assert acts == [
        ("write", "observations.csv"),
        ("write", "config.csv"),
        *tasks,
        ("write", "manifest.json"),
        *[("publish", task_id) for task_id in inputs.task_ids],
        ("write", "manifest.json"),
    ]


def test_a_large_job_is_uploaded_several_tasks_at_a_time_whoever_shows_it():
    names = tuple(f"orbit-{number}" for number in range(250))
    large = JobInputs(ScratchFile(), b"key,value\n", names, names, (b"orbit_id\n",) * len(names), 1, "builtin", "7")
    at_once = threading.Barrier(3)

    class Waits(FakeBucket):
        """Writes the first status of each of three runs of tasks only when all three are at theirs."""

        def write(self, name, body, **options):
            if name.endswith(("orbit-0/status.json", "orbit-100/status.json", "orbit-200/status.json")):
                at_once.wait(30.0)
            return super().write(name, body, **options)

    bucket = Waits()

    submit(bucket, large, Queue(bucket))

    assert set(states_of(bucket, LAYOUT)) == set(names)


def test_the_manifest_says_what_the_job_is(inputs):
    bucket = FakeBucket("gs://surveys")

    manifest = submit(bucket, inputs, Queue(bucket))

    assert manifest == read_manifest(bucket, LAYOUT)
    assert manifest.submitted_at is not None
    assert dict(zip(manifest.task_ids, manifest.orbit_ids, strict=True)) == {name: name for name in inputs.orbit_ids}
    assert (manifest.bucket, manifest.engine_name) == ("gs://surveys", "builtin")
    assert manifest.inputs_sha256 == inputs.sha256


def everything(bucket):
    """All objects with their bodies, times and nonces left out."""
    bodies = {info.name: bucket.read(info.name).body for info in list(bucket.list(LAYOUT.prefix))}
    return {
        name: status_from_bytes(body).state if name.endswith("status.json") else body for name, body in bodies.items()
    }


def without_manifest(objects):
    return {name: body for name, body in objects.items() if name != LAYOUT.manifest}


def test_stopped_between_any_two_writes_the_same_submit_completes_the_job(inputs):
    whole = FakeBucket()
    submit(whole, inputs, Queue(whole))
    n_writes = len(whole.written)

    for writes in range(n_writes):
        bucket = FakeBucket()
        first, second = Queue(bucket), Queue(bucket)
        with pytest.raises(ProcessEndedHere):
            submit(EndingBucket(bucket, writes=writes), inputs, first)

        manifest = submit(bucket, inputs, second)

        assert manifest.submitted_at is not None
        assert without_manifest(everything(bucket)) == without_manifest(everything(whole)), f"after {writes} writes"
        assert {*first.sent, *second.sent} == set(inputs.task_ids)
        # Only when all but the last write was done had the messages been sent, and they are sent once more.
        assert bool(first.sent) == (writes == n_writes - 1)


@pytest.mark.parametrize("messages", range(len(OBJECTS)))
def test_stopped_between_two_messages_the_same_submit_sends_the_rest(inputs, messages):
    bucket = FakeBucket()
    first, second = Queue(bucket, stop_after=messages), Queue(bucket)
    with pytest.raises(ProcessEndedHere):
        submit(bucket, inputs, first)
    assert read_manifest(bucket, LAYOUT).submitted_at is None

    submit(bucket, inputs, second)

    assert len(first.sent) == messages
    assert second.sent == list(inputs.task_ids)


def test_a_task_that_came_to_its_end_meanwhile_is_not_sent_again(inputs):
    bucket = FakeBucket()
    with pytest.raises(MessageNotPublishedError):
        submit(bucket, inputs, Queue(bucket, refuse=True))
    ended = status_after((Claimed(worker="w:1", attempt_id="a"), Succeeded(outputs=())))
    bucket.write(LAYOUT.task(inputs.task_ids[1]).status, ended.to_bytes())
    again = Queue(bucket)

    submit(bucket, inputs, again)

    assert again.sent == [inputs.task_ids[0], inputs.task_ids[2]]
    assert status_from_bytes(bucket.read(LAYOUT.task(inputs.task_ids[1]).status).body) == ended


def test_a_submitted_job_is_enqueued_again_where_it_is_not_done_and_nothing_is_written(inputs):
    bucket = FakeBucket()
    first = submit(bucket, inputs, Queue(bucket))
    ended = status_after((Claimed(worker="w:1", attempt_id="a"), Succeeded(outputs=())))
    bucket.write(LAYOUT.task(inputs.task_ids[1]).status, ended.to_bytes())
    written, again = bucket.written, Queue(bucket)

    second = submit(bucket, inputs, again)

    assert second == first
    assert (bucket.written, again.sent) == (written, [inputs.task_ids[0], inputs.task_ids[2]])


@pytest.mark.parametrize(
    "name", ["observations.csv", "config.csv", "tasks/Eros/inputs/orbits.csv", "tasks/Eros/status.json"]
)
def test_what_somebody_deleted_of_a_submitted_job_is_put_back_by_the_same_submit(inputs, name):
    # It is what errors of workers and of monitor advise.
    bucket = FakeBucket()
    submit(bucket, inputs, Queue(bucket))
    before = everything(bucket)
    bucket.delete(f"{LAYOUT.prefix}{name}")
    n_written, again = len(bucket.written), Queue(bucket)

    submit(bucket, inputs, again)

    assert everything(bucket) == before
    assert f"{LAYOUT.prefix}{name}" in bucket.written[n_written:]
    assert again.sent == list(inputs.task_ids)


def test_a_job_that_is_done_needs_no_queue_to_be_submitted_again(inputs):
    bucket = FakeBucket()
    first = submit(bucket, inputs, Queue(bucket))
    ended = status_after((Claimed(worker="w:1", attempt_id="a"), Succeeded(outputs=())))
    for task_id in inputs.task_ids:
        bucket.write(LAYOUT.task(task_id).status, ended.to_bytes())

    assert submit(bucket, inputs, Queue(bucket, refuse=True)) == first


def test_other_inputs_under_the_same_job_id_are_refused(inputs):
    bucket = FakeBucket()
    submit(bucket, inputs, Queue(bucket))
    before = everything(bucket)

    with pytest.raises(BadInputError, match=r"other inputs \(sha256 of .*orbits.csv.*another --job-id"):
        submit(bucket, small_inputs("Hebe", "Eros"), Queue(bucket))

    assert everything(bucket) == before


@pytest.mark.parametrize("writes", [1, 2, 5])
def test_other_inputs_are_refused_also_before_there_is_a_manifest(inputs, writes):
    bucket, queue = FakeBucket(), Queue(None)
    with pytest.raises(ProcessEndedHere):
        submit(EndingBucket(bucket, writes=writes), inputs, queue)

    with pytest.raises(BadInputError, match="other inputs"):
        submit(bucket, small_inputs("Edlu"), queue)

    assert queue.sent == []


def test_observations_too_large_for_memory_are_not_sent_again_and_others_are_refused(inputs, monkeypatch):
    monkeypatch.setattr("tasks.jobs.submit.BLOCK_BYTES", 100)
    bucket, queue = FakeBucket(), Queue(FakeBucket())
    with pytest.raises(ProcessEndedHere):
        submit(EndingBucket(bucket, writes=2), inputs, queue)

    with pytest.raises(BadInputError, match=r"other inputs \(thor_jobs/v1/.*observations.csv is not the same"):
        submit(bucket, small_inputs("Hebe"), queue)
    # A write would be noticed by its refusal only when all of the file was sent.
    monkeypatch.setattr(bucket, "write", functools.partial(refuse_observations, bucket.write))
    submit(bucket, inputs, queue)

    assert bucket.written.count(LAYOUT.observations) == 1


def refuse_observations(write, name, body, **condition):
    assert name != LAYOUT.observations
    return write(name, body, **condition)


@pytest.mark.parametrize("seed", range(8))
def test_a_bucket_that_often_fails_only_makes_it_take_more_runs(inputs, seed):
    whole = FakeBucket()
    submit(whole, inputs, Queue(whole))
    bucket = FakeBucket()
    queue, flaky = Queue(bucket), FlakyBucket(bucket, seed=seed, failing=0.1)

    manifest, runs = None, 1
    while manifest is None:
        try:
            manifest = submit(flaky, inputs, queue)
        except (BucketUnavailableError, GenerationMismatchError):
            runs += 1

    assert without_manifest(everything(bucket)) == without_manifest(everything(whole))
    assert set(queue.sent) == set(inputs.task_ids)
    assert runs < 20


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [(0, 1)]), (100, [(0, 100)]), (101, [(0, 100), (100, 101)]), (10_000, None)],
)
def test_batches_are_neither_small_nor_many(count, expected):
    found = batches(count)

    assert found == expected or (expected is None and len(found) == 50)
    assert [number for first, last in found for number in range(first, last)] == list(range(count))


def test_a_new_job_id_is_safe_and_unlike_the_one_before():
    assert new_job_id(None) != new_job_id(None)
    with pytest.raises(BadInputError, match="Choose another id"):
        new_job_id("../else")


def test_files_are_read_once_as_long_as_they_do_not_change(tmp_path):
    files = InputFiles(tmp_path / "observations.csv", tmp_path / "orbits.csv")
    files.observations.write_bytes(csv_from_table(observations_of(("Hebe",))))
    files.orbits.write_bytes(csv_from_table(orbits_of(("Hebe",))))
    first = read_inputs(files)

    assert read_inputs(files) is first
    files.orbits.write_bytes(csv_from_table(orbits_of(("Hebe", "Eros"))))
    assert read_inputs(files).orbit_ids == ("Eros", "Hebe")
