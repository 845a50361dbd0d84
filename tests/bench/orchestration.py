"""What showing a task in Prefect costs: `python -m tests.bench.orchestration`, with a private server on SQLite.

The task is a small one of the demo, so that nearly all of a difference is the show's.
"""

import json
import os
import tempfile
import time
from pathlib import Path

from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.attempt_show import finish_shows
from flows.run_task import run_assignment, warm_up
from tasks.bucket.directory import DirectoryBucket
from tasks.jobs.submit import Submission, new_job_id
from tasks.records.assignment import Assignment
from tasks.settings import settings_from_environment
from tests.services.prefect_server import PrivatePrefect
from tests.support.job_inputs import small_inputs

TASKS = 10
LEVELS = ("off", "task", "stages")


def main() -> None:
    print(json.dumps(orchestration_cost(), indent=1))


def orchestration_cost() -> dict[str, dict[str, float]]:
    """Return for each level the seconds of a task, and until the server has been shown all of it."""
    with tempfile.TemporaryDirectory() as folder:
        server = PrivatePrefect(Path(folder))
        server.start()
        try:
            with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
                warm_up()
                seconds_of_tasks(Path(folder) / "first", "stages")  # imports, the survey, the first flows
                return {level: seconds_of_tasks(Path(folder) / level, level) for level in LEVELS}
        finally:
            server.kill()


def seconds_of_tasks(folder: Path, level: str) -> dict[str, float]:
    os.environ["THOR_INSTRUMENTATION"] = level
    settings_from_environment.cache_clear()
    bucket = DirectoryBucket(folder / "bucket")
    submission = Submission(bucket=bucket, job_id=new_job_id(None), inputs=small_inputs("Hebe"))
    submission.upload_job_files()
    submission.upload_tasks(0, 1)
    began = time.perf_counter()
    for attempt in range(TASKS):
        assignment = Assignment(
            job_id=submission.job_id, task_id="Hebe", bucket_url=bucket.url, attempt=1 + attempt, worker="bench:1"
        )
        run_assignment(assignment, tell=lambda record: None, await_lease=lambda: None)
    worked = time.perf_counter()
    finish_shows(600.0)
    shown = time.perf_counter()
    return {
        "task_seconds": round((worked - began) / TASKS, 3),
        "shown_seconds": round((shown - began) / TASKS, 3),
    }


if __name__ == "__main__":
    main()
