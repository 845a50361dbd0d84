"""`thor-collect`: bring a job's outputs home and merge them. `python -m flows.collect JOB --output DIR`."""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from flows import command_line
from tasks import instrument, steps
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.jobs.completeness import Figures, sentence_of, share_text
from tasks.jobs.config_file import read_config
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.jobs.orbits_file import read_orbits
from tasks.jobs.results import CollectOptions, JobResults, collect_results
from tasks.records.ids import job_id_from_text
from tasks.records.manifest import Manifest
from tasks.records.progress import JobProgress
from tasks.records.status import Status
from tasks.settings import settings_from_environment

DEFAULT_OUTPUT = Path("thor_output")
"""Where outputs go when nobody says otherwise: a directory of the job's name in it."""


SHOWN_PICTURE_BYTES = 100_000
"""So much of the pictures is put beside the flow run: a page of Prefect should stay below 200 kB."""
SHOWN_FAILURES = 50
"""So many failed tasks stand on that page; the table of tasks has them all."""


@dataclass(frozen=True)
class Collected(JobProgress):
    """Counts of tasks, and what was brought home."""

    recovered_orbits: int = 0
    output: str = ""
    report: str = ""
    #: Reports for the Minor Planet Center, and why there are not more.
    ades: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Completeness and purity where the observations tell the truth; else empty.
    truth: Figures = field(default_factory=dict)


@flow(name="thor-collect", flow_run_name="{job_id}", description="Bring a job's outputs home and merge them.")
def collect_job(
    job_id: str,
    bucket: str | None = None,
    output: Path | None = None,
    config: Path | None = None,
    catalogue: Path | None = None,
) -> Collected:
    """Collect the tasks that have come to an end, and return the counts; those that have not are left out.

    Args:
        job_id: The job.
        bucket: gs://NAME or file:///PATH; empty: the one that the environment names.
        output: A directory on the machine that runs this flow; empty: thor_output/<job_id>.
        config: File of settings whose keys ades.* go before those of the job; other keys change nothing any more.
        catalogue: File of orbits of known objects, in the form of test orbits; empty: nothing is attributed.
    """
    options = collect_options(config, catalogue)
    store = open_bucket_from_settings(settings_from_environment(), bucket or None)
    layout = JobLayout(job_id_from_text(job_id))
    manifest = read_manifest(store, layout)
    watch = JobWatch(store, layout, manifest.task_ids)
    watch.look()
    results = bring_home(watch, manifest, output=output, options=options)
    show_results(results, job_id=job_id, totals=results.truth)
    return Collected(
        **vars(watch.progress),
        recovered_orbits=len(results.merged.orbits),
        output=str(results.output),
        report=str(results.report),
        ades=tuple(str(results.output / name) for name in results.ades.bodies),
        notes=tuple(results.ades.notes),
        truth=results.truth,
    )


def collect_options(config: Path | None, catalogue: Path | None) -> CollectOptions:
    """Read and check the files that collecting takes."""
    return CollectOptions(
        ades=read_config(config).ades if config else {},
        catalogue=read_orbits(catalogue) if catalogue else None,
    )


def bring_home(
    watch: JobWatch, manifest: Manifest, *, output: Path | None, options: CollectOptions | None = None
) -> JobResults:
    """Collect as a Prefect task."""
    collect = steps.collect if instrument.is_in_run() else collect_results
    home = home_of_results(manifest.job_id, output)
    results: JobResults = collect(watch, manifest=manifest, output=home, options=options or CollectOptions())
    return results


def home_of_results(job_id: str, output: Path | None) -> Path:
    """Return the directory that the results of a job go to."""
    return (output or DEFAULT_OUTPUT / job_id).absolute()


def show_results(results: JobResults, *, job_id: str, totals: Mapping[str, Any] | None = None) -> None:
    """Put a page of results beside the flow run: totals, failures with their errors, and pictures of the orbits.

    Parameters
    ----------
    totals
        What else is known of the job, such as its completeness where the truth is known.
    """
    rows = [
        {
            "task": task.task_id,
            "state": task.status.state,
            "attempts": task.status.attempt,
            "error": _first_line(task.status),
        }
        for task in results.tasks
    ]
    key = f"thor-job-{job_id}".lower()
    instrument.show_table(f"{key}-tasks", rows, f"Tasks of job {job_id}")
    title = f"Job {job_id}: {command_line.counted(len(results.merged.orbits), 'recovered orbit')}"
    sizes = itertools.accumulate(len(picture.png) for picture in results.pictures)
    chosen = [picture for picture, size in zip(results.pictures, sizes, strict=True) if size <= SHOWN_PICTURE_BYTES]
    pictures = [(picture.title, picture.png) for picture in chosen]
    instrument.show_pictures(f"{key}-results", title, pictures, text=text_of_results(results, totals or {}))


def text_of_results(results: JobResults, totals: Mapping[str, Any]) -> str:
    """Return totals and failures as tables in markdown."""
    facts: dict[str, object] = {"tasks": len(results.tasks)}
    facts |= {str(state): count for state, count in Counter(task.status.state for task in results.tasks).items()}
    facts |= {"recovered_orbits": len(results.merged.orbits), **totals, "files": f"`{results.output}`"}
    lines = [(name.replace("_", " "), _value(value)) for name, value in facts.items()]
    parts = [_markdown_table(("of the job", "value"), lines)]
    failed = [task for task in results.tasks if task.status.state == "failed"]
    if failed:
        errors = [(task.task_id, task.status.error_kind, _first_line(task.status)) for task in failed[:SHOWN_FAILURES]]
        more = f", the first {SHOWN_FAILURES} of them" if len(failed) > SHOWN_FAILURES else ""
        parts += [
            f"### {command_line.counted(len(failed), 'failure')}{more}",
            _markdown_table(("task", "kind", "error"), errors),
        ]
    return "\n\n".join(parts)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _value(value: object) -> str:
    return share_text(value) if value is None or isinstance(value, float) else str(value)


def _first_line(status: Status) -> str:
    return status.error.splitlines()[0] if status.error else ""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "collect", "Downloads the outputs of a job's tasks that have come to an end, and merges the recovered orbits."
    )
    command_line.add_job_argument(parser)
    command_line.add_bucket_option(parser)
    parser.add_argument("--output", metavar="DIR", type=Path, help="where to (default: thor_output/JOB)")
    parser.add_argument("--config", metavar="FILE", type=Path, help="its keys ades.* go before those of the job")
    add_catalogue_option(parser)
    return parser.parse_args(arguments)


def add_catalogue_option(parser: argparse.ArgumentParser) -> None:
    """Add --catalogue."""
    parser.add_argument(
        "--catalogue",
        metavar="FILE",
        type=Path,
        help="orbits of known objects, csv or parquet like test orbits: recovered objects get their names",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 only when every task has succeeded."""
    options = parse_arguments(arguments)
    found = command_line.show_run(
        collect_job, options.job_id, options.bucket, options.output, options.config, options.catalogue
    )
    if options.json:
        command_line.print_json(found)
    else:
        unfinished = found.requested + found.in_progress
        command_line.print_line(
            f"Job {options.job_id}: {found.succeeded} tasks succeeded, {found.failed} failed, {unfinished} not "
            f"finished; {command_line.counted(found.recovered_orbits, 'recovered orbit')}."
        )
        if found.truth:
            command_line.print_line(sentence_of(found.truth))
        command_line.print_line(f"Outputs: {found.output}")
        command_line.print_line(f"Report:  {found.report}")
        for line in (*(f"ADES:    {path}" for path in found.ades), *found.notes):
            command_line.print_line(line)
    return command_line.DONE if found.succeeded == found.total else command_line.FAILED


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
