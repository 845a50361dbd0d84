"""`python -m flows.clean_up`: take jobs out of the bucket that are old and done. It only tells, until --yes."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow

from flows.terminal import command_line
from tasks import instrument
from tasks.bootstrap import open_bucket_from_settings
from tasks.operations.clean_up import OldJob, clean_up, limits_from_days
from tasks.settings import settings_from_environment
from tasks.wording import counted

OLD_DAYS = 90.0
"""Jobs older than this are old when nobody says otherwise."""

COLUMNS = ("job", "created (UTC)", "verdict", "objects", "why")


@flow(name="thor-clean-up", description="Take jobs out of the bucket that are old and done.")
def clean_up_jobs(
    older_than_days: float = OLD_DAYS,
    dry_run: bool = True,  # noqa: FBT001, FBT002 (a check box)
    unfinished: bool = False,  # noqa: FBT001, FBT002
    bucket: str | None = None,
) -> list[OldJob]:
    """Delete old jobs, inputs and outputs, and return what became of each. Twice: safe.

    Args:
        older_than_days: Jobs that were submitted longer ago than this, by their manifest.
        dry_run: Only tell which jobs would go.
        unfinished: Also jobs with tasks that have not come to an end. Otherwise such a job always stays.
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
    """
    limits = limits_from_days(older_than_days, now=datetime.now(UTC), with_unfinished=unfinished)
    store = open_bucket_from_settings(settings_from_environment(), bucket or None)
    jobs = list(clean_up(store, limits, dry_run=dry_run))
    rows = [dict(zip(COLUMNS, row(job), strict=True)) for job in jobs]
    instrument.show_table("thor-clean-up", rows, f"Jobs older than {older_than_days:g} days")
    return jobs


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "clean_up",
        "Deletes jobs that are old and done: inputs, statuses, outputs. Without --yes it only tells which. A job with "
        "tasks that have not come to an end stays, and so does one without a manifest, which has no age.",
        epilog="Local copies that `flows.collect` made stay.",
    )
    parser.add_argument(
        "--older-than-days",
        metavar="N",
        type=float,
        default=OLD_DAYS,
        help=f"days since the job was submitted, by its manifest (default: {OLD_DAYS:g})",
    )
    parser.add_argument("--yes", action="store_true", help="delete; without it nothing is changed")
    parser.add_argument("--unfinished", action="store_true", help="also jobs whose tasks have not come to an end")
    command_line.add_bucket_option(parser)
    return parser.parse_args(arguments)


def show(jobs: Sequence[OldJob], *, dry_run: bool) -> None:
    """Tell a person what was done, or would be."""
    if jobs:
        command_line.print_table(COLUMNS, [row(job) for job in jobs])
    n_gone = sum(job.verdict != "kept" for job in jobs)
    gone = counted(n_gone, "job")
    command_line.print_line(f"{gone} would be deleted; say --yes if it is meant." if dry_run else f"{gone} deleted.")


def row(job: OldJob) -> tuple[object, ...]:
    """Return the cells of one job."""
    created = None if job.created_at is None else f"{job.created_at:%Y-%m-%d %H:%M}"
    return (job.job_id, created, job.verdict, job.n_deleted, job.why.partition("\n")[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    jobs = command_line.show_run(
        clean_up_jobs,
        options.older_than_days,
        dry_run=not options.yes,
        unfinished=options.unfinished,
        bucket=options.bucket,
    )
    command_line.print_json(jobs) if options.json else show(jobs, dry_run=not options.yes)
    is_left = any(job.verdict == "deleted" and job.why for job in jobs)
    return command_line.FAILED if is_left else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
