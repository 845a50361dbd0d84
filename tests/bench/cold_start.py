"""How long a worker needs before its first task: `python -m tests.bench.cold_start`."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

WARM_UP = (sys.executable, "-m", "tasks.engines.warm_up")
WORKER = (sys.executable, "-m", "workers", "--idle-timeout", "0")
"""A worker with nothing to do leaves as soon as it is ready."""


def main() -> None:
    print(json.dumps(cold_start(), indent=1))


def cold_start() -> dict[str, dict[str, float]]:
    """Wall and CPU seconds from the interpreter's start, with an empty and a full cache of compiled kernels."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "THOR_HOME": home}
        return {
            "interpreter": timed((sys.executable, "-c", "pass"), environment),
            "warm kernels, empty cache": timed(WARM_UP, environment),
            "warm kernels, full cache": timed(WARM_UP, environment),
            "worker started, ready and left, full cache": timed(WORKER, environment),
        }


def timed(command: tuple[str, ...], environment: dict[str, str]) -> dict[str, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}


if __name__ == "__main__":
    main()
