"""Each promise has a fault that breaks it when the code that keeps it is missing: else the fault tests prove nothing.

Every scenario runs twice: with the worker as it is, and with one that lacks what the mutant's name says.
"""

import signal

import pytest

from tests.support.slow_engine.mutants import MUTANTS

MUTANT_DEADLINE_SECONDS = 15.0
"""A mutant that loses a task would be waited for in vain much longer."""


def a_message_sent_twice(rig, *options):
    rig.submit(orbit={"gate": "go"})
    rig.worker(*options)
    rig.await_computing("orbit")
    rig.ring("orbit")
    other = rig.worker(*options)
    rig.await_that(lambda: "Claimed" in other.printed or "looking again" in other.printed, "the other has looked")
    rig.open_gate("go")
    rig.assert_promises({"orbit": "succeeded"})


def a_worker_killed_after_its_claim(rig, *options):
    rig.submit(orbit={"gate": "go"})
    worker = rig.worker(*options)
    rig.await_computing("orbit")
    worker.send(signal.SIGKILL)
    rig.open_gate("go")
    rig.worker(*options)
    rig.assert_promises({"orbit": "succeeded"}, faults=1)


def answers_of_the_bucket_get_lost(rig, *options):
    rig.submit(orbit={"seconds": 2.0})
    rig.worker("--lose-answers", *options)
    rig.assert_promises({"orbit": "succeeded"})


def a_frozen_worker_wakes_too_late(rig, *options):
    rig.submit(orbit={"gate": "go"})
    frozen = rig.worker(*options)
    rig.await_computing("orbit")
    frozen.send(signal.SIGSTOP)
    rig.ring("orbit")
    rig.open_gate("go")
    rig.worker(*options)
    rig.await_state("orbit", "succeeded")
    rig.look()
    frozen.send(signal.SIGCONT)
    rig.await_that(lambda: frozen.printed.count("Left") or "Lost the task" in frozen.printed, "it noticed")
    rig.assert_promises({"orbit": "succeeded"}, faults=1)


def a_worker_killed_in_its_upload(rig, *options):
    rig.submit(orbit={"upload_gate": "go"})
    worker = rig.worker(*options)
    rig.await_that(lambda: list(rig.bucket.list(rig.outputs_prefix("orbit"))), "the first output is there")
    worker.send(signal.SIGKILL)
    rig.open_gate("go")
    rig.worker(*options)
    rig.assert_promises({"orbit": "succeeded"}, faults=1)


SCENARIOS = {
    "no_lease_check": a_message_sent_twice,
    "ack_before_status": a_worker_killed_after_its_claim,
    "no_nonce": answers_of_the_bucket_get_lost,
    "no_fence": a_frozen_worker_wakes_too_late,
    "status_before_outputs": a_worker_killed_in_its_upload,
}

SYMPTOMS = {
    "no_lease_check": "extra executions|error_kind='lost'",
    "ack_before_status": "in vain that every task has come to its end",
    "no_nonce": "extra executions|in vain that every task has come to its end|error_kind='lost'",
    "no_fence": "terminal state of orbit changed",
    "status_before_outputs": "outputs of orbit",
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.__name__)
def test_the_worker_keeps_its_promises(rig, scenario):
    scenario(rig)


def test_every_mutant_is_tried():
    assert set(SCENARIOS) == set(SYMPTOMS) == set(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_worker_that_lacks_it_is_caught(embedded_rig, mutant):
    embedded_rig.deadline_seconds = MUTANT_DEADLINE_SECONDS
    with pytest.raises(AssertionError, match=SYMPTOMS[mutant]):
        SCENARIOS[mutant](embedded_rig, f"--mutant={mutant}")
