"""Who works: notes of workers, and statuses of tasks in progress."""

from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

from flows.workers import row
from tasks.broker.protocol import OutgoingMessage
from tasks.bucket.layout import WORKERS_PREFIX, JobLayout, worker_note
from tasks.errors import BucketUnavailableError
from tasks.operations.doctor_workers import worker_findings
from tasks.operations.workers_list import SILENT_SECONDS, list_workers
from tasks.records.status import Claimed
from tests.support.jobs import FRESH, make_job
from workers.presence import Presence


def at_once(errand):
    done = Future()
    done.set_result(errand())
    return done


def presence(bucket, worker="host:1"):
    return Presence(bucket, worker=worker, engine="builtin 8", has_upstream_thor=True, submit=at_once)


def test_a_worker_that_is_there_is_listed_as_idle(bucket):
    presence(bucket).keep()

    (found,) = list_workers(bucket)

    assert (found.worker, found.engine, found.task_id, found.is_silent) == ("host:1", "builtin 8, thor", None, False)
    assert found.started_at is not None
    assert "idle" in row(found)


def test_a_worker_that_left_is_not_listed(bucket):
    here = presence(bucket)
    here.keep()
    here.remove()

    assert list_workers(bucket) == []


def test_a_worker_writes_its_note_once_in_ten_minutes(bucket):
    here = presence(bucket)
    here.keep()
    before = bucket.generation(worker_note("host:1"))
    here.keep()

    assert bucket.generation(worker_note("host:1")) == before


def test_a_worker_that_was_killed_is_silent_after_two_notes_that_did_not_come(bucket):
    presence(bucket).keep()
    now = datetime.now(UTC)

    (fresh,) = list_workers(bucket, now=now + timedelta(seconds=SILENT_SECONDS - 60))
    (old,) = list_workers(bucket, now=now + timedelta(seconds=SILENT_SECONDS + 60))

    assert (fresh.is_silent, old.is_silent) == (False, True)
    assert any("killed" in str(cell) for cell in row(old))


def test_a_worker_at_work_is_listed_with_its_task_also_without_a_note(bucket):
    def claimed_by(worker):
        return (Claimed(worker=worker, attempt_id="a1"),)

    make_job(bucket, {"a": claimed_by("host:2"), "b": claimed_by("host:3"), "c": FRESH}, job_id="survey")
    presence(bucket, "host:2").keep()

    noted, unnoted = list_workers(bucket)

    assert (noted.worker, noted.job_id, noted.task_id, noted.attempt) == ("host:2", "survey", "a", 1)
    assert (unnoted.worker, unnoted.task_id, unnoted.started_at) == ("host:3", "b", None)


def test_what_is_no_note_names_no_worker(bucket):
    bucket.write(f"{WORKERS_PREFIX}somebody.json", b"not a note")

    assert list_workers(bucket) == []


def test_a_bucket_that_does_not_answer_stops_no_worker():
    class Away:
        def write(self, name, body):
            raise BucketUnavailableError(name)

        def delete(self, name):
            raise BucketUnavailableError(name)

    here = presence(Away())
    here.keep()
    here.remove()


def test_the_notes_are_of_no_job():
    assert not JobLayout("job").prefix.startswith(WORKERS_PREFIX)


def test_the_doctor_warns_when_messages_wait_and_no_worker_is_there(bucket, publisher):
    (nothing_waits,) = worker_findings(bucket, publisher)
    publisher.publish([OutgoingMessage(b"{}")])
    (nobody,) = worker_findings(bucket, publisher)
    presence(bucket).keep()
    (somebody,) = worker_findings(bucket, publisher)

    assert [finding.verdict for finding in (nothing_waits, nobody, somebody)] == ["ok", "warning", "ok"]
    assert nobody.found == "none is there, and 1 message on the queue"
    assert "python -m workers" in nobody.advice
