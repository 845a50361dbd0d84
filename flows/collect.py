"""`thor-collect`: bring a job's outputs home and merge them. `python -m flows.collect JOB --output DIR`."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.shown.result_page import show_results
from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl, JobName
from flows.terminal.verb import Verb, thor_flow
from tasks.bucket.layout import JobLayout
from tasks.inputs.catalogue_file import read_catalogue
from tasks.inputs.config_file import read_config
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.prefect_api import instrument, steps
from tasks.records.ids import job_id_from_text
from tasks.records.manifest import Manifest
from tasks.records.progress import JobProgress
from tasks.results.completeness import Figures, sentence_of
from tasks.results.job_results import CollectOptions, JobResults, collect_results
from tasks.wording import counted

DEFAULT_OUTPUT = Path("thor_output")
"""Where outputs go by default: a directory of the job's name in it."""


@dataclass(frozen=True)
class Collected(JobProgress):
    """Counts of tasks, and what was brought home."""

    job_id: str = ""
    recovered_orbits: int = 0
    output: str = ""
    report: str = ""
    #: Reports for the Minor Planet Center, and why there are not more.
    ades: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Completeness and purity where the observations tell the truth; else empty.
    truth: Figures = field(default_factory=dict)


@thor_flow(name="thor-collect", flow_run_name="{job_id}")
def collect_job(
    job_id: JobName,
    bucket: BucketUrl = None,
    output: Path | None = None,
    config: Path | None = None,
    catalogue: Path | None = None,
    merge_only: bool = False,  # noqa: FBT001, FBT002 (a check box)
) -> Collected:
    """Download the outputs of a job, and merge its recovered orbits.

    Unfinished tasks are left out. The exit code is 0 only when every task has succeeded.

    Args:
        output: Directory for the results, on the machine that runs this. Default: thor_output/JOB_ID.
        config: File of settings: its keys ades.* override those of the job. Other keys have no effect any more.
        merge_only: Download of each task only the files that the merged results are made of, and why it failed: for
            jobs of many tasks.
    """
    options = replace(collect_options(config, catalogue), merge_only=merge_only)
    store = bucket_of(bucket)
    layout = JobLayout(job_id_from_text(job_id))
    manifest = read_manifest(store, layout)
    watch = JobWatch(store, layout, manifest.task_ids)
    watch.look()
    results = bring_home(watch, manifest, output=output, options=options)
    show_results(results, job_id=job_id, totals=results.truth)
    return Collected(
        **vars(watch.progress),
        job_id=job_id,
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
        catalogue=read_catalogue(catalogue) if catalogue else None,
    )


def bring_home(
    watch: JobWatch, manifest: Manifest, *, output: Path | None, options: CollectOptions | None = None
) -> JobResults:
    """Collect as a Prefect task."""
    collect = steps.collect if instrument.is_in_run() else collect_results
    home = home_of_results(manifest.job_id, output)
    results: JobResults = collect(watch, manifest=manifest, output=home, options=options or CollectOptions())
    return results


def home_of_results(job_id: JobName, output: Path | None) -> Path:
    """Return the directory that the results of a job go to."""
    return (output or DEFAULT_OUTPUT / job_id).absolute()


def show(found: Collected) -> None:
    """Tell a person what was brought home."""
    unfinished = found.requested + found.in_progress
    command_line.print_line(
        f"Job {found.job_id}: {counted(found.succeeded, 'task')} succeeded, {found.failed} failed, {unfinished} not "
        f"finished; {counted(found.recovered_orbits, 'recovered orbit')}."
    )
    if found.truth:
        command_line.print_line(sentence_of(found.truth))
    command_line.print_line(f"Outputs: {found.output}")
    command_line.print_line(f"Report:  {found.report}")
    for line in (*(f"ADES:    {path}" for path in found.ades), *found.notes):
        command_line.print_line(line)


main = Verb("collect", collect_job, show=show, is_failure=lambda found: found.succeeded < found.total)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
