"""Machines that are not as they should be: a clock that is moved, a disk that is full."""

import contextlib

import pytest

from tests.services.small_disk import small_disk
from tests.support.slow_engine.moved_clock import VARIABLE
from tests.whole_system.rig import Place, Rig, only_embedded

DAY = 86_400.0


@pytest.fixture
def clock(tmp_path):
    """A function that moves a clock of its own, and the variable that has a worker live by it."""

    def clock(name):
        path = tmp_path / name
        path.write_text("0")
        return {VARIABLE: str(path)}, lambda seconds: path.write_text(str(seconds))

    return clock


def test_clocks_that_differ_by_days_take_no_task_from_a_worker_that_lives(rig, clock):
    early, move_early = clock("early")
    late, move_late = clock("late")
    move_early(-DAY)
    move_late(DAY)
    rig.submit(orbit={"gate": "go"})
    rig.worker(**early)
    rig.await_computing("orbit")
    rig.ring("orbit")
    other = rig.worker(**late)

    rig.await_that(lambda: other.printed.count("looking again") >= 2, "two delays have passed")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"})


@only_embedded
@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
def test_a_clock_that_is_moved_while_a_task_is_computed_costs_nothing(rig, clock, jump):
    moved, move = clock("moved")
    rig.submit(orbit={"gate": "go"})
    rig.worker(**moved)
    rig.await_computing("orbit")
    rig.ring("orbit")
    other = rig.worker(**moved)
    rig.await_that(lambda: "looking again" in other.printed, "the other has looked once")

    move(jump)
    rig.await_that(lambda: other.printed.count("looking again") >= 3, "two more delays have passed")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"})


def test_a_worker_that_was_killed_is_noticed_by_one_whose_clock_is_days_behind(rig, clock):
    late, move_late = clock("late")
    move_late(-DAY)
    rig.submit(orbit={"gate": "go"})
    first = rig.worker()
    rig.await_computing("orbit")

    first.popen.kill()
    rig.open_gate("go")
    rig.worker(**late)

    rig.assert_promises({"orbit": "succeeded"}, faults=1)
    assert rig.status("orbit").counters.lost == 1


@pytest.fixture
def full_disk_rig(tmp_path):
    with small_disk(tmp_path / "disk", size="2m") as disk:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        rig = Rig(
            Place(bucket_url=(disk / "bucket").as_uri(), queue_url=f"sqlite:///{disk / 'queue.sqlite3'}"), scratch
        )
        yield rig, disk / "filler"
        rig.close()


def fill(path):
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_disk_that_fills_up_while_a_task_is_computed_fails_nothing_and_work_goes_on_when_there_is_room(full_disk_rig):
    rig, filler = full_disk_rig
    rig.submit(orbit={"seconds": 2.0}, next={})
    worker = rig.worker()
    rig.await_computing("orbit")

    fill(filler)
    rig.await_that(lambda: worker.printed.count("No space left on device") >= 3, "the worker has met the full disk")
    assert "failed" not in rig.states().values()
    filler.unlink()

    rig.assert_promises({"orbit": "succeeded", "next": "succeeded"}, faults=1)
