"""Workers with and without upstream THOR on one queue: a task goes to one that has its engine, and costs the others
next to nothing."""

from datetime import UTC, datetime

import psutil

from tasks.bucket.layout import JobLayout
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tests.whole_system.rig import DELAY_SECONDS, JOB


def stand_in(folder):
    """An interpreter that says that it has upstream THOR; the tests' own child computes."""
    python = folder / "python"
    python.write_text("""#!/bin/sh\necho '{"event": "found", "thor": "2.1"}'\n""")
    python.chmod(0o755)
    return str(python)


def submit_to_thor(rig, *task_ids):
    """Submit tasks of a job that asks for engine thor."""
    now = datetime.now(UTC)
    manifest = Manifest(
        job_id=JOB,
        task_ids=tuple(map(TaskId, task_ids)),
        orbit_ids=task_ids,
        created_at=now,
        submitted_at=now,
        bucket=rig.bucket.url,
        engine_name="thor",
        engine_version="2.1",
        inputs_sha256={},
    )
    rig.bucket.write(JobLayout(JOB).manifest, manifest.to_bytes())
    rig.submit(**{task_id: {} for task_id in task_ids})


def waits(rig, task_id):
    return rig.status(task_id).waits_for_engine == "thor"


def test_tasks_that_a_worker_without_the_engine_meets_wait_for_one_that_has_it_and_count_no_attempt(rig, tmp_path):
    submit_to_thor(rig, "orbit", "other")
    rig.worker()
    rig.await_that(lambda: waits(rig, "orbit") and waits(rig, "other"), "both tasks say what they wait for")
    assert {rig.status(task_id).attempt for task_id in ("orbit", "other")} == {0}

    rig.worker(THOR_PYTHON=stand_in(tmp_path))

    rig.assert_promises({"orbit": "succeeded", "other": "succeeded"})
    assert {rig.status(task_id).attempt for task_id in ("orbit", "other")} == {1}


def test_a_worker_that_meets_only_tasks_of_an_engine_it_lacks_is_idle_and_leaves_when_it_should(rig):
    submit_to_thor(rig, "orbit")
    worker = rig.worker("--idle-timeout", str(4 * DELAY_SECONDS))

    rig.await_that(worker.ended, "the worker has left")

    assert worker.popen.returncode == 0
    assert rig.status("orbit").state == "requested"
    rig.worker()
    rig.cancel()
    rig.assert_promises({"orbit": "cancelled"})


def test_many_tasks_that_wait_leave_the_processor_alone(rig):
    names = [f"orbit-{number}" for number in range(40)]
    submit_to_thor(rig, *names)
    worker = rig.worker()
    rig.await_that(lambda: all(waits(rig, name) for name in names), "each task was met")
    process = psutil.Process(worker.pid)
    before, began = sum(process.cpu_times()[:2]), process.create_time()

    rig.await_that(lambda: datetime.now(UTC).timestamp() - began > 8, "some rounds have gone by")

    seconds = datetime.now(UTC).timestamp() - began
    assert sum(process.cpu_times()[:2]) - before < 0.5 * seconds
    rig.cancel()
    rig.assert_promises(dict.fromkeys(names, "cancelled"))
