"""`python -m flows.status JOB`: what each task of a job is at; with --watch also which of them stall."""

import argparse
import sys
from collections.abc import Sequence

from prefect import flow
from pydantic import SecretStr

from flows.terminal import command_line
from flows.terminal.reporter import reporter, reporter_for_terminal, use_reporter
from tasks import instrument
from tasks.bootstrap import open_bucket_from_settings
from tasks.broker.urls import scheme_of
from tasks.bucket.layout import JobLayout
from tasks.operations.task_report import WATCHED_RENEWALS, JobReport, Observer, TaskReport, report_job
from tasks.records.ids import job_id_from_text
from tasks.settings import settings_from_environment
from tasks.wording import counted, waiting_for_engine

COLUMNS = ("task", "state", "stage", "attempt", "worker", "unmoved", "why")
STATES = ("requested", "in_progress", "succeeded", "failed")


@flow(name="thor-status", flow_run_name="status {job_id}", description="What each task of a job is at.")
def status(
    job_id: str,
    bucket: str | None = None,
    watch_seconds: float | None = 0.0,
    queue: SecretStr | None = None,
) -> JobReport:
    """Look at a job, and watch its tasks in progress for up to `watch_seconds`.

    Args:
        job_id: The job.
        bucket: gs://NAME or file:///PATH; None: the one that was set up.
        watch_seconds: 0: only one look; None: long enough to tell which tasks stall.
        queue: The queue of its workers: how often they renew a lease, where a status does not tell. It is not asked.
    """
    settings = settings_from_environment()
    job = JobLayout(job_id_from_text(job_id))
    store = open_bucket_from_settings(settings, bucket or None)
    url = command_line.queue_url(queue) or settings.with_bucket(store.url).queue_url
    scheme_of(url)
    observer = Observer(
        watch_seconds=watch_seconds,
        renew_seconds=settings.renew_seconds(url),
        hear=lambda seconds: reporter().say(f"Watches the tasks in progress for up to {seconds:g} s."),
    )
    report = report_job(store, job, observer)
    if instrument.is_in_run():
        rows = [dict(zip(COLUMNS, row(task), strict=True)) for task in report.tasks]
        instrument.show_table(f"thor-job-{job_id}-status", rows, f"Tasks of job {job_id}")
    return report


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "status",
        "Shows what each task of a job is at: state, stage, worker, attempt. With --watch it looks at the statuses for "
        "a while and names the tasks that stall: a living worker renews its lease, so a status that stands still has "
        "nobody. No clock of another machine is asked.",
        epilog="Ends with 1 when a task has failed, stalls, or has no readable status.",
    )
    command_line.add_job_argument(parser)
    parser.add_argument("--watch", action="store_true", help=f"watch for {WATCHED_RENEWALS:g} renewals of the lease")
    parser.add_argument("--watch-seconds", metavar="S", type=float, help="watch for so long instead")
    parser.add_argument(
        "--state", choices=STATES, action="append", help="show only tasks in this state; may be repeated"
    )
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    options = parser.parse_args(arguments)
    if options.watch_seconds is not None and options.watch_seconds <= 0:
        parser.error(f"--watch-seconds is {options.watch_seconds:g}: expected more than 0")
    return options


def watch_seconds(options: argparse.Namespace) -> float | None:
    """Return how long to watch; None: as long as the leases of the tasks call for."""
    if options.watch_seconds is not None:
        return float(options.watch_seconds)
    return None if options.watch else 0.0


def show(report: JobReport, states: Sequence[str]) -> None:
    """Print the table, the counts, and what a person should look at."""
    command_line.print_table(COLUMNS, [row(task) for task in report.tasks if not states or task.state in states])
    counts = report.progress
    cancelled = " It is cancelled." if report.is_cancelled else ""
    command_line.print_line(
        f"Job {report.job_id}: {counted(len(report.tasks), 'task')}; {counts.requested} requested, "
        f"{counts.in_progress} in progress, {counts.succeeded} succeeded, {counts.failed} failed.{cancelled}"
    )
    for engine, count in report.engines_waited_for.items():
        command_line.print_line(waiting_for_engine(engine, counted(count, "task")))
    if report.stalled:
        names = ", ".join(task.task_id for task in report.stalled)
        command_line.print_line(
            f"Nobody seems to work on: {names}. Another worker takes over when their messages come back from the delay "
            f"queue; if none does, `python -m flows.repair {report.job_id}`."
        )


def row(task: TaskReport) -> tuple[object, ...]:
    """Return the cells of one task."""
    unmoved = None if task.unmoved_seconds is None else f"{task.unmoved_seconds:.0f} s"
    error = f"{task.error_kind}: {task.error}" if task.error_kind else task.error
    waits = f"waits for a worker with engine {task.waits_for_engine}" if task.waits_for_engine else None
    why = "stalled" if task.is_stalled else (task.fault or waits or error or "").partition("\n")[0]
    return (task.task_id, task.state, task.stage, task.attempt, task.worker, unmoved, why)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    use_reporter(reporter_for_terminal())
    report = command_line.show_run(
        status, options.job_id, options.bucket, watch_seconds=watch_seconds(options), queue=options.queue
    )
    command_line.print_json(report) if options.json else show(report, options.state or ())
    needs_attention = report.progress.failed or report.stalled or any(task.fault for task in report.tasks)
    return command_line.FAILED if needs_attention else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
