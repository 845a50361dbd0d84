"""Tasks that claim observations while workers are killed, freeze and come back: what counts, and what is left out.

Each scenario runs with the child as it is, and with one that lacks what the mutant's name says.
"""

import signal

import pytest

from tasks.bucket.layout import JobLayout
from tests.support.slow_engine.claim_mutants import CLAIM_MUTANTS
from tests.support.slow_engine.claiming_child import MUTANT
from tests.whole_system.claims_promises import ClaimsAtRest
from tests.whole_system.rig import JOB
from tests.whole_system.soak import run


def claim_lies_there(rig, task_id, attempt):
    return rig.bucket.generation(JobLayout(JOB).task(task_id).claim(attempt))


def assert_claims(rig, *, succeeded, faults):
    rig.assert_promises(dict.fromkeys(succeeded, "succeeded"), faults=faults)
    return ClaimsAtRest(rig.bucket, JobLayout(JOB), rig.tasks).check()


def a_worker_killed_between_its_claim_and_its_status(rig, **environment):
    """One task begins while the claim lies there and nobody knows what becomes of it; one when another attempt won."""
    rig.submit_claiming(first_1={"claim_gate": "go"})
    worker = rig.worker("--claiming", **environment)
    other = rig.worker("--claiming", **environment)
    rig.await_that(lambda: claim_lies_there(rig, "first-1", 1), "the claim lies there")
    owner, other = (worker, other) if "Claimed the task" in worker.printed else (other, worker)
    owner.send(signal.SIGKILL)
    rig.submit_claiming(second_2={})
    rig.await_state("second-2", "succeeded")
    rig.open_gate("go")
    rig.await_state("first-1", "succeeded")
    rig.submit_claiming(third_3={})

    figures = assert_claims(rig, succeeded=["first-1", "second-2", "third-3"], faults=1)

    assert figures["claims_that_never_count"] == 1
    assert rig.status("first-1").attempt == 2


def a_task_taken_over_after_another_has_claimed(rig, **environment):
    """The second attempt begins when more claims count than when the first one began."""
    rig.submit_claiming(second_2={"gate": "go"})
    worker = rig.worker("--claiming", **environment)
    rig.await_computing("second-2")
    rig.await_that(lambda: list(rig.bucket.list("used/second-2/")), "it has noted its claims")
    rig.worker("--claiming", **environment)
    rig.submit_claiming(first_1={})
    rig.await_state("first-1", "succeeded")
    worker.send(signal.SIGKILL)
    rig.open_gate("go")

    figures = assert_claims(rig, succeeded=["first-1", "second-2"], faults=1)

    assert figures["claims_used"] == 0


SCENARIOS = {
    "claims_count_before_the_status": a_worker_killed_between_its_claim_and_its_status,
    "claims_of_any_attempt_count": a_worker_killed_between_its_claim_and_its_status,
    "each_attempt_makes_its_own_note": a_task_taken_over_after_another_has_claimed,
}

SYMPTOMS = {
    "claims_count_before_the_status": "second-2 used claim 1 of first-1, whose attempt did not succeed",
    "claims_of_any_attempt_count": "third-3 used claim 1 of first-1, whose attempt did not succeed",
    "each_attempt_makes_its_own_note": "attempts at second-2 used different claims",
}


@pytest.mark.parametrize("scenario", dict.fromkeys(SCENARIOS.values()), ids=lambda scenario: scenario.__name__)
def test_claims_keep_their_promises(embedded_rig, scenario):
    scenario(embedded_rig)


def test_every_mutant_of_claims_is_tried():
    assert set(SCENARIOS) == set(SYMPTOMS) == set(CLAIM_MUTANTS)


@pytest.mark.parametrize("mutant", CLAIM_MUTANTS)
def test_a_child_whose_claims_lack_it_is_caught(embedded_rig, mutant):
    with pytest.raises(AssertionError, match=SYMPTOMS[mutant]):
        SCENARIOS[mutant](embedded_rig, **{MUTANT: mutant})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_claims_keep_their_promises_under_all_faults_at_once():
    size = ["--tasks", "12", "--workers", "2", "--fault-seconds", "0.8"]

    figures = run(["--claims", "--on", "embedded", "--seed", "3", *size])["embedded"]

    assert figures["violations"] == 0
    assert sum(figures["faults"].values()) > 1
    assert figures["claims"]["tasks_that_left_some_out"] > 3
