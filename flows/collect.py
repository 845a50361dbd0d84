"""`thor-collect`: bring a job's outputs home and merge them. `python -m flows.collect JOB --output DIR`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefect import flow

from flows.shown.result_page import show_results
from flows.terminal import command_line
from tasks import instrument, steps
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.inputs.config_file import read_config
from tasks.inputs.orbits_file import read_orbits
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.records.ids import job_id_from_text
from tasks.records.manifest import Manifest
from tasks.records.progress import JobProgress
from tasks.results.completeness import Figures, sentence_of
from tasks.results.job_results import CollectOptions, JobResults, collect_results
from tasks.settings import settings_from_environment
from tasks.wording import counted

DEFAULT_OUTPUT = Path("thor_output")
"""Where outputs go when nobody says otherwise: a directory of the job's name in it."""


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
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
        output: A directory on the machine that runs this flow; None: thor_output/JOB_ID.
        config: File of settings whose keys ades.* go before those of the job; other keys change nothing any more.
        catalogue: File of orbits of known objects, in the form of test orbits; None: nothing is attributed.
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
            f"finished; {counted(found.recovered_orbits, 'recovered orbit')}."
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
