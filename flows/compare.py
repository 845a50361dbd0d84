"""`python -m flows.compare JOB_A JOB_B`: what two jobs found, such as those of two engines on one survey."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl, Positional
from flows.terminal.verb import Verb
from tasks.bucket.layout import JobLayout
from tasks.records.ids import job_id_from_text
from tasks.results.compare_jobs import SharedObject
from tasks.results.comparison_files import PAGE, JobsComparison, compare_jobs, totals_of, write_comparison
from tasks.wording import counted

MOST_ROWS = 40
"""Objects that the terminal shows; the csv and the page have all."""
COLUMNS = ("orbit of JOB_A", "orbit of JOB_B", "a [au]", "in common", "gained", "lost", "sigma")


@dataclass(frozen=True)
class Compared:
    """The comparison, and where it lies."""

    comparison: JobsComparison
    #: Its figures in short.
    totals: dict[str, str]
    output: str


def compare(
    job_a: Annotated[str, Positional("JOB_A")],
    job_b: Annotated[str, Positional("JOB_B")],
    bucket: BucketUrl = None,
    output: Path | None = None,
) -> Compared:
    """Compare what two jobs found: objects of both and of one alone, orbits in sigmas, detections gained and lost.

    For example the jobs of two engines, or of two settings, on the same observations. Tasks that have not succeeded
    are left out. A page and two tables as csv are written; nothing in the bucket is changed.

    Args:
        job_a: The job to start from.
        job_b: The job to compare with it.
        output: Directory for the page and the tables. Default: thor_output/JOB_A-JOB_B.
    """
    first, second = (JobLayout(job_id_from_text(job_id)) for job_id in (job_a, job_b))
    store = bucket_of(bucket)
    comparison = compare_jobs(store, first, second)
    home = (output or Path("thor_output") / f"{first.job_id}-{second.job_id}").absolute()
    write_comparison(comparison, home)
    return Compared(comparison, totals_of(comparison), str(home))


def show(compared: Compared) -> None:
    """Tell a person what was compared."""
    comparison = compared.comparison
    for job in (comparison.job_a, comparison.job_b):
        command_line.print_line(f"Job {job.job_id}: engine {job.engine}, {counted(job.n_objects, 'object')}.")
    shared = comparison.found.shared
    command_line.print_table(COLUMNS, [row(each) for each in shared[:MOST_ROWS]])
    if len(shared) > MOST_ROWS:
        command_line.print_line(f"{len(shared) - MOST_ROWS} more are in the files.")
    for job, lone in ((comparison.job_a, comparison.found.only_a), (comparison.job_b, comparison.found.only_b)):
        names = ", ".join(each.orbit_id for each in lone[:MOST_ROWS]) or "none"
        command_line.print_line(f"Only found by {job.job_id}: {counted(len(lone), 'object')} ({names}).")
    command_line.print_line("; ".join(f"{name}: {value}" for name, value in compared.totals.items()))
    for note in comparison.notes:
        command_line.print_line(note)
    command_line.print_line(f"Page: {compared.output}/{PAGE}")


def row(each: SharedObject) -> tuple[object, ...]:
    """Return the cells of one object."""
    sigmas = None if each.sigmas is None else f"{each.sigmas:.2f}"
    return (each.orbit_a, each.orbit_b, f"{each.a_au:.4f}", each.n_common, each.n_gained, each.n_lost, sigmas)


main = Verb("compare", compare, show=show)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
