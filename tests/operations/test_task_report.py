import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.jobs.status_file import read_status_file
from tasks.operations.task_report import Observer, report_job
from tasks.records.ids import JobId, TaskId
from tasks.records.status import Claimed, Renewed, Succeeded
from tests.support.buckets import FakeBucket
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, failed, make_job

RENEWAL = 60.0


class Time:
    """A clock that only sleeping moves; `events` happen when it comes past their time."""

    def __init__(self, events=()):
        self.now = 1000.0
        self._events = sorted(events, key=lambda event: event[0])

    def sleep(self, seconds):
        self.now += seconds
        while self._events and self.now - 1000.0 >= self._events[0][0]:
            self._events.pop(0)[1]()

    def observer(self, watch_seconds):
        return Observer(watch_seconds, RENEWAL, clock=lambda: self.now, sleep=self.sleep)


def one_look(bucket, job):
    return report_job(bucket, job, Time().observer(0))


def renew(bucket, job, task_id, event=None):
    return lambda: read_status_file(bucket, job.task(TaskId(task_id))).change(event or Renewed())


def test_one_look_tells_what_each_task_is_at_in_the_order_of_the_manifest(bucket):
    job = make_job(bucket, {"c": FRESH, "b": (*CLAIMED, Renewed(stage="cluster_and_link")), "a": failed("lost")})

    report = one_look(bucket, job)

    assert [(task.task_id, task.state, task.stage, task.worker, task.attempt) for task in report.tasks] == [
        ("c", "requested", None, None, 0),
        ("b", "in_progress", "cluster_and_link", "host:1", 1),
        ("a", "failed", None, "host:1", 1),
    ]
    assert report.tasks[2].error_kind == "lost"
    assert [task.unmoved_seconds for task in report.tasks] == [None] * 3


def test_one_look_never_calls_a_task_stalled(bucket):
    assert one_look(bucket, make_job(bucket, {"a": CLAIMED})).stalled == []


def test_a_task_whose_status_stands_still_for_two_renewals_is_stalled():
    bucket = FakeBucket()
    job = make_job(bucket, {"dead": CLAIMED, "alive": CLAIMED, "done": SUCCEEDED, "fresh": FRESH})
    time = Time([(seconds, renew(bucket, job, "alive")) for seconds in (59, 119)])

    report = report_job(bucket, job, time.observer(2.5 * RENEWAL))

    assert [task.task_id for task in report.stalled] == ["dead"]
    ages = {task.task_id: task.unmoved_seconds for task in report.tasks}
    assert ages["dead"] == pytest.approx(150)
    assert ages["alive"] == pytest.approx(31, abs=1.5)
    assert (ages["done"], ages["fresh"]) == (None, None)


def test_each_task_is_judged_by_the_rhythm_that_its_own_worker_told():
    bucket = FakeBucket()
    slow, dead = ((Claimed(worker="host:1", attempt_id="a1", renew_seconds=seconds),) for seconds in (60.0, 4.0))
    job = make_job(bucket, {"slow": slow, "dead": dead})
    heard = []
    time = Time([(59, renew(bucket, job, "slow"))])
    observer = Observer(None, renew_seconds=4.0, hear=heard.append, clock=lambda: time.now, sleep=time.sleep)

    report = report_job(bucket, job, observer)

    assert heard == [150.0]
    assert [task.task_id for task in report.stalled] == ["dead"]


def test_a_watch_that_is_too_short_to_tell_calls_nothing_stalled():
    job = make_job(bucket := FakeBucket(), {"a": CLAIMED})

    report = report_job(bucket, job, Time().observer(1.5 * RENEWAL))

    assert report.stalled == []
    assert report.tasks[0].unmoved_seconds == pytest.approx(90)


def test_the_watch_ends_as_soon_as_every_task_has_moved():
    job = make_job(bucket := FakeBucket(), {"a": CLAIMED, "b": CLAIMED})
    time = Time([(10, renew(bucket, job, "a")), (20, renew(bucket, job, "b"))])

    report = report_job(bucket, job, time.observer(2.5 * RENEWAL))

    assert report.watched_seconds == pytest.approx(20, abs=1)


def test_nothing_is_watched_when_nothing_is_in_progress(bucket):
    report = report_job(bucket, make_job(bucket, {"a": FRESH, "b": SUCCEEDED}), Time().observer(150))

    assert report.watched_seconds == 0


def test_a_task_that_ends_while_it_is_watched_is_reported_as_it_ended():
    job = make_job(bucket := FakeBucket(), {"a": CLAIMED, "b": CLAIMED})
    time = Time([(10, renew(bucket, job, "a", Succeeded(outputs=())))])

    report = report_job(bucket, job, time.observer(150))

    assert [(task.state, task.is_stalled) for task in report.tasks] == [("succeeded", False), ("in_progress", True)]
    assert report.progress.succeeded == 1


def test_a_move_after_the_last_look_still_counts():
    bucket = FakeBucket()
    job = make_job(bucket, {"a": CLAIMED})

    class MovesBeforeTheLastReading(FakeBucket):
        """The status moves after the last listing, before the statuses are read for the report."""

        reads = 0
        list, generation, url = bucket.list, bucket.generation, bucket.url

        def read(self, name):
            self.reads += name.endswith("status.json")
            if self.reads == 2:
                renew(bucket, job, "a")()
            return bucket.read(name)

    report = report_job(MovesBeforeTheLastReading(), job, Time().observer(150))

    assert (report.stalled, report.tasks[0].unmoved_seconds) == ([], 0.0)


def test_a_job_that_is_still_being_submitted_is_reported(bucket):
    job = make_job(bucket, {"a": FRESH})
    bucket.delete(job.manifest)

    assert [task.task_id for task in one_look(bucket, job).tasks] == ["a"]


def test_a_missing_status_is_told(bucket):
    job = make_job(bucket, {"a": FRESH, "b": SUCCEEDED})
    bucket.delete(job.task(TaskId("a")).status)

    first, second = one_look(bucket, job).tasks

    assert (first.state, second.state) == (None, "succeeded")
    assert "status.json" in first.fault


def test_a_job_that_is_not_there_is_refused(bucket):
    with pytest.raises(BadInputError, match="nothing lies below"):
        one_look(bucket, JobLayout(JobId("nobody")))
