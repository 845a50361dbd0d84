"""The benchmarks of the builtin engine and of the show in Prefect: `python -m tests.bench --help`."""

import argparse
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.engines.interface import STAGES
from tests.bench import large_file
from tests.bench.cases import CASES
from tests.bench.cold_start import cold_start
from tests.bench.measure import REPOSITORY, Asked, measure
from tests.bench.orchestration import measure_orchestration, section
from tests.bench.report import ORCHESTRATION, cold_start_table, machine, table, text_with_section
from tests.bench.whole import EVERY_SURVEY, measure_and_write
from tests.bench.whole_survey import WHOLE

DOCUMENT = REPOSITORY / "BENCHMARKS.md"
RESULTS = Path(__file__).with_name("results.json")
ORCHESTRATION_RESULTS = Path(__file__).with_name("orchestration.json")

EVERYTHING = (
    *(Asked("20k", seed) for seed in range(1, 6)),
    Asked("20k", threads=2),
    *(Asked("cell", seed, repeat=5) for seed in range(1, 6)),
    Asked("100k"),
    Asked("300k", repeat=1),
    Asked("1m", threads=2, repeat=1),
    *(Asked(name) for name in CASES if name not in ("20k", "cell", "100k", "300k", "1m")),
)
"""What `make bench` runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.orchestration:
        _write_orchestration(measure_orchestration())
        return 0
    if options.survey is not None:
        asked = [(case, seed) for case in options.survey for seed in options.seed or [1]]
        measure_and_write(asked or EVERY_SURVEY, keep=options.write or not asked)
        return 0
    chosen = _chosen(options) if options.case else list(EVERYTHING)
    # Compiling takes memory of its own: no measurement should find an empty cache.
    subprocess.run([sys.executable, "-m", "tasks.engines.warm_up"], cwd=REPOSITORY, check=True, stdout=sys.stderr)
    measurements, failed = _measured(chosen, as_json=options.json)
    if not options.json:
        print(f"\n{table(measurements)}\n\n{machine()}")
    if measurements and (options.write or not options.case):
        _write(measurements, cold_start())
    if not options.case:
        measure_and_write(EVERY_SURVEY, keep=True)
        large_file.write([large_file.ROWS], keep=True)
        _write_orchestration(measure_orchestration())
    return 1 if failed else 0


def _measured(chosen: Sequence[Asked], *, as_json: bool) -> tuple[list[dict[str, Any]], list[Asked]]:
    """Measure one after the other; one that fails is told, and does not cost the others."""
    measurements: list[dict[str, Any]] = []
    failed = []
    for asked in chosen:
        try:
            measurements.append(measure(asked))
        except subprocess.CalledProcessError as error:
            failed.append(asked)
            print(f"{asked.case}, seed {asked.seed}, ended with code {error.returncode}.", file=sys.stderr, flush=True)
            continue
        print(json.dumps(measurements[-1]) if as_json else table(measurements).splitlines()[-1], flush=True)
    return measurements, failed


def _chosen(options: argparse.Namespace) -> list[Asked]:
    return [
        Asked(case, seed, options.threads, options.stage, options.repeat)
        for case in options.case
        for seed in options.seed or [1]
    ]


def _write(measurements: list[dict[str, Any]], start: dict[str, dict[str, float]]) -> None:
    when = dt.datetime.now(dt.UTC).date().isoformat()
    results = {"date": when, "machine": machine(), "cold_start": start, "results": measurements}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    section = (
        f"{when}. {machine()}. Engine {measurements[0]['engine']}.\n\n{table(measurements)}\n\n"
        f"From the start of the interpreter:\n\n{cold_start_table(start)}"
    )
    DOCUMENT.write_text(text_with_section(DOCUMENT.read_text(), section))
    print(f"Wrote {DOCUMENT.name} and {RESULTS.relative_to(REPOSITORY)}.", file=sys.stderr)


def _write_orchestration(measured: dict[str, Any]) -> None:
    when = dt.datetime.now(dt.UTC).date().isoformat()
    ORCHESTRATION_RESULTS.write_text(json.dumps({"date": when, "machine": machine(), **measured}, indent=1) + "\n")
    text = text_with_section(DOCUMENT.read_text(), section(measured, when), name=ORCHESTRATION)
    DOCUMENT.write_text(text)
    print(section(measured, when))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the builtin engine on surveys whose truth is known. Without --case: everything, and the "
        "results go to BENCHMARKS.md and to json files in tests/bench/.",
    )
    parser.add_argument(
        "--orchestration", action="store_true", help="only what Prefect costs; goes to BENCHMARKS.md, too"
    )
    parser.add_argument(
        "--survey",
        nargs="*",
        choices=list(WHOLE),
        help="only whole surveys: test orbits chosen, all tasks, merged; without a name those of BENCHMARKS.md",
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this survey; may be repeated")
    parser.add_argument("--seed", action="append", type=int, help="of the survey (default 1); may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", choices=STAGES, default=STAGES[-1], help="the last stage to run")
    parser.add_argument("--repeat", type=int, default=2, help="report the fastest of so many runs")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--write", action="store_true", help="write the results although --case or a survey was given")
    return parser


if __name__ == "__main__":
    sys.exit(main())
