"""What showing tasks in Prefect costs, and what a server sustains: `python -m tests.bench --orchestration`.

With private servers, on SQLite and, where this machine has its programs, on PostgreSQL. The task is a small one of the
demo, so that nearly all of a difference is Prefect's. Whole jobs are looked at by `shown_jobs`.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.run_task import warm_up
from tests.bench.measure import REPOSITORY
from tests.bench.prefect_client import attempts, set_level
from tests.bench.shown_jobs import measure_shown_jobs, private_server
from tests.bench.shown_jobs import section as section_of_shown
from tests.services.postgres import private_postgres, programs
from tests.services.prefect_server import PrivatePrefect
from tests.services.processes import END_WITH_PARENT

TASKS = 10
LEVELS = ("off", "task", "stages")
CLIENTS = (1, 2, 4)
WORK = {"run": "empty flow runs/s", "task": "attempts/s at `task`", "stages": "attempts/s at `stages`"}
SECONDS = 15.0
"""Of each measurement of a rate; an attempt takes up to a second."""


def measure_orchestration() -> dict[str, Any]:
    """Return the load of the machine before, the cost at each level, and the rates of each kind of server."""
    load = round(os.getloadavg()[0], 1)
    with private_server() as server:
        levels = cost_of_levels(server)
        shown = measure_shown_jobs(server)
        sustained = {"SQLite": rates(server)}
    binaries = programs()
    if binaries is not None:
        with (
            private_postgres(binaries) as url,
            private_server(PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as server,
        ):
            sustained["PostgreSQL"] = rates(server)
    return {"load": load, "levels": levels, "shown": shown, "sustained": sustained}


def cost_of_levels(server: PrivatePrefect) -> dict[str, dict[str, float]]:
    """Return for each level the seconds of a task, all of it shown."""
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}),
    ):
        warm_up()
        seconds_of_tasks(Path(folder) / "first", "stages")  # imports, the survey, the first flows
        return {level: seconds_of_tasks(Path(folder) / level, level) for level in LEVELS}


def seconds_of_tasks(folder: Path, level: str) -> dict[str, float]:
    """Do some tasks one after the other; return the seconds and the processor's seconds of one."""
    set_level(level)
    attempt = attempts(folder)
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(TASKS):
        attempt()
    return {
        "task_seconds": round((time.perf_counter() - began) / TASKS, 3),
        "processor_seconds": round((time.process_time() - processor) / TASKS, 3),
    }


def rates(server: PrivatePrefect) -> dict[str, dict[str, float]]:
    """Return for each kind of work how much of it a second so many clients get shown, together."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server, Path(folder) / str(number))) for number in range(max(CLIENTS))]
        for each in clients:
            heard(each)  # "ready"
        return {work: {str(number): rate(clients[:number], work) for number in CLIENTS} for work in WORK}


@contextlib.contextmanager
def client(server: PrivatePrefect, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a client process, and end it with the block."""
    folder.mkdir()
    log = folder / "log"
    environment = {
        **os.environ,
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [*END_WITH_PARENT, sys.executable, "-m", "tests.bench.prefect_client", str(folder)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
        )
    try:
        yield process
    except RuntimeError as error:
        error.add_note(log.read_text()[-2000:])
        raise
    finally:
        process.kill()
        process.wait()


def rate(clients: Sequence["subprocess.Popen[str]"], work: str) -> float:
    """Have these clients do the work at the same time, and return how much of it was shown a second."""
    for each in clients:
        assert each.stdin is not None
        each.stdin.write(f"{work} {SECONDS}\n")
        each.stdin.flush()
    answers = [heard(each).split() for each in clients]
    return round(sum(int(done) / float(took) for done, took in answers), 2)


def heard(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a client."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"A client of the benchmark ended with code {process.wait()}, expected a line from it.")
    return line


def section(measured: dict[str, Any], when: str) -> str:
    """Return the measurements as BENCHMARKS.md has them."""
    levels = [
        "| `THOR_INSTRUMENTATION` | s a task, all of it shown | s of a processor |",
        "| --- | --- | --- |",
        *(
            f"| {level} | {cost['task_seconds']} | {cost['processor_seconds']} |"
            for level, cost in measured["levels"].items()
        ),
    ]
    heads = [f"{number} client{'s' if number > 1 else ''}" for number in CLIENTS]
    sustained = [
        f"| server on | what it is shown | {' | '.join(heads)} |",
        "| --- | --- |" + " --- |" * len(CLIENTS),
        *(
            f"| {kind} | {WORK[work]} | {' | '.join(str(found[str(number)]) for number in CLIENTS)} |"
            for kind, works in measured["sustained"].items()
            for work, found in works.items()
        ),
    ]
    intro = f"{when}, on {os.cpu_count()} cores with a load of {measured['load']} from elsewhere."
    return "\n".join([intro, "", *levels, "", section_of_shown(measured["shown"]), "", *sustained])


if __name__ == "__main__":
    print(json.dumps(measure_orchestration(), indent=1))
