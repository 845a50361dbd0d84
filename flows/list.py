"""`python -m flows.list`: the jobs of a bucket, newest first, with the number of their tasks in each state."""

import argparse
import sys
from collections.abc import Sequence

from prefect import flow

from flows.terminal import command_line
from tasks import instrument
from tasks.bootstrap import open_bucket_from_settings
from tasks.operations.jobs_list import JobsList, JobSummary, list_jobs
from tasks.settings import settings_from_environment
from tasks.wording import counted

NEWEST = 20
"""So many jobs are listed when nobody says otherwise: the status of each of their tasks is read."""

COLUMNS = ("job", "created (UTC)", "tasks", "requested", "in_progress", "succeeded", "failed", "notes")


@flow(name="thor-list", description="The jobs of a bucket, newest first.")
def list_of_jobs(bucket: str | None = None, limit: int | None = NEWEST) -> JobsList:
    """Return the newest jobs of a bucket."""
    found = list_jobs(open_bucket_from_settings(settings_from_environment(), bucket or None), limit=limit)
    if instrument.is_in_run():
        instrument.show_table("thor-jobs", [dict(zip(COLUMNS, row(job), strict=True)) for job in found.jobs], "Jobs")
    return found


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "list", "Lists the jobs of a bucket, newest first, with the number of their tasks in each state."
    )
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--all", action="store_true", help="every job")
    how_many.add_argument("--limit", metavar="N", type=int, default=NEWEST, help=f"so many (default: {NEWEST})")
    command_line.add_bucket_option(parser)
    options = parser.parse_args(arguments)
    if options.limit < 1:
        parser.error(f"--limit is {options.limit}: expected 1 or more")
    return options


def show(found: JobsList) -> None:
    """Print the table."""
    if not found.jobs:
        command_line.print_line(f"There are no jobs in {found.bucket}.")
        return
    command_line.print_table(COLUMNS, [row(job) for job in found.jobs])
    if found.n_left_out:
        command_line.print_line(f"{counted(found.n_left_out, 'older job')} left out; --all shows them.")


def row(job: JobSummary) -> tuple[object, ...]:
    """Return the cells of one job."""
    created = None if job.created_at is None else f"{job.created_at:%Y-%m-%d %H:%M}"
    counts = job.progress
    return (
        job.job_id,
        created,
        counts.total,
        counts.requested,
        counts.in_progress,
        counts.succeeded,
        counts.failed,
        "; ".join(job.notes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    limit = None if options.all else options.limit
    found = command_line.show_run(list_of_jobs, options.bucket, limit=limit)
    command_line.print_json(found) if options.json else show(found)
    return command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
