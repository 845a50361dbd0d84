"""How long a worker goes on without queue or bucket, and what its health check says."""

import os
import subprocess
import sys
import time

import pytest

from workers.health import faults
from workers.reach import HUNG_SECONDS, UNREACHED_SECONDS, OutOfReachError, Reach


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_service_that_is_silent_for_too_long_ends_the_wait_and_is_named(clock):
    reach = Reach(limit_seconds=60.0, clock=clock)

    reach.note("queue", answers=False)
    clock.now += 59.9
    reach.require()
    clock.now += 0.1

    with pytest.raises(OutOfReachError, match=r"queue has not answered for 60 s.*THOR_OUT_OF_REACH_SECONDS"):
        reach.require()


def test_an_answer_begins_the_wait_anew(clock):
    reach = Reach(limit_seconds=60.0, clock=clock)

    for _ in range(3):
        reach.note("bucket", answers=False)
        clock.now += 40.0
        reach.note("bucket", answers=True)

    reach.require()


def test_without_a_limit_a_worker_waits_for_ever(clock):
    reach = Reach(clock=clock)
    reach.note("queue", answers=False)
    clock.now += 1e9

    reach.require()


def note(clock, folder, *, answers=True):
    reach = Reach(folder=folder, clock=clock)
    reach.note("queue", answers=answers)
    return reach


def test_a_worker_that_serves_its_queue_is_healthy(clock, tmp_path):
    note(clock, tmp_path)

    assert list(faults(tmp_path, now=clock.now + HUNG_SECONDS)) == []


def test_a_worker_that_gives_no_sign_of_life_hangs(clock, tmp_path):
    note(clock, tmp_path)

    (fault,) = faults(tmp_path, now=clock.now + HUNG_SECONDS + 1)

    assert fault.startswith(f"Worker {os.getpid()} hangs")


def test_a_worker_without_its_queue_is_not_healthy_after_a_while(clock, tmp_path):
    reach = note(clock, tmp_path, answers=False)
    assert list(faults(tmp_path, now=clock.now)) == []

    clock.now += UNREACHED_SECONDS + 1
    reach.note("queue", answers=False)
    (fault,) = faults(tmp_path, now=clock.now)

    assert "has not reached its queue" in fault


def test_the_notes_of_workers_that_are_gone_count_for_nothing(clock, tmp_path):
    note(clock, tmp_path)
    (tmp_path / f"{os.getpid()}.json").rename(tmp_path / "4194304.json")  # above the largest process id of Linux

    (fault,) = faults(tmp_path, now=clock.now)

    assert fault.startswith("No worker runs here")


def test_a_worker_that_left_leaves_no_note(clock, tmp_path):
    note(clock, tmp_path).close()

    assert list(tmp_path.iterdir()) == []


def test_the_probe_reads_notes_and_imports_none_of_our_packages(tmp_path):
    Reach(folder=tmp_path, clock=time.monotonic).note("queue", answers=True)
    code = (
        "import sys; from workers.health import main; code = main(); "
        "assert not {'tasks', 'pydantic', 'prefect', 'numpy'} & set(sys.modules); sys.exit(code)"
    )

    probe = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)

    assert (probe.returncode, probe.stdout, probe.stderr) == (0, "", "")
