"""The child of the tests that claim observations: the product's own attempt, with an engine that does as it is told.

Everything but the engine is real: inputs, checkpoints, claims, outputs, and the order in which they are written.
"""

import json
import os
import sys
import time
import types

from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.store import Bucket
from tasks.engines.interface import STAGES, Stage
from tasks.errors import BucketUnavailableError
from tasks.records.assignment import Assignment, AttemptReleased, Tell
from tasks.settings import settings_from_environment
from tests.support.slow_engine.child import FAULTS, await_gate, execution
from tests.support.slow_engine.moved_clock import follow_file_if_asked
from workers.child_loop import AwaitLease, RunAssignment, main

MUTANT = "TEST_CLAIMS_MUTANT"
HELD_STAGE: Stage = "cluster_and_link"
"""Where a gate holds a computation: what is left out is checkpointed by then."""


def wish_name(task_id: str) -> str:
    """Object that tells how the computation of a task is to go."""
    return f"wishes/{task_id}"


def used_name(assignment: Assignment) -> str:
    """Object that tells which claims one execution used."""
    return f"used/{assignment.task_id}/{assignment.attempt}-{os.getpid()}-{time.monotonic_ns()}"


def retried_name(task_id: str) -> str:
    """Object whose presence lets a task succeed that fails until it is retried."""
    return f"retried/{task_id}"


class Computation:
    """One execution, as its wish has it."""

    def __init__(self, bucket: Bucket, assignment: Assignment) -> None:
        self.bucket = bucket
        self.assignment = assignment
        self.wish = json.loads(bucket.read(wish_name(assignment.task_id)).body)

    def on_stage(self, stage: Stage) -> None:
        time.sleep(self.wish.get("seconds", 0.0) / len(STAGES))
        if stage == HELD_STAGE and "gate" in self.wish:
            await_gate(self.bucket, self.wish["gate"])
        if stage == STAGES[-1]:
            self.fail()

    def fail(self) -> None:
        fault = self.wish.get("fault", "")
        if fault == "task_error" or (fault == "until_retried" and not self.is_retried()):
            raise ValueError("the orbit is bad")
        FAULTS.get(fault, lambda: None)()

    def is_retried(self) -> bool:
        while True:
            try:
                return self.bucket.generation(retried_name(self.assignment.task_id)) != 0
            except BucketUnavailableError:
                time.sleep(0.1)

    def after_claim(self) -> None:
        """Stand between the claim and the status that makes it count."""
        time.sleep(self.wish.get("claim_seconds", 0.0))
        if "claim_gate" in self.wish:
            await_gate(self.bucket, self.wish["claim_gate"])


def prepare() -> RunAssignment:
    follow_file_if_asked()
    # The product's registry imports compiled kernels, seconds that no test of the protocol needs.
    registry = types.ModuleType("tasks.engines.registry")
    registry.engine_by_name = lambda _name, **_: None
    sys.modules[registry.__name__] = registry

    from tasks.jobs import claims, run_attempt, task_inputs  # noqa: PLC0415
    from tests.support.slow_engine.claim_mutants import CLAIM_MUTANTS  # noqa: PLC0415
    from tests.support.slow_engine.claiming_engine import ClaimingEngine  # noqa: PLC0415

    if MUTANT in os.environ:
        CLAIM_MUTANTS[os.environ[MUTANT]]()
    engine = ClaimingEngine()
    task_inputs.engine_of_job = lambda _: engine
    begin_claims, claim = claims.begin_claims, claims.TaskClaims.claim
    at_work: list[Computation] = []

    def begin_and_tell(bucket, task, settings, **options):
        begun = begin_claims(bucket, task, settings, **options)
        bucket.write(used_name(at_work[-1].assignment), begun.used.model_dump_json().encode())
        return begun

    def claim_and_stand(self, tables, **options):
        claim(self, tables, **options)
        at_work[-1].after_claim()

    run_attempt.begin_claims, claims.TaskClaims.claim = begin_and_tell, claim_and_stand
    surveys, cache = task_inputs.SurveyCache(10**9), claims.ClaimsCache()

    def run_assignment(assignment: Assignment, *, tell: Tell, await_lease: AwaitLease) -> None:
        bucket = open_bucket_from_settings(settings_from_environment(), assignment.bucket_url)
        try:
            bucket.write(execution(assignment), b"")
            at_work[:] = [Computation(bucket, assignment)]
        except BucketUnavailableError as error:
            tell(AttemptReleased(error=str(error)))
            return
        engine.on_stage = at_work[-1].on_stage
        run_attempt.Attempt(
            assignment,
            bucket=bucket,
            tell=tell,
            await_lease=await_lease,
            surveys=surveys,
            claims=cache,
            checkpoint_seconds=0.0,  # so that later attempts resume
        ).run()

    return run_assignment


if __name__ == "__main__":
    main(prepare, memory_bytes=settings_from_environment().child_memory_bytes)
