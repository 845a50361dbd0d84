"""A large file of observations, from the person's csv to the bucket and to a worker: seconds and memory.

    python -m tests.bench.large_file [--rows 10000000] [--write]

The rows are made here: exposures of 5 000 detections, a hundred fields twice a night, ids of their own, positions at
random with all digits. Each role is a process of its own, so that each peak is one program's.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.bench.measure import REPOSITORY
from tests.bench.report import LARGE_FILE, machine, text_with_section

DOCUMENT = REPOSITORY / "BENCHMARKS.md"
RESULTS = Path(__file__).with_name("large_file.json")

ROWS = 10_000_000
ROWS_AT_A_TIME = 500_000
ROWS_OF_AN_EXPOSURE = 5_000
EXPOSURES_OF_A_NIGHT = 200
FIELDS = 100
FIELDS_OF_A_ROW = 10
FIELD_DEG = 3.0


def write_file(path: Path, n_rows: int) -> None:
    """Write THOR's csv."""
    from tasks.inputs.csv_text import csv_header, csv_rows  # noqa: PLC0415 (the parent's memory is nobody's)

    with path.open("wb") as file:
        for first in range(0, n_rows, ROWS_AT_A_TIME):
            table = made_rows(first, min(ROWS_AT_A_TIME, n_rows - first))
            if not first:
                file.write(csv_header(table.column_names))
            file.write(csv_rows(table))


def made_rows(first: int, count: int) -> pa.Table:
    """Return rows number `first` and on; the same whenever asked."""
    random = np.random.default_rng(first)
    number = np.arange(first, first + count)
    exposure = number // ROWS_OF_AN_EXPOSURE
    field = exposure % FIELDS
    mjd_utc = 60000.2 + exposure // EXPOSURES_OF_A_NIGHT + exposure % EXPOSURES_OF_A_NIGHT * 0.0005
    return pa.table(
        {
            "obs_id": pc.binary_join_element_wise("obs-", pa.array(number).cast(pa.string()), ""),
            "mjd_utc": mjd_utc.round(6),
            "RA_deg": 140.0 + FIELD_DEG * (field % FIELDS_OF_A_ROW + random.uniform(0.0, 1.0, count)),
            "Dec_deg": FIELD_DEG * (field // FIELDS_OF_A_ROW + random.uniform(0.0, 1.0, count)),
            "RA_sigma_deg": np.full(count, 2.5e-5),
            "Dec_sigma_deg": np.full(count, 2.5e-5),
            "observatory_code": pa.array(["X05"] * count),
            "mag": random.uniform(18.0, 24.0, count).round(2),
            "filter": pa.array(["r"] * count),
        }
    )


def client(path: Path, bucket: Path) -> dict[str, float]:
    """Read, check and upload, as `flows.submit` does before it looks at test orbits."""
    from tasks.bucket.directory import DirectoryBucket  # noqa: PLC0415 (only what a client loads)
    from tasks.inputs.canonical_file import canonical_from_file  # noqa: PLC0415
    from tasks.inputs.observations_file import ObservationsFormat  # noqa: PLC0415

    began = time.perf_counter()
    observations = canonical_from_file(path, ObservationsFormat())
    checked = time.perf_counter()
    DirectoryBucket(bucket).write("observations.csv", observations.file)
    return {
        "rows": observations.n_observations,
        "read_and_check_seconds": checked - began,
        "upload_seconds": time.perf_counter() - checked,
    }


def worker(bucket: Path) -> dict[str, float]:
    """Download and prepare, as a worker does for the first task of a job."""
    from tasks.bucket.content import ScratchFile  # noqa: PLC0415 (only what a worker loads)
    from tasks.bucket.directory import DirectoryBucket  # noqa: PLC0415
    from tasks.engines.registry import engine_by_name  # noqa: PLC0415
    from tasks.engines.settings import EngineSettings  # noqa: PLC0415
    from tasks.inputs.observations_file import observations_from_csv  # noqa: PLC0415

    engine = engine_by_name("builtin")
    began = time.perf_counter()
    file = ScratchFile()
    DirectoryBucket(bucket).download("observations.csv", file)
    downloaded = time.perf_counter()
    observations = observations_from_csv(file.opened(), name="observations.csv")
    parsed = time.perf_counter()
    survey = engine.prepare(observations, EngineSettings())
    return {
        "rows": len(observations),
        "download_seconds": downloaded - began,
        "parse_seconds": parsed - downloaded,
        "prepare_seconds": time.perf_counter() - parsed,
        "survey_mb": survey.nbytes / 1e6,
    }


def chooser(bucket: Path) -> dict[str, float]:
    """Choose three test orbits, as `flows.submit --orbits auto --number 3` does from the canonical csv."""
    from tasks.engines.orbit_selection.choice import SelectionSettings  # noqa: PLC0415 (only what it loads)
    from tasks.engines.orbit_selection.footprint import COLUMNS  # noqa: PLC0415
    from tasks.engines.settings import EngineSettings  # noqa: PLC0415
    from tasks.inputs.choose_orbits import choose_for_observations  # noqa: PLC0415
    from tasks.inputs.observations_file import observations_from_csv  # noqa: PLC0415

    began = time.perf_counter()
    with (bucket / "observations.csv").open("rb") as file:
        table = observations_from_csv(file, name="observations.csv", columns=COLUMNS)
    parsed = time.perf_counter()
    chosen = choose_for_observations(
        table, settings=EngineSettings(), selection=SelectionSettings(number=3), name="observations.csv"
    )
    return {
        "orbits": len(chosen.orbits),
        "auto_parse_seconds": parsed - began,
        "choose_seconds": time.perf_counter() - parsed,
    }


def measured(role: str, *paths: Path) -> dict[str, float]:
    """Run a role in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.large_file", "--role", role, *map(str, paths)]
    return json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout)


def play(role: str, paths: list[Path]) -> None:
    """Do the work of a role, and print what it took."""
    from tests.bench.child import peak_memory_mb  # noqa: PLC0415 (with the engine's interface)

    found = ROLES[role].play(*paths)
    took = {"cpu_seconds": time.process_time(), "peak_memory_mb": peak_memory_mb()}
    print(json.dumps({name: round(value, 1) for name, value in {**found, **took}.items()}))


def measure(n_rows: int) -> dict[str, Any]:
    """Measure every role on a file of so many rows."""
    with tempfile.TemporaryDirectory() as name:
        path, bucket = Path(name) / "observations.csv", Path(name) / "bucket"
        write_file(path, n_rows)
        size_mb = round(path.stat().st_size / 1e6)
        return {
            "size_mb": size_mb,
            "client": measured("client", path, bucket),
            "chooser": measured("chooser", bucket),
            "worker": measured("worker", bucket),
        }


@dataclass(frozen=True)
class Role:
    """What one process does, and the titles of what it finds."""

    play: Callable[..., dict[str, float]]
    titles: Mapping[str, str]


TAKEN = {"cpu_seconds": "CPU s", "peak_memory_mb": "peak MB"}

ROLES = {
    "client": Role(
        client,
        {"read_and_check_seconds": "client: read and check, s", "upload_seconds": "upload to a directory, s", **TAKEN},
    ),
    "chooser": Role(
        chooser, {"auto_parse_seconds": "`--orbits auto`: read, s", "choose_seconds": "choose 3, s", **TAKEN}
    ),
    "worker": Role(
        worker,
        {
            "download_seconds": "worker: download, s",
            "parse_seconds": "parse, s",
            "prepare_seconds": "prepare, s",
            "survey_mb": "survey, MB",
            **TAKEN,
        },
    ),
}


def section(results: list[dict[str, Any]]) -> str:
    """Return the table for people."""
    titles = ["rows", "csv, MB", *(title for role in ROLES.values() for title in role.titles.values())]
    rows = [titles, ["---"] * len(titles), *map(_cells, results)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cells(result: dict[str, Any]) -> list[str]:
    count = f"{result['client']['rows']:,.0f}".replace(",", " ")
    figures = [result[name][key] for name, role in ROLES.items() for key in role.titles]
    return [count, str(result["size_mb"]), *map(str, figures)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.large_file", description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help=f"default: {ROWS}; may be repeated")
    parser.add_argument("--write", action="store_true", help="write BENCHMARKS.md and large_file.json")
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        play(options.role, options.paths)
        return 0
    write(options.rows or [ROWS], keep=options.write)
    return 0


def write(rows: list[int], *, keep: bool) -> None:
    """Measure and print; keep the results when asked."""
    results = [measure(each) for each in rows]
    print(section(results))
    if keep:
        when, load = dt.datetime.now(dt.UTC).date().isoformat(), os.getloadavg()[0]
        found = {"date": when, "machine": machine(), "load": round(load, 1), "results": results}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        text = f"{when}. {machine()}. Load of the machine {load:.1f}.\n\n{section(results)}"
        DOCUMENT.write_text(text_with_section(DOCUMENT.read_text(), text, name=LARGE_FILE))


if __name__ == "__main__":
    sys.exit(main())
