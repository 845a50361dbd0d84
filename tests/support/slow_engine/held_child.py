"""The product's own child, engine and flows, in which each task waits at its second stage until its gate is opened."""

import os
import sys

from flows.run_task import run_assignment, warm_up
from tasks.jobs.run_attempt import Attempt
from tasks.prefect_api import instrument
from tasks.settings import settings_from_environment
from tests.support.slow_engine.child import await_gate
from workers.child_loop import RunAssignment, main

HELD_AT = "cluster_and_link"


def gate_of(job_id: str, task_id: str) -> str:
    """The gate of a task, for `gate` and `await_gate`."""
    return f"{job_id}/{task_id}"


def hold_tasks() -> None:
    compute = Attempt._computed

    def held(self, stage, inputs):
        if stage == HELD_AT:
            await_gate(self._bucket, gate_of(self.assignment.job_id, self.assignment.task_id))
        return compute(self, stage, inputs)

    Attempt._computed = held


def prepare() -> RunAssignment:
    hold_tasks()
    warm_up()
    return run_assignment


if __name__ == "__main__":
    main(prepare, memory_bytes=settings_from_environment().child_memory_bytes)
    instrument.flush()
    sys.stderr.flush()
    os._exit(0)
