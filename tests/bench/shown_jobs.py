"""What people see of whole jobs on a private Prefect server: a part of `python -m tests.bench --orchestration`.

The demo's stage runs beside the stages as its workers timed them; how much of a job of 400 tasks is shown; and the
seconds from a cancelled run in the UI to the last task that is given up. `python -m tests.bench.shown_jobs` alone.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, StateType

from tasks.engines.interface import STAGES
from tasks.inputs.csv_text import csv_from_table
from tasks.prefect_api import runs
from tasks.records.ids import JobId
from tests.bench.measure import REPOSITORY
from tests.services.prefect_server import PrivatePrefect, configured
from tests.support.deployed import await_held, cancel_in_ui, child_of, deployed_on
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.jobs import states_of

NEAR_SECONDS = 0.3
"""A stage run is as long as its stage within this."""
MANY_TASKS = 400
CANCEL_LOOK_SECONDS = 0.1
COMPUTED = re.compile(r"Computed (\w+) in ([\d.]+) s")


def measure_shown_jobs(server: PrivatePrefect) -> dict[str, Any]:
    """Return what is seen of the demo and of a large job, and what cancelling takes."""
    with configured(server), tempfile.TemporaryDirectory() as folder:
        return {
            "demo": demo(server, Path(folder) / "demo"),
            "many": many_tasks(server, Path(folder) / "many"),
            "cancel_seconds": cancelled(server, Path(folder) / "cancelled"),
        }


def demo(server: PrivatePrefect, folder: Path) -> dict[str, float]:
    """Run the demo; return how its stage runs differ from its stages."""
    submit(server, folder, "bench-demo")
    of_task: dict[str, dict[str, float]] = {}
    with get_client(sync_client=True) as client:
        names = {each.id: each.name for each in client.read_flows()}
        for run in runs_of_job("bench-demo"):
            task = runs.task_of(run)
            if task is not None and names[run.flow_id] in STAGES and run.start_time and run.end_time:
                seconds = (run.end_time - run.start_time).total_seconds()
                of_task.setdefault(task, {})[names[run.flow_id]] = seconds
    computed = seconds_of_stages(folder / "found")
    differences = [
        abs(of_task[task][stage] - seconds)
        for task, stages in computed.items()
        for stage, seconds in stages.items()
        if stage in of_task.get(task, {})
    ]
    return {
        "stages": sum(map(len, computed.values())),
        "shown": len(differences),
        "near": sum(each <= NEAR_SECONDS for each in differences),
        "median_seconds": round(statistics.median(differences), 3),
        "most_seconds": round(max(differences), 3),
    }


def many_tasks(server: PrivatePrefect, folder: Path) -> dict[str, Any]:
    """Run a job of many small tasks at the level that is chosen for it; return how many have a run."""
    folder.mkdir()
    orbits = orbits_of(("Hebe",))
    names = pa.array([f"{number:03}" for number in range(MANY_TASKS)])
    table = pa.concat_tables([orbits] * MANY_TASKS).set_column(orbits.column_names.index("orbit_id"), "orbit_id", names)
    (folder / "orbits.csv").write_bytes(csv_from_table(table))
    (folder / "observations.csv").write_bytes(csv_from_table(observations_of(("Hebe",))))
    files = ("--observations", str(folder / "observations.csv"), "--orbits", str(folder / "orbits.csv"))
    began = time.perf_counter()
    told = submit(server, folder, "bench-many", *files)
    seconds = time.perf_counter() - began
    found = [run for run in runs_of_job("bench-many") if "attempt" in run.parameters]
    ended = [run for run in found if run.state is not None and run.state.type == StateType.COMPLETED]
    (level,) = re.findall(r"Prefect shows (.+?)\.", told)
    return {
        "tasks": MANY_TASKS,
        "shown": len({runs.task_of(run) for run in found}),
        "completed": len(ended),
        "level": level,
        "seconds": round(seconds, 1),
    }


def cancelled(server: PrivatePrefect, folder: Path) -> dict[str, float]:
    """Cancel the run of a deployed job whose task is at work; return the seconds until nothing of it goes on."""
    folder.mkdir()
    with deployed_on(server, folder, f"sqlite:///{folder}/queue.sqlite3") as place, place.held_worker() as worker:
        run, job = place.submit("Hebe", "Eros")
        await_held(place, run, seen="a task is at work")
        child = child_of(worker)
        began = time.perf_counter()
        cancel_in_ui(run)
        child.wait(120)
        stopped = time.perf_counter() - began
        while set(states_of(place.bucket, job).values()) != {"failed"}:
            time.sleep(CANCEL_LOOK_SECONDS)
        given_up = time.perf_counter() - began
        place.wait_for(run, StateType.CANCELLED, log="thor")
        return {
            "computing_stopped": round(stopped, 1),
            "tasks_given_up": round(given_up, 1),
            "run_cancelled": round(time.perf_counter() - began, 1),
        }


def submit(server: PrivatePrefect, folder: Path, job_id: str, *arguments: str) -> str:
    """Submit a job with as many local workers as cores, until it is collected; return what was told."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "THOR_HOME": str(folder / "home"), "PREFECT_API_URL": server.url, "DO_NOT_TRACK": "1"}
    environment.pop("THOR_INSTRUMENTATION", None)  # what was measured before may have set it
    command = [sys.executable, "-m", "flows.submit", "--job-id", job_id, "--output", str(folder / "found"), *arguments]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    if ended.returncode:
        raise RuntimeError(f"{job_id} ended with exit code {ended.returncode}: {ended.stderr[-2000:]}")
    return ended.stderr


def runs_of_job(job_id: str) -> list[FlowRun]:
    """Return all flow runs of a job, those of stages as well."""
    which = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{JobId(job_id)}"]))
    with get_client(sync_client=True) as client:
        return runs._all_runs(client, which)


def seconds_of_stages(output: Path) -> Mapping[str, Mapping[str, float]]:
    """Return by task and stage the seconds that the attempts logged."""
    logs = output.glob("tasks/*/outputs/thor.log")
    return {
        log.parts[-3]: {stage: float(seconds) for stage, seconds in COMPUTED.findall(log.read_text())} for log in logs
    }


def section(shown: Mapping[str, Any]) -> str:
    """Return the measurements as BENCHMARKS.md has them."""
    one, many, cancel = shown["demo"], shown["many"], shown["cancel_seconds"]
    of_stages = f"{one['near']}; median {one['median_seconds']} s, at most {one['most_seconds']} s"
    of_many = f"{many['shown']}, {many['completed']}; {many['level']}; {many['seconds']} s"
    stopped, given_up, ended = (cancel[name] for name in ("computing_stopped", "tasks_given_up", "run_cancelled"))
    rows = [
        ("of whole jobs", "measured", "wanted"),
        ("---", "---", "---"),
        ("stage runs of the demo", f"{one['shown']} of {one['stages']}", "all"),
        (f"differ from their stages by at most {NEAR_SECONDS} s", of_stages, "all"),
        (f"tasks of a job of {many['tasks']} that have a run, and completed there", of_many, "all"),
        ("s from cancelling a deployed job's run in the UI until its computation has stopped", f"{stopped}", ""),
        ("until its tasks are given up", f"{given_up}", "15"),
        ("until its run is Cancelled", f"{ended}", ""),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@contextmanager
def private_server(**environment: str) -> Iterator[PrivatePrefect]:
    """Run a Prefect server of our own for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as home:
        server = PrivatePrefect(Path(home), environment=environment)
        server.start()
        try:
            yield server
        finally:
            server.kill()


if __name__ == "__main__":
    with private_server() as own:
        measured = measure_shown_jobs(own)
    print(json.dumps(measured, indent=1))
    print(section(measured))
