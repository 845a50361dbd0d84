"""`python -m workers.child`: the process that computes. Started by the supervisor, it stays warm over many tasks."""

import os
import sys

from flows.run_task import run_assignment, warm_up
from tasks.prefect_api import instrument
from tasks.settings import settings_from_environment
from workers.child_loop import RunAssignment, main
from workers.logs import log_to_supervisor


def prepare() -> RunAssignment:
    """Warm the kernels, before the first task is taken from the queue."""
    log_to_supervisor()
    warm_up()
    return run_assignment


if __name__ == "__main__":
    main(prepare, memory_bytes=settings_from_environment().child_memory_bytes)
    instrument.flush()  # logs and events on their way
    # A thread of Prefect must not be cut off in the midst of C++: the interpreter's end would abort.
    sys.stderr.flush()
    os._exit(0)
