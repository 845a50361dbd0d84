"""A worker's ordinary day: tasks come, are computed and written; errors, cancelled jobs and strange messages too."""

import json
import signal

import pytest

from tasks.bucket.layout import JobLayout
from tests.services.processes import free_port
from tests.whole_system.rig import JOB, RENEW_SECONDS, only_embedded


def test_tasks_are_computed_once_and_everything_is_at_rest_afterwards(rig):
    rig.submit(**{f"orbit-{number}": {} for number in range(6)})
    rig.worker()
    rig.worker()

    rig.assert_promises({f"orbit-{number}": "succeeded" for number in range(6)})


@only_embedded
def test_the_status_says_who_worked_on_what_with_which_engine(rig):
    rig.submit(orbit={"gate": "go"})
    worker = rig.worker()

    rig.await_that(lambda: rig.status("orbit").stage is not None, "a renewal names the stage")
    status = rig.status("orbit")
    rig.open_gate("go")

    assert (status.state, status.attempt, status.stage) == ("in_progress", 1, "merge_and_extend")
    assert status.worker.endswith(f":{worker.pid}")
    assert status.engine == "slow 1"
    assert status.renew_seconds == RENEW_SECONDS
    rig.assert_promises({"orbit": "succeeded"})


@only_embedded
def test_a_tasks_own_error_fails_it_at_once_with_a_message(rig):
    rig.submit(bad={"fault": "task_error"}, good={})
    rig.worker()

    rig.assert_promises({"bad": "task_error", "good": "succeeded"})
    assert rig.status("bad").error == "ValueError: the orbit is bad"


@only_embedded
def test_a_fault_of_the_program_fails_the_task_with_its_traceback(rig):
    rig.submit(bad={"fault": "program"})
    rig.worker()

    rig.assert_promises({"bad": "task_error"})
    assert "RuntimeError: a fault of the program" in rig.status("bad").error


@only_embedded
def test_a_task_without_its_input_fails_as_bad_input(rig):
    rig.submit(bad=None)
    rig.worker()

    rig.assert_promises({"bad": "bad_input"})


def test_a_task_whose_child_could_not_reach_the_bucket_is_tried_again_later(rig):
    rig.submit(orbit={"fault": "released_once"})
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"}, faults=1)
    assert rig.status("orbit").counters.crashed == 0


@only_embedded
def test_a_job_that_was_cancelled_before_is_not_computed(rig):
    rig.cancel()
    rig.submit(orbit={})
    rig.worker()

    rig.assert_promises({"orbit": "cancelled"})
    assert rig.executions("orbit") == 0


@only_embedded
def test_a_job_that_is_cancelled_while_it_is_computed_stops_and_its_child_is_replaced(rig):
    rig.submit(held={"fault": "hang"})
    worker = rig.worker()
    rig.await_computing("held")
    child = worker.child()

    rig.cancel()

    rig.assert_promises({"held": "cancelled"})
    assert not child.is_running()


def test_a_message_sent_twice_is_computed_once(rig):
    rig.submit(orbit={})
    rig.ring("orbit", "orbit")
    rig.worker()
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"})


def test_of_many_supervisors_that_get_one_task_at_the_same_moment_one_computes_it(rig):
    workers = [rig.worker() for _ in range(3)]
    for worker in workers:
        rig.await_that(lambda worker=worker: "Started child" in worker.printed, "the worker is there")
    rig.submit(orbit={"gate": "go"})
    rig.ring(*["orbit"] * 5)
    rig.await_that(lambda: sum(worker.printed.count("looking again") for worker in workers) >= 4, "the others looked")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"})
    assert sum(worker.printed.count("Claimed the task") for worker in workers) == 1
    assert sum(worker.printed.count("Succeeded with") for worker in workers) == 1


def test_a_message_of_a_task_at_work_elsewhere_waits_and_is_acked_in_the_end(rig):
    rig.submit(orbit={"gate": "go"})
    rig.worker()
    rig.await_computing("orbit")
    rig.ring("orbit")
    other = rig.worker()
    rig.await_that(lambda: rig.depth().delayed == 1, "the second message waits in the delay queue")
    rig.await_that(lambda: other.printed.count("looking again") >= 3, "it came back and was delayed again")
    rig.open_gate("go")

    rig.assert_promises({"orbit": "succeeded"})


STRANGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"x" * 100_000,
    json.dumps({"job_id": "job", "bucket": "b", "task_id": 5}).encode(),
    json.dumps({"job_id": "../job", "bucket": "b", "task_id": "orbit"}).encode(),
    json.dumps({"job_id": "job", "bucket": "gs://somebody-elses", "task_id": "orbit"}).encode(),
]


def test_strange_messages_go_to_the_dead_queue_and_hold_nothing_up(rig):
    rig.publish(*STRANGE)
    rig.publish(rig.message("never-submitted"), rig.message("orbit", bucket="gs://another"))
    rig.submit(orbit={})
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"}, dead=len(STRANGE) + 2)


@only_embedded
def test_a_status_that_is_none_sends_the_message_to_the_dead_queue(rig):
    rig.submit(orbit={})
    rig.bucket.write(JobLayout(JOB).task("broken").status, b"not JSON")
    rig.ring("broken")
    rig.worker()

    rig.assert_promises({"orbit": "succeeded"}, dead=1)


@only_embedded
def test_an_idle_worker_leaves_after_its_time_out(rig):
    rig.submit(orbit={})
    worker = rig.worker("--idle-timeout=0.5")

    rig.await_that(worker.ended, "the worker has left")

    assert worker.popen.returncode == 0
    rig.assert_promises({"orbit": "succeeded"})


@only_embedded
def test_a_worker_on_demand_whose_broker_never_comes_back_leaves_with_an_error(rig):
    nobody_listens = f"amqp://127.0.0.1:{free_port()}/"
    worker = rig.worker("--idle-timeout=0.5", THOR_QUEUE=nobody_listens, THOR_OUT_OF_REACH_SECONDS="1")

    rig.await_that(worker.ended, "the worker has left")

    assert worker.popen.returncode == 1
    assert "The queue has not answered" in worker.printed


def test_one_sigterm_lets_the_task_finish(rig):
    rig.submit(held={"gate": "go"})
    worker = rig.worker()
    rig.await_computing("held")
    rig.submit(waiting={})
    worker.send(signal.SIGTERM)
    rig.await_that(lambda: "Asked to leave" in worker.printed, "the signal was heard")
    rig.open_gate("go")

    rig.await_that(worker.ended, "the worker has left")

    assert worker.popen.returncode == 0
    assert (rig.status("held").state, rig.status("waiting").state) == ("succeeded", "requested")
    rig.worker()
    rig.assert_promises({"held": "succeeded", "waiting": "succeeded"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_gives_the_task_back_at_once(rig, number):
    rig.submit(held={"gate": "go"})
    worker = rig.worker()
    rig.await_computing("held")

    worker.send(number)
    rig.await_that(lambda: "Asked to leave" in worker.printed, "the first signal was heard")
    worker.send(number)
    rig.await_that(worker.ended, "the worker has left")

    status = rig.status("held")
    assert (status.state, status.counters.lost, status.counters.crashed) == ("requested", 0, 0)
    assert rig.depth().ready == 1
    rig.open_gate("go")
    rig.worker()
    rig.assert_promises({"held": "succeeded"}, faults=1)


@only_embedded
def test_the_drain_limit_gives_the_task_back_without_a_second_signal(rig):
    rig.submit(held={"gate": "go"})
    worker = rig.worker(THOR_DRAIN_SECONDS="0.3")
    rig.await_computing("held")

    worker.send(signal.SIGTERM)
    rig.await_that(worker.ended, "the worker has left")

    assert rig.status("held").state == "requested"
    rig.open_gate("go")
    rig.worker()
    rig.assert_promises({"held": "succeeded"}, faults=1)


@only_embedded
def test_a_child_is_replaced_after_so_many_tasks(rig):
    rig.submit(**{f"orbit-{number}": {} for number in range(4)})
    worker = rig.worker(THOR_TASKS_PER_CHILD="2")

    rig.assert_promises({f"orbit-{number}": "succeeded" for number in range(4)})
    assert "Replaced the child after 2 tasks." in worker.printed
