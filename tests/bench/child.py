"""One measurement in a process of its own: reads parquet, runs the engine's stages, writes tables and measures.json.

    python -m tests.bench.child FOLDER      FOLDER/problem.json says what to run

It imports nothing but the engine, so that its peak memory is a worker's.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engines.interface import STAGES, LinkingProblem, map_blocks_in_turn
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import settings_from_items

PREPARE = "prepare"


def main() -> None:
    folder = Path(sys.argv[1])
    started = time.perf_counter()
    asked = json.loads((folder / "problem.json").read_text())
    engine = engine_by_name(asked["engine"])
    imported = time.perf_counter()
    run(engine, asked["warm_up"], STAGES)
    warm = time.perf_counter()
    memory_before = peak_memory_mb()
    best, tables = None, {}
    for _ in range(asked["repeat"]):
        measured, tables = run(engine, asked["survey"], STAGES[: STAGES.index(asked["stage"]) + 1], asked["threads"])
        best = measured if best is None else faster(best, measured)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    measures = {
        **best,
        "engine": f"{engine.name} {engine.version}",
        "import_seconds": round(imported - started, 3),
        "warm_seconds": round(warm - imported, 3),
        "memory_before_mb": memory_before,
        "peak_memory_mb": peak_memory_mb(),
    }
    (folder / "measures.json").write_text(json.dumps(measures, indent=1))


def run(
    engine: Any, survey: dict[str, Any], stages: Sequence[str], threads: int = 1
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """CPU and wall seconds of each stage, its counts, and all tables."""
    observations = pq.read_table(survey["observations"])
    test_orbit = pq.read_table(survey["test_orbits"]).slice(0, 1)
    settings = settings_from_items(survey["settings"])
    seconds: dict[str, float] = {}
    wall: dict[str, float] = {}
    counts: dict[str, dict[str, int]] = {}
    with timed(PREPARE, seconds, wall):
        prepared = engine.prepare(observations, settings)
    with ThreadPoolExecutor(threads) as pool:
        problem = LinkingProblem(prepared, test_orbit, settings, map_blocks_of(pool, threads))
        tables: dict[str, pa.Table] = {}
        for stage in stages:
            with timed(stage, seconds, wall):
                result = getattr(engine, stage)(problem, tables)
            tables |= result.tables
            counts[stage] = dict(result.counts)
    return {"cpu_seconds": seconds, "wall_seconds": wall, "counts": counts}, tables


def map_blocks_of(pool: ThreadPoolExecutor, threads: int) -> Callable[..., list[Any]]:
    if threads == 1:
        return map_blocks_in_turn
    return lambda function, blocks: list(pool.map(function, blocks))


class timed:  # noqa: N801 - reads as a word in a with statement
    """Add the CPU seconds of all threads and the wall seconds of a block to two dictionaries."""

    def __init__(self, name: str, cpu: dict[str, float], wall: dict[str, float]) -> None:
        self.name, self.cpu, self.wall = name, cpu, wall

    def __enter__(self) -> None:
        self.started = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.cpu[self.name] = time.process_time() - self.started[0]
        self.wall[self.name] = time.perf_counter() - self.started[1]


def faster(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The run of fewer CPU seconds: the machine is shared, and noise only adds."""
    return min(one, other, key=lambda measured: sum(measured["cpu_seconds"].values()))


def peak_memory_mb() -> float:
    """Most memory that this program ever held. Not getrusage's figure, which begins with that of the parent process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
