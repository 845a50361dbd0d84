"""Watching one attempt, and waiting for one: what a child told before it died counts, and what counts as time."""

import sys
import time

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BucketUnavailableError
from tasks.records.assignment import (
    Assignment,
    AttemptSucceeded,
    ChildReady,
    LeaseRenewed,
    ReadyToUpload,
    line_from_record,
)
from tasks.records.status import Counters, Released, Renewed
from tests.services.processes import wait_until
from tests.support.buckets import FakeBucket
from workers.attempt_watch import AttemptWatch, Rhythm
from workers.bucket_thread import BucketThread
from workers.child_process import ChildProcess
from workers.disposition import ChildDied, ChildSucceeded, settlement
from workers.reach import OutOfReachError
from workers.reception import ClaimedTask
from workers.shutdown import Shutdown
from workers.supervise import Habits, Supervisor

CHILD = """
import os, sys, time
fds = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
reports = int(fds["reports-fd"])
os.write(reports, {ready!r})
os.read(int(fds["commands-fd"]), 4096)
os.write(reports, {last!r})
time.sleep({seconds})
"""
ASSIGNMENT = Assignment(job_id="j", task_id="t", bucket_url="gs://b", attempt=1, worker="w:1")


@pytest.fixture
def start():
    children = []

    def start(record, *, seconds):
        code = CHILD.format(ready=line_from_record(ChildReady()), last=line_from_record(record), seconds=seconds)
        child = ChildProcess([sys.executable, "-c", code])
        children.append(child)
        wait_until(lambda: child.listen() or child.is_ready, seconds=60.0, what="the child is ready")
        return child

    yield start
    for child in children:
        child.dismiss(grace_seconds=0.0)


class StatusOutOfReach:
    """The status file in a bucket that does not answer."""

    lease_age_seconds = None
    seconds_until_next_write = 0.0

    def change(self, event, *, news=None):
        raise BucketUnavailableError("No answer.")


def watch_of(child, *, time_limit_seconds=None, file=None, renew_seconds=3600.0):
    rhythm = Rhythm(renew_seconds=renew_seconds, time_limit_seconds=time_limit_seconds)
    shutdown = Shutdown(drain_seconds=None)
    bucket_thread = BucketThread(on_done=lambda: None)
    file = file or StatusOutOfReach()
    watch = AttemptWatch(child=child, file=file, bucket_thread=bucket_thread, rhythm=rhythm, shutdown=shutdown)
    child.assign(ASSIGNMENT)
    return watch


class StatusInReach(StatusOutOfReach):
    """The status file of a task that is ours: it counts the renewals."""

    def __init__(self, *, lease_age_seconds):
        self.lease_age_seconds = lease_age_seconds
        self.bucket = FakeBucket()
        self.layout = JobLayout("j").task("t")
        self.renewals = 0

    def change(self, event, *, news=None):
        assert isinstance(event, Renewed)
        self.renewals += 1
        self.lease_age_seconds = 0.0


class AsksToUpload:
    """A child that has computed; `told` has what it is answered."""

    is_dead = False

    def __init__(self):
        self.reports = [ReadyToUpload()]
        self.told = []

    def assign(self, assignment):
        pass

    def take_reports(self):
        reports, self.reports = self.reports, []
        return reports

    def tell(self, record):
        self.told.append(record)


@pytest.mark.parametrize(("age", "renewals"), [(0.5, 0), (59.0, 0), (60.0, 1), (None, 1)])
def test_a_lease_is_renewed_before_the_upload_unless_it_is_young(age, renewals):
    child, file = AsksToUpload(), StatusInReach(lease_age_seconds=age)
    watch = watch_of(child, file=file, renew_seconds=60.0)

    wait_until(lambda: watch.step() or child.told, seconds=60.0, what="the child may upload")

    assert (child.told, file.renewals) == ([LeaseRenewed()], renewals)


def test_a_child_that_met_another_writer_is_told_only_after_a_renewal(start):
    child, file = AsksToUpload(), StatusInReach(lease_age_seconds=0.5)
    watch = watch_of(child, file=file, renew_seconds=60.0)
    watch.step()
    child.reports = [ReadyToUpload()]

    wait_until(lambda: watch.step() or len(child.told) == 2, seconds=60.0, what="the child may upload")

    assert file.renewals == 1


class DeafAtFirst:
    """The child, of which the first look hears nothing: it tells and dies between two looks."""

    def __init__(self, child):
        self._child = child
        self._looks = 0

    def __getattr__(self, name):
        return getattr(self._child, name)

    def take_reports(self):
        self._looks += 1
        return self._child.take_reports() if self._looks > 1 else []


def test_a_result_that_was_told_right_before_the_death_counts(start):
    child = start(AttemptSucceeded(outputs=()), seconds=0)
    child.take_reports()
    watch = watch_of(DeafAtFirst(child))
    wait_until(lambda: child.is_dead, seconds=60.0, what="the child has left")

    assert watch.step() == ChildSucceeded(())


def test_only_computing_counts_to_the_time_limit(start, monkeypatch):
    child = start(ReadyToUpload(), seconds=3600)
    watch = watch_of(child, time_limit_seconds=5.0)
    wait_until(lambda: watch.step() or watch._has_computed, seconds=60.0, what="the outputs are ready")
    real = time.monotonic
    monkeypatch.setattr("workers.attempt_watch.time.monotonic", lambda: real() + 60.0)

    assert watch.step() is None


def test_a_computation_beyond_the_time_limit_is_killed(start, monkeypatch):
    watch = watch_of(start(ChildReady(), seconds=3600), time_limit_seconds=5.0)
    real = time.monotonic
    monkeypatch.setattr("workers.attempt_watch.time.monotonic", lambda: real() + 60.0)

    assert isinstance(watch.step(), ChildDied)


class BrokerAwayAtFirst:
    """A consumer that reaches its broker after a while, and finds no message there."""

    def __init__(self, looks):
        self.looks_left = looks

    @property
    def is_connected(self):
        return self.looks_left <= 0

    def wait(self, seconds):
        self.looks_left -= 1

    def start(self):
        pass

    def stop(self):
        pass

    def close(self):
        pass


def test_a_worker_that_cannot_reach_its_broker_is_not_idle():
    code = CHILD.format(ready=line_from_record(ChildReady()), last=b"", seconds=0)
    habits = Habits(
        worker="w:1", child_command=[sys.executable, "-c", code], rhythm=Rhythm(60.0), idle_timeout_seconds=0.0
    )
    consumer = BrokerAwayAtFirst(looks=100)
    supervisor = Supervisor(consumer=consumer, bucket=None, habits=habits, shutdown=Shutdown(drain_seconds=None))
    try:
        supervisor._serve()
    finally:
        supervisor._keeper.close()

    assert consumer.is_connected


def test_a_worker_on_demand_does_not_wait_for_ever_to_write_a_result():
    habits = Habits(worker="w:1", child_command=[], rhythm=Rhythm(60.0), out_of_reach_seconds=0.0)
    shutdown = Shutdown(drain_seconds=None)
    supervisor = Supervisor(consumer=BrokerAwayAtFirst(0), bucket=None, habits=habits, shutdown=shutdown)

    with pytest.raises(OutOfReachError, match="bucket has not answered"):
        supervisor._write_ending(StatusOutOfReach(), Released(crashed=False), Renewed(), may_leave=False)


def test_a_child_that_died_idle_is_not_charged_to_the_next_task(start):
    child = start(ChildReady(), seconds=0)
    child.kill("out of memory")
    habits = Habits(worker="w:1", child_command=[], rhythm=Rhythm(60.0))
    shutdown = Shutdown(drain_seconds=None)
    supervisor = Supervisor(consumer=BrokerAwayAtFirst(0), bucket=None, habits=habits, shutdown=shutdown)

    ending, _ = supervisor._computed(ClaimedTask(StatusOutOfReach(), ASSIGNMENT), child)

    assert settlement(ending, Counters()).event == Released(crashed=False)
