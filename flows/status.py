"""`python -m flows.status JOB`: what each task of a job is at; with --watch also which of them stall."""

import sys
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.reporter import reporter
from flows.terminal.signature import BucketUrl, JobName, QueueUrl
from flows.terminal.verb import Verb
from tasks.broker.urls import scheme_of
from tasks.bucket.layout import JobLayout
from tasks.operations.task_report import JobReport, Observer, TaskReport, report_job
from tasks.records.ids import job_id_from_text
from tasks.records.status import State
from tasks.wording import counted, waiting_for_engine

COLUMNS = ("task", "state", "stage", "attempt", "worker", "unmoved", "why")


def status(
    job_id: JobName,
    *,
    watch: bool = False,
    watch_seconds: Annotated[float, Field(gt=0)] | None = None,
    state: tuple[State, ...] = (),
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> JobReport:
    """Show each task of a job: state, stage, attempt, worker.

    With --watch it observes the statuses for a while and names the tasks that have stalled: a living worker renews its
    lease, so a task whose status does not change has no worker. Clocks of other machines are not compared. The exit
    code is 1 when a task has failed, has stalled, or has no readable status.

    Args:
        watch: Watch the tasks in progress for 2.5 renewals of the lease.
        watch_seconds: Watch for this many seconds instead.
        state: Show only tasks in this state; may be repeated.
        queue: The queue of the job's workers: its kind says how often they renew a lease, where a status does not. It
            is not contacted. Default: THOR_QUEUE.
    """
    job = JobLayout(job_id_from_text(job_id))
    store, settings = bucket_and_settings(bucket, queue)
    scheme_of(settings.queue_url)
    observer = Observer(
        watch_seconds=watch_seconds or (None if watch else 0.0),
        renew_seconds=settings.renew_seconds(settings.queue_url),
        hear=lambda seconds: reporter().say(f"Watches the tasks in progress for up to {seconds:g} s."),
    )
    return replace(report_job(store, job, observer), shown_states=state)


def show(report: JobReport) -> None:
    """Print the table, the counts, and what a person should look at."""
    states = report.shown_states
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
            f"No worker seems to work on: {names}. Another worker takes over when their messages come back from the "
            f"delay queue; if none does, `python -m flows.repair {report.job_id}`."
        )


def row(task: TaskReport) -> tuple[object, ...]:
    """Return the cells of one task."""
    unmoved = None if task.unmoved_seconds is None else f"{task.unmoved_seconds:.0f} s"
    error = f"{task.error_kind}: {task.error}" if task.error_kind else task.error
    waits = f"waits for a worker with engine {task.waits_for_engine}" if task.waits_for_engine else None
    why = "stalled" if task.is_stalled else (task.fault or waits or error or "").partition("\n")[0]
    return (task.task_id, task.state, task.stage, task.attempt, task.worker, unmoved, why)


def needs_attention(report: JobReport) -> bool:
    """Whether a task has failed, stalls, or has no readable status."""
    return bool(report.progress.failed or report.stalled or any(task.fault for task in report.tasks))


main = Verb("status", status, show=show, is_failure=needs_attention)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
