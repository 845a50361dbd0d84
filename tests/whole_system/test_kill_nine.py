"""kill -9 of the worker at every step of the protocol, and of its child; frozen workers; tasks that kill."""

import contextlib
import signal

import pytest

from tasks.bucket.layout import JobLayout
from tasks.records.ids import TaskId
from tests.support.job_inputs import small_inputs
from tests.whole_system.conftest import embedded_place
from tests.whole_system.rig import JOB, Rig, only_embedded

STEPS = [
    "before read status.json 1",
    "after read status.json 1",
    "before write status.json 1",  # claim
    "after write status.json 1",
    "before write status.json 2",  # succeeded, after the outputs were uploaded under a young lease
    "after write status.json 2",
    "after delete table.csv 1",  # checkpoints
    "before ack 1",
    "after ack 1",
]
STEPS_OF_A_LONG_TASK = [
    "before write status.json 2",  # renewal of the lease
    "after write status.json 2",
    "before write status.json 3",  # another one, or succeeded
    "after write status.json 3",
]
LONG_SECONDS = 1.0
"""Several renewals of the rig's leases."""
STEPS_OF_A_CRASH = [
    "before write status.json 2",  # given back, crashed
    "after write status.json 2",
    "before requeue 1",
    "after requeue 1",
    "before write error_message.txt 1",  # the last crash
    "after write error_message.txt 1",
    "before ack 1",
]
STEPS_OF_A_TAKEOVER = [
    "after read status.json 1",
    "before delay 1",
    "after delay 1",
    "after read status.json 2",
    "before write status.json 1",
    "after write status.json 1",
    "before write status.json 2",
    "before ack 1",
]


def await_kill(rig):
    worker = rig.workers[-1]
    rig.await_that(worker.ended, "the worker has died at its step")
    assert worker.popen.returncode == -signal.SIGKILL, rig.tell()


def assert_no_kill_loses(steps, make_rig, tasks, ends, *, faults):
    """Kill a worker at each of these steps, and start another: the tasks end as they should, all the same."""
    rigs = {step: make_rig() for step in steps}
    for step, rig in rigs.items():
        rig.submit(**tasks)
        rig.worker("--kill-at", step)
    for rig in rigs.values():
        await_kill(rig)
        rig.worker()

    for rig in rigs.values():
        rig.assert_promises(ends, faults=faults)


def test_a_worker_killed_at_any_step_loses_nothing(make_rig):
    assert_no_kill_loses(STEPS, make_rig, {"orbit": {}}, {"orbit": "succeeded"}, faults=1)


def test_a_worker_killed_while_it_renews_its_lease_loses_nothing(make_rig):
    assert_no_kill_loses(
        STEPS_OF_A_LONG_TASK, make_rig, {"orbit": {"seconds": LONG_SECONDS}}, {"orbit": "succeeded"}, faults=1
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_two_workers_on_real_test_orbits_one_is_killed_in_a_stage_and_all_tasks_succeed(tmp_path):
    with contextlib.closing(Rig(embedded_place(tmp_path, None), tmp_path, delay_seconds=3.0)) as rig:
        rig.deadline_seconds = 300.0
        rig.submit_job(small_inputs("Hebe", "Eros", "Pallas"))
        other = rig.worker("--real-engine", THOR_INSTRUMENTATION="off")
        rig.await_that(other.listens, "the other worker listens")
        other.send(signal.SIGSTOP)  # so that it does not take all three before the first is ready
        first = rig.worker(
            "--real-engine", "--kill-at-line", "Began stage cluster_and_link.", THOR_INSTRUMENTATION="off"
        )
        rig.await_that(lambda: "Claimed the task" in first.printed, "the first worker has a task")
        other.send(signal.SIGCONT)
        await_kill(rig)
        rig.await_rest()
        rig.dismiss_workers()

        statuses = {task_id: rig.status(task_id) for task_id in ("Hebe", "Eros", "Pallas")}
        assert [status.state for status in statuses.values()] == ["succeeded"] * 3, rig.tell()
        assert sum(status.counters.lost for status in statuses.values()) == 1, rig.tell()
        for task_id, status in statuses.items():
            task = JobLayout(JOB).task(TaskId(task_id))
            stored = {
                info.name.removeprefix(task.outputs_prefix): info for info in rig.bucket.list(task.outputs_prefix)
            }
            assert {output.name: output.crc32c for output in status.outputs} == {
                name: info.crc32c for name, info in stored.items()
            }
            assert len(rig.bucket.read(task.output("recovered_orbits.csv")).body.splitlines()) >= 2
            assert list(rig.bucket.list(task.checkpoints_prefix)) == []


def test_a_worker_killed_while_it_settles_a_crash_loses_nothing(make_rig):
    assert_no_kill_loses(STEPS_OF_A_CRASH, make_rig, {"bad": {"fault": "crash"}}, {"bad": "crashed"}, faults=3)


def test_a_worker_killed_while_it_takes_over_loses_nothing(make_rig):
    rigs = {step: make_rig() for step in STEPS_OF_A_TAKEOVER}
    for rig in rigs.values():
        rig.submit(orbit={})
        rig.worker("--kill-at", "after write status.json 1")
    for step, rig in rigs.items():
        await_kill(rig)
        rig.worker("--kill-at", step)
    for rig in rigs.values():
        await_kill(rig)
        rig.worker()

    for rig in rigs.values():
        rig.assert_promises({"orbit": "succeeded"}, faults=2)


@only_embedded
def test_a_worker_killed_before_its_claim_costs_no_execution(rig):
    rig.submit(orbit={})
    rig.worker("--kill-at", "before write status.json 1")
    await_kill(rig)
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"})


def test_a_worker_killed_in_the_middle_of_its_upload_leaves_no_half_result(rig):
    rig.submit(orbit={"upload_gate": "go"})
    worker = rig.worker()
    rig.await_that(lambda: list(rig.bucket.list(rig.outputs_prefix("orbit"))), "the first output is there")

    worker.send(signal.SIGKILL)
    rig.open_gate("go")
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"}, faults=1)
    assert rig.status("orbit").counters.lost == 1


@only_embedded
def test_a_child_dies_with_its_worker(rig):
    rig.submit(orbit={"gate": "go"})
    worker = rig.worker()
    rig.await_computing("orbit")
    child = worker.child()

    worker.send(signal.SIGKILL)
    worker.popen.wait()

    rig.await_that(lambda: not child.is_running(), "the child is gone")
    rig.open_gate("go")
    rig.worker()
    rig.assert_promises({"orbit": "succeeded"}, faults=1)


@only_embedded
def test_a_child_that_is_killed_costs_one_attempt_and_not_the_worker(rig):
    rig.submit(orbit={"gate": "go"})
    worker = rig.worker()
    rig.await_computing("orbit")

    worker.child().kill()
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"}, faults=1)
    assert (rig.status("orbit").counters.crashed, rig.status("orbit").counters.lost) == (1, 0)
    assert worker.popen.returncode == 0


@only_embedded
def test_an_idle_child_that_is_killed_is_replaced_before_the_next_task(rig):
    worker = rig.worker()
    rig.await_that(lambda: worker.printed.count("Started child") == 1 and worker.child().is_running(), "it is there")
    worker.child().kill()
    rig.await_that(lambda: worker.printed.count("Started child") == 2, "another was started")
    rig.submit(orbit={})

    rig.assert_promises({"orbit": "succeeded"})


@pytest.mark.parametrize(
    ("fault", "said"),
    [("crash", "killed by SIGSEGV"), ("exit", "exit code 3"), ("memory", "MemoryError"), ("mmap", "out of memory")],
)
@only_embedded
def test_a_task_of_which_the_child_always_dies_fails_after_three_and_says_how(rig, fault, said):
    rig.submit(bad={"fault": fault}, good={})
    rig.worker(THOR_CHILD_MEMORY_BYTES=str(4 * 2**30))

    rig.assert_promises({"bad": "crashed", "good": "succeeded"}, faults=2)
    assert rig.executions("bad") == 3
    assert said in rig.status("bad").error
    assert "computing bad" in rig.status("bad").error


@only_embedded
def test_a_task_that_hangs_is_killed_at_the_time_limit(rig):
    rig.submit(bad={"fault": "hang"})
    rig.worker(THOR_TASK_TIME_LIMIT_SECONDS="0.3")

    rig.assert_promises({"bad": "crashed"}, faults=2)
    assert "task_time_limit_seconds" in rig.status("bad").error


@only_embedded
def test_a_task_that_kills_its_worker_is_given_up_as_lost(rig):
    rig.submit(poison={"fault": "poison"})
    for _ in range(5):
        worker = rig.worker()
        rig.await_that(worker.ended, "the worker has died")
    rig.submit(good={})
    rig.worker()

    rig.assert_promises({"poison": "lost", "good": "succeeded"}, faults=4)
    assert rig.executions("poison") == 5
    assert "5 attempts vanished" in rig.status("poison").error


def test_a_worker_frozen_beyond_its_lease_drops_its_work_when_it_wakes(rig):
    rig.submit(orbit={"gate": "go"})
    frozen = rig.worker()
    rig.await_computing("orbit")
    frozen.send(signal.SIGSTOP)
    rig.ring("orbit")  # what RabbitMQ does by itself when heartbeats fail
    rig.worker()
    rig.await_computing("orbit", executions=2)

    frozen.send(signal.SIGCONT)
    rig.await_that(lambda: "Lost the task" in frozen.printed, "the frozen worker noticed")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"}, faults=1)
    assert rig.status("orbit").counters.lost == 1


def test_a_worker_that_wakes_after_the_other_has_finished_changes_nothing(rig):
    rig.submit(orbit={"gate": "go"})
    frozen = rig.worker()
    rig.await_computing("orbit")
    frozen.send(signal.SIGSTOP)
    rig.ring("orbit")
    rig.open_gate("go")
    rig.worker()
    rig.await_state("orbit", "succeeded")
    rig.look()

    frozen.send(signal.SIGCONT)
    rig.await_that(lambda: "Lost the task" in frozen.printed, "the frozen worker noticed")

    rig.assert_promises({"orbit": "succeeded"}, faults=1)


def test_a_task_at_work_is_never_taken_over_however_long_it_takes(rig):
    rig.submit(orbit={"gate": "go"})
    rig.worker()
    rig.await_computing("orbit")
    rig.ring("orbit")
    other = rig.worker()
    rig.await_that(lambda: other.printed.count("looking again") >= 5, "five delays have passed")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"})
    assert rig.status("orbit").attempt == 1
