"""`flows.monitor`: what a person is told while a job is followed."""

import pytest

from flows import monitor
from flows.monitor import ENGINE_HINT_SECONDS, HINT_SECONDS, IdleHint, follow
from flows.terminal.reporter import reporter, use_reporter
from tasks.jobs.monitor import JobWatch
from tasks.records.progress import JobProgress
from tasks.records.status import LeftToOthers
from tests.support.buckets import FakeBucket
from tests.support.jobs import FRESH, SUCCEEDED, make_job, status_after

IDLE = JobProgress(requested=2)


@pytest.fixture
def bucket():
    return FakeBucket()


@pytest.fixture
def watch(bucket):
    return JobWatch(bucket, make_job(bucket, {"a": FRESH}), ["a"])


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_job_that_stands_still_is_told_of_once_with_the_way_to_ring_again(watch):
    said, clock = [], Clock()
    hint = IdleHint(watch, say=said.append, clock=clock)

    for _ in range(3):
        hint.look(IDLE, has_moved=False)
        clock.now += HINT_SECONDS + 1

    assert len(said) == 1
    assert "python -m flows.repair survey-07 --bucket gs://fake-bucket" in said[0]
    assert "python -m flows.drain_dead" in said[0]


@pytest.mark.parametrize(("progress", "has_moved"), [(JobProgress(requested=1, in_progress=1), False), (IDLE, True)])
def test_a_job_that_moves_is_no_reason_for_a_hint_and_the_next_stall_is_told_again(watch, progress, has_moved):
    said, clock = [], Clock()
    hint = IdleHint(watch, say=said.append, clock=clock)
    clock.now += HINT_SECONDS + 1
    hint.look(progress, has_moved=has_moved)
    assert said == []

    for _ in range(2):
        clock.now += HINT_SECONDS + 1
        hint.look(IDLE, has_moved=False)
        hint.look(progress, has_moved=has_moved)

    assert len(said) == 2


def test_tasks_that_wait_for_an_engine_are_told_of_instead_and_again_as_long_as_they_wait(bucket):
    job = make_job(bucket, {"a": (LeftToOthers(engine="thor"),), "b": SUCCEEDED}, engine="thor")
    watch, said, clock = JobWatch(bucket, job, ["a", "b"]), [], Clock()
    watch.look()
    hint = IdleHint(watch, say=said.append, clock=clock)

    for seconds in (HINT_SECONDS, 1.0, ENGINE_HINT_SECONDS, 1.0):
        clock.now += seconds
        hint.look(watch.progress, has_moved=False)

    assert len(said) == 2
    assert said[0].startswith("Waiting for a worker with engine thor: 1 task.")
    assert "THOR_PYTHON" in said[0]


class Heard:
    """A reporter that keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)

    def progress(self, progress):
        pass


def test_local_workers_that_live_and_take_nothing_do_not_keep_the_hint_away(watch, bucket, monkeypatch):
    former, heard, looks = reporter(), Heard(), []
    monkeypatch.setattr(monitor, "HINT_SECONDS", -1.0)

    def keep():
        looks.append(watch.progress)
        if len(looks) == 2:
            bucket.write(watch.layout.task("a").status, status_after(SUCCEEDED).to_bytes())

    use_reporter(heard)
    try:
        follow(watch, each_look=keep)
    finally:
        use_reporter(former)

    assert any("flows.repair survey-07" in warning for warning in heard.warnings)


def test_a_job_without_tasks_is_done_at_once(bucket):
    follow(JobWatch(bucket, make_job(bucket, {}), []))

    assert JobProgress().percent == 100.0
