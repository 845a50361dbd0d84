"""One client of the orchestration benchmark: does what it is told for so many seconds, and tells how often it did.

`python -m tests.bench.prefect_client FOLDER`; lines `LEVEL SECONDS` come in, `COUNT SECONDS` go out. LEVEL "run": empty
flow runs; "task" and "stages": attempts at a small task of the demo, each until all of it is shown.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prefect import flow
from prefect.exceptions import PrefectHTTPStatusError

from flows.run_task import run_assignment, warm_up
from tasks.bucket.directory import DirectoryBucket
from tasks.jobs.submit import Submission, new_job_id
from tasks.prefect_api.clients import configured_switch, short_runs
from tasks.records.assignment import Assignment
from tasks.settings import settings_from_environment
from tests.support.job_inputs import small_inputs


@flow(name="bench-empty")
def empty() -> None:
    """Do nothing, and be shown."""


def empty_run() -> bool:
    """Have an empty run shown; tell whether it was: a busy server on SQLite refuses some, however often it is asked."""
    try:
        empty()
    except PrefectHTTPStatusError:
        return False
    return True


def attempts(folder: Path) -> Callable[[], bool]:
    """Return what does the next attempt at a task: a new one each time, so that nothing comes from a checkpoint."""
    bucket = DirectoryBucket(folder / "bucket")
    inputs = small_inputs("Hebe")
    numbers = iter(range(10**6))

    def attempt() -> bool:
        submission = Submission(bucket=bucket, job_id=new_job_id(f"bench-{os.getpid()}-{next(numbers)}"), inputs=inputs)
        submission.upload_job_files()
        submission.upload_tasks(0, 1)
        assignment = Assignment(
            job_id=submission.job_id, task_id="Hebe", bucket_url=bucket.url, attempt=1, worker="bench:1"
        )
        run_assignment(assignment, tell=lambda record: None, await_lease=lambda: None)
        switch = configured_switch()
        return switch is None or switch.may_ask()  # otherwise a busy server refused, and it was computed unseen

    return attempt


def set_level(level: str) -> None:
    """Show so much from now on, in this process."""
    os.environ["THOR_INSTRUMENTATION"] = level
    settings_from_environment.cache_clear()


def count(act: Callable[[], bool], seconds: float) -> tuple[int, float]:
    """Act again and again until the time is over; return how often, and for how long."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        is_shown = act()
        done += is_shown
    return done, time.perf_counter() - began


def main() -> None:
    warm_up()
    attempt = attempts(Path(sys.argv[1]))
    for level in ("stages", "task"):  # imports, the first flows
        set_level(level)
        count(attempt, 0.1)
    print("ready", flush=True)
    for line in sys.stdin:
        level, seconds = line.split()
        with short_runs():
            if level != "run":
                set_level(level)
            done, took = count(empty_run if level == "run" else attempt, float(seconds))
        print(done, took, flush=True)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
