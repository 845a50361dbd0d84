"""Whole surveys through choice, engine and merge: how complete, how pure, at what cost. `make bench ARGS=--survey`.

One process, one thread: what `--orbits auto`, a worker and `collect` compute, between tables in memory. Queue, bucket
and files are left out; each stage's CPU seconds are those of all tasks together.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.orbit_selection.choice import Selection, SelectionSettings, select_test_orbits
from tasks.engines.registry import engine_by_name
from tasks.engines.score import CONTAMINATED, FALSE, PURE, Score, score_orbits
from tasks.engines.settings import EngineSettings
from tasks.engines.warm_up import warm_up
from tasks.jobs.checkpoints import parquet_from_table
from tasks.records.ids import TaskId
from tasks.results.merge_results import MergedResults, merge_results
from tests.bench.child import PREPARE, timed
from tests.bench.report import WHOLE_SURVEYS, machine, text_with_section
from tests.bench.whole_survey import WHOLE, WholeSurvey, make_whole_survey

DOCUMENT = Path(__file__).parents[2] / "BENCHMARKS.md"
RESULTS = Path(__file__).with_name("whole.json")

EVERY_SURVEY = (("wide", 1), ("wide", 2), ("deep", 1))
"""What `make bench` runs: case, seed."""

CHOOSE, MERGE = "choose test orbits", "merge tasks"

CURVE = (1, 2, 3, 5, 8, 12, 20, 30, 45, 70)
"""After so many test orbits, in the order of choice, completeness is told."""


@dataclass(frozen=True)
class FoundTask:
    """What `merge_results` wants of a task, and what it cost."""

    task_id: TaskId
    orbit_id: str
    tables: dict[str, pa.Table]
    #: CPU seconds of each stage.
    seconds: dict[str, float]

    def read(self, file_name: str) -> bytes:
        return parquet_from_table(self.tables[file_name.removesuffix(".parquet")])


@dataclass(frozen=True)
class WholeRun:
    """A survey and all that was made of it."""

    survey: WholeSurvey
    selection: Selection
    tasks: Sequence[FoundTask]
    merged: MergedResults
    score: Score
    #: CPU seconds of what is not a task: choosing, preparing, merging.
    seconds: dict[str, float]


def run_whole(
    survey: WholeSurvey, settings: EngineSettings | None = None, selection: SelectionSettings | None = None
) -> WholeRun:
    """Choose test orbits, do all tasks, merge and judge."""
    settings, selection = settings or EngineSettings(), selection or SelectionSettings()
    engine = engine_by_name("builtin")
    seconds: dict[str, float] = {}
    wall: dict[str, float] = {}
    with timed(CHOOSE, seconds, wall):
        chosen = select_test_orbits(survey.observations, settings=settings, selection=selection)
    with timed(PREPARE, seconds, wall):
        prepared = engine.prepare(survey.observations, settings)
    tasks = [_task(engine, prepared, chosen.table.slice(row, 1), settings) for row in range(len(chosen.table))]
    with timed(MERGE, seconds, wall):
        merged = merge_results(tasks)
    return WholeRun(survey, chosen, tasks, merged, score_of(survey, merged, settings), seconds)


def _task(engine: Any, prepared: Any, test_orbit: pa.Table, settings: EngineSettings) -> FoundTask:
    seconds: dict[str, float] = {}
    problem = LinkingProblem(prepared, test_orbit, settings)
    tables: dict[str, pa.Table] = {}
    for stage in STAGES:
        with timed(stage, seconds, {}):
            tables |= getattr(engine, stage)(problem, tables).tables
    found = {name: tables[name] for name in ("recovered_orbits", "recovered_orbit_members")}
    name = test_orbit["orbit_id"][0].as_py()
    return FoundTask(TaskId(name), name, found, seconds)


def score_of(survey: WholeSurvey, merged: MergedResults, settings: EngineSettings) -> Score:
    return score_orbits(survey.observations, survey.truth, merged.members, settings=settings.cluster_and_link)


def group_of(object_id: str) -> str:
    """The group in an object's name."""
    return object_id.rsplit("_", 1)[0]


def by_group(score: Score) -> dict[str, tuple[int, int]]:
    """Found and findable objects of each group that has any, in the order of their names."""
    objects = score.objects.filter(score.objects["findable"])
    groups = np.array([group_of(name) for name in objects["object_id"].to_pylist()], dtype=object)
    found = objects["recovered"].to_numpy()
    return {group: (int(found[groups == group].sum()), int((groups == group).sum())) for group in sorted(set(groups))}


def reached_as_expected(run: WholeRun) -> tuple[float, float]:
    """Coverage printed, and reached where groups weigh as the model expects them: the survey has more of the rare."""
    found = by_group(run.score)
    groups = [group for group in run.selection.groups if group.share is not None and group.group in found]
    weight = np.array([group.expected for group in groups])
    printed = np.array([group.share for group in groups], dtype=np.float64)
    reached = np.array([found[group.group][0] / found[group.group][1] for group in groups])
    return float(weight @ printed / weight.sum()), float(weight @ reached / weight.sum())


def measure_whole(case: str, seed: int) -> dict[str, Any]:
    """Everything about one whole survey, ready for JSON."""
    made: dict[str, float] = {}
    with timed("generate", made, {}):
        survey = make_whole_survey(WHOLE[case], seed=seed)
    run = run_whole(survey)
    printed, reached = reached_as_expected(run)
    score = run.score
    return {
        "case": case,
        "seed": seed,
        "detections": survey.observations.num_rows,
        "generate_cpu_seconds": made["generate"],
        "test_orbits": len(run.tasks),
        "findable": score.findable,
        "recovered": score.recovered,
        "observation_completeness": _of_found(score),
        "orbits": score.orbits.num_rows,
        "purity": score.purity,
        **{verdict: score.count(verdict) for verdict in (PURE, CONTAMINATED, FALSE)},
        "objects_with_two_orbits": int((score.objects["num_orbits"].to_numpy() > 1).sum()),
        "groups": by_group(score),
        "expected": {group.group: group.share for group in run.selection.groups},
        "coverage_printed": printed,
        "coverage_reached": reached,
        "cpu_seconds": {
            **run.seconds,
            **{stage: sum(task.seconds[stage] for task in run.tasks) for stage in STAGES},
        },
        "tasks": {task.orbit_id: round(sum(task.seconds.values()), 3) for task in run.tasks},
        "curve": curve(run),
    }


def _of_found(score: Score) -> float:
    """Share of the detections of found objects that are with them."""
    found = score.objects.filter(score.objects["recovered"])
    expected = found["expected_obs"].to_numpy().sum()
    return float(found["recovered_obs"].to_numpy().sum() / expected) if expected else float("nan")


def curve(run: WholeRun) -> list[dict[str, float]]:
    """Completeness after some test orbits, in the order of choice, over the CPU seconds until then."""
    settings = EngineSettings()
    before = run.seconds[CHOOSE] + run.seconds[PREPARE]
    spent = before + np.cumsum([sum(task.seconds.values()) for task in run.tasks])
    points = []
    for count in [count for count in CURVE if count < len(run.tasks)] + [len(run.tasks)]:
        score = score_of(run.survey, merge_results(run.tasks[:count]), settings)
        groups = {group: found / of for group, (found, of) in by_group(score).items()}
        points.append(
            {"test_orbits": count, "cpu_seconds": float(spent[count - 1]), "completeness": score.completeness, **groups}
        )
    return points


def section(results: Sequence[dict[str, Any]]) -> str:
    """The tables for people."""
    return "\n\n".join(
        [
            _table(
                ["survey", "seed", "detections", "test orbits", "found of findable", "their detections", "orbits",
                 "pure / contaminated / false", "two orbits", "CPU s: choose", "range, link, IOD, OD, merge", "all"],
                [_overview(result) for result in results],
            ),
            "Found of findable, and the share that `--orbits auto` said before:",
            _table(["survey", "seed", *_groups(results), "all, as the model counts"], [_shares(r) for r in results]),
            "Completeness over CPU seconds, choosing included, after so many test orbits:",
            _table(["survey", "seed", *map(str, _counts(results))], [_curve(each, results) for each in results]),
        ]
    )  # fmt: skip


def _overview(result: dict[str, Any]) -> list[str]:
    cpu = result["cpu_seconds"]
    return [
        result["case"],
        str(result["seed"]),
        f"{result['detections']:,}".replace(",", " "),
        str(result["test_orbits"]),
        f"{result['recovered']} of {result['findable']} ({result['recovered'] / result['findable']:.1%})",
        f"{result['observation_completeness']:.1%}",
        str(result["orbits"]),
        " / ".join(str(result[verdict]) for verdict in (PURE, CONTAMINATED, FALSE)),
        str(result["objects_with_two_orbits"]),
        f"{cpu[CHOOSE]:.1f}",
        ", ".join(f"{cpu[stage]:.1f}" for stage in STAGES),
        f"{sum(cpu.values()):.1f}",
    ]


def _groups(results: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({group for result in results for group in result["groups"]})


def _shares(result: dict[str, Any]) -> list[str]:
    cells = [result["case"], str(result["seed"])]
    for group in _groups([result]):
        found, of = result["groups"][group]
        expected = result["expected"].get(group)
        cells.append(f"{found} of {of}, {found / of:.1%} (said {_percent(expected)})")
    return [*cells, f"{result['coverage_reached']:.1%} (said {result['coverage_printed']:.1%})"]


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{share:.0%}"


def _counts(results: Sequence[dict[str, Any]]) -> list[int]:
    return sorted({point["test_orbits"] for result in results for point in result["curve"]})


def _curve(result: dict[str, Any], results: Sequence[dict[str, Any]]) -> list[str]:
    points = {point["test_orbits"]: point for point in result["curve"]}
    cells = [
        f"{points[count]['completeness']:.1%} in {points[count]['cpu_seconds']:.0f} s" if count in points else ""
        for count in _counts(results)
    ]
    return [result["case"], str(result["seed"]), *cells]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))


def measure_and_write(surveys: Sequence[tuple[str, int]], *, keep: bool) -> None:
    """Measure and print; with `keep` into BENCHMARKS.md and whole.json."""
    warm_up()
    started, results = time.time(), []
    for case, seed in surveys:
        results.append(measure_whole(case, seed))
        print(section(results[-1:]), flush=True)
    if not keep:
        return
    when = dt.datetime.fromtimestamp(started, dt.UTC).date().isoformat()
    load = os.getloadavg()[0]
    RESULTS.write_text(
        json.dumps({"date": when, "machine": machine(), "load": round(load, 1), "results": results}, indent=1) + "\n"
    )
    version = engine_by_name("builtin").version
    told = f"{when}. {machine()}. Engine {version}. Load of the machine {load:.1f}.\n\n{section(results)}"
    DOCUMENT.write_text(text_with_section(DOCUMENT.read_text(), told, name=WHOLE_SURVEYS))
    print(f"Wrote {DOCUMENT.name} and {RESULTS.name}.")
