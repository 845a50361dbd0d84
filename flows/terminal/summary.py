"""What a person reads at the end of a job: a table of its tasks, totals, and where everything is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flows.terminal import command_line
from flows.terminal.local_processes import PrefectServer
from tasks.engines.settings import EngineSettings
from tasks.inputs.job_inputs import JobInputs
from tasks.jobs.collect import CollectedTask
from tasks.records.manifest import Manifest
from tasks.results.completeness import figures_of, sentence_of
from tasks.results.job_results import JobResults
from tasks.results.report import seconds_of
from tasks.wording import counted

MOST_ROWS = 60
"""Most tasks in a table on a terminal; of a larger job it has those that failed."""

Row = dict[str, Any]


@dataclass(frozen=True)
class JobOutcome:
    """What came of a job that has come to its end."""

    manifest: Manifest
    inputs: JobInputs
    results: JobResults

    @property
    def all_succeeded(self) -> bool:
        """Whether no task failed."""
        return all(task.status.state == "succeeded" for task in self.results.tasks)


@dataclass(frozen=True)
class Submitted:
    """What a command that submits a job has to tell."""

    job_id: str
    #: None: it was only submitted.
    outcome: JobOutcome | None
    #: The Prefect server that shows it; None: none.
    server: PrefectServer | None

    @property
    def has_failed(self) -> bool:
        """Whether a task failed."""
        return self.outcome is not None and not self.outcome.all_succeeded


def document_of(submitted: Submitted) -> dict[str, Any]:
    """Return what is told about a job, for programs."""
    return {"job_id": submitted.job_id} if submitted.outcome is None else report_of(submitted.outcome)


def show(submitted: Submitted) -> None:
    """Tell a person what came of a job, or how to go on with one that was only submitted."""
    if submitted.outcome is not None:
        _print_report(report_of(submitted.outcome), submitted.server)
        return
    command_line.print_line(f"Job {submitted.job_id} is submitted.")
    command_line.print_line(f"Follow it: python -m flows.monitor {submitted.job_id}")
    command_line.print_line(f"Results:   python -m flows.collect {submitted.job_id} --output DIR")


def report_of(outcome: JobOutcome) -> dict[str, Any]:
    """Return everything that is told about a job, for programs."""
    rows = [_task_row(task) for task in outcome.results.tasks]
    totals: Row = {
        "tasks": len(rows),
        "succeeded": sum(row["state"] == "succeeded" for row in rows),
        "failed": sum(row["state"] == "failed" for row in rows),
        "recovered_orbits": len(outcome.results.merged.orbits),
    }
    totals |= outcome.results.truth if outcome.inputs.demo is None else _judge(rows, outcome)
    return {
        "job_id": outcome.manifest.job_id,
        "bucket": outcome.manifest.bucket,
        "output": str(outcome.results.output),
        "report": str(outcome.results.report),
        "orbits": str(outcome.results.orbits),
        "plots": str(outcome.results.plots),
        "ades": [str(outcome.results.output / name) for name in outcome.results.ades.bodies],
        "notes": list(outcome.results.ades.notes),
        "tasks": rows,
        "totals": totals,
    }


def _task_row(task: CollectedTask) -> Row:
    status = task.status
    return {
        "task_id": task.task_id,
        "orbit_id": task.orbit_id,
        "state": status.state,
        "attempts": status.attempt,
        "seconds": seconds_of(status),
        "error_kind": status.error_kind,
        "error": status.error,
    }


def _judge(rows: list[Row], outcome: JobOutcome) -> Row:
    """Add to each task of the demo what it found of its object, and return completeness and purity."""
    from tasks.engines.score import score_orbits  # noqa: PLC0415 (adam-core: 4 s that only the demo pays)

    demo, merged = outcome.inputs.demo, outcome.results.merged
    assert demo is not None  # noqa: S101 (asked before)
    score = score_orbits(demo.observations, demo.truth, merged.members, settings=EngineSettings().cluster_and_link)
    found = {row["object_id"]: row for row in score.objects.to_pylist()}
    reduced_chi2 = _column_by_orbit(merged.orbits, "rchi2")
    for row in rows:
        of_object = found[row["orbit_id"]]
        row["recovered_observations"] = of_object["recovered_obs"]
        row["expected_observations"] = of_object["expected_obs"]
        row["reduced_chi2"] = reduced_chi2.get(of_object["orbit_id"])
    return dict(figures_of(score))


def _column_by_orbit(orbits: pa.Table, name: str) -> Mapping[str, float]:
    return dict(zip(orbits["orbit_id"].to_pylist(), orbits[name].to_pylist(), strict=True))


def _print_report(report: Mapping[str, Any], server: PrefectServer | None) -> None:
    rows, totals = report["tasks"], report["totals"]
    is_demo = bool(rows) and "recovered_observations" in rows[0]
    chosen = rows if len(rows) <= MOST_ROWS else [row for row in rows if row["state"] != "succeeded"][:MOST_ROWS]
    command_line.print_line()
    if chosen:
        _print_tasks(chosen, is_demo=is_demo)
        command_line.print_line()
    if len(chosen) < len(rows):
        command_line.print_line(f"({counted(len(rows) - len(chosen), 'more task')} not shown; --json lists all.)")
    failed = f", {totals['failed']} failed" if totals["failed"] else ""
    orbits = counted(totals["recovered_orbits"], "recovered orbit")
    command_line.print_line(f"{totals['succeeded']} of {counted(totals['tasks'], 'task')} succeeded{failed}; {orbits}.")
    if "completeness" in totals:
        command_line.print_line(sentence_of(totals))
    command_line.print_line(f"Report:  {report['report']}")
    command_line.print_line(f"Orbits:  {report['orbits']}")
    command_line.print_line(f"Plots:   {report['plots']}")
    for path in report["ades"]:
        command_line.print_line(f"ADES:    {path}")
    command_line.print_line(f"Outputs: {report['output']} (of each task, in tasks/)")
    command_line.print_line(f"Bucket:  {report['bucket']} (job {report['job_id']})")
    for note in report["notes"]:
        command_line.print_line(note)
    if server is not None and server.home is not None:
        command_line.print_line(f"Runs:    PREFECT_HOME={server.home} prefect server start, then http://127.0.0.1:4200")
    elif server is not None:
        command_line.print_line(f"Runs:    {server.url.removesuffix('/api')}")


def _print_tasks(rows: list[Row], *, is_demo: bool) -> None:
    if is_demo:
        columns = ["object", "task", "observations", "reduced chi2", "seconds"]
        lines = [
            [
                row["orbit_id"],
                row["state"],
                f"{row['recovered_observations']} of {row['expected_observations']}",
                None if row["reduced_chi2"] is None else f"{row['reduced_chi2']:.2f}",
                row["seconds"],
            ]
            for row in rows
        ]
    else:
        columns = ["task", "state", "attempts", "seconds", "error"]
        lines = [[row["task_id"], row["state"], row["attempts"], row["seconds"], _first_line(row)] for row in rows]
    command_line.print_table(columns, lines)


def _first_line(row: Row) -> str | None:
    return row["error"].splitlines()[0][:100] if row["error"] else None
