"""`thor-monitor`: follow a job until every task has come to an end. `python -m flows.monitor JOB`."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from flows.shown.job_show import JobShow, end_runs
from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.reporter import reporter
from flows.terminal.signature import BucketUrl, JobName
from flows.terminal.verb import Verb, thor_flow
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.prefect_api import instrument, steps
from tasks.records.ids import TaskId, job_id_from_text
from tasks.records.progress import JobProgress
from tasks.wording import counted, waiting_for_engine

LOCAL_PAUSE_SECONDS = 0.3
CLOUD_PAUSE_SECONDS = 2.0
"""Between two looks at a job: a listing of a local directory is cheap, one of a cloud bucket costs money."""
HINT_SECONDS = 60.0
"""When no task has moved for this time and none is in progress, a person is told what to look at,"""
ENGINE_HINT_SECONDS = 600.0
"""and again each time that this has passed, where the tasks wait for an engine that no worker has."""


@thor_flow(name="thor-monitor", flow_run_name="{job_id}")
def monitor_job(job_id: JobName, bucket: BucketUrl = None) -> dict[str, int]:
    """Follow a job until every task has come to an end."""
    store = bucket_of(bucket)
    layout = JobLayout(job_id_from_text(job_id))
    manifest = read_manifest(store, layout)
    watch = JobWatch(store, layout, manifest.task_ids)
    follow(watch)
    parent = manifest.prefect_parent_run_id
    end_runs(watch, None if parent is None else UUID(parent))
    return counts(watch.progress)


def follow(watch: JobWatch, *, each_look: Callable[[], None] | None = None) -> bool:
    """Follow a job as a Prefect task, with what people see of it in the UI and whatever the terminal shows.

    Returns whether the job was cancelled by way of its run in the UI.

    Parameters
    ----------
    each_look
        Called after each look, to look after workers; what it raises ends the watch. None: there are none here.

    A job that stands still is told of either way: workers that live may serve another queue.
    """
    hint = IdleHint(watch, say=reporter().warn)
    show = JobShow(watch)

    def on_look(changed: list[TaskId]) -> None:
        progress = watch.progress
        reporter().progress(progress)
        tell_endings(watch, changed)
        hint.look(progress, has_moved=any(not watch.statuses[task_id].waits_for_engine for task_id in changed))
        show.look()
        if each_look is not None:
            each_look()

    until_complete = steps.monitor if instrument.is_in_run() else JobWatch.until_complete
    until_complete(watch, on_look=on_look, pause_seconds=pause_seconds(watch.bucket))
    return show.has_cancelled


def tell_endings(watch: JobWatch, changed: Sequence[TaskId]) -> None:
    """Name each task that has just failed, and emit an event for each that has come to an end."""
    for task_id in changed:
        status = watch.statuses[task_id]
        if status.state == "failed":
            first_line = (status.error or "no reason given").splitlines()[0]
            reporter().warn(f"Task {task_id} failed ({status.error_kind}): {first_line}")
        if status.is_terminal:
            subject = f"thor.job.{watch.layout.job_id}.task.{task_id}"
            instrument.tell_event(f"thor.task.{status.state}", subject=subject, attempt=status.attempt)


class IdleHint:
    """Tells a person, once each time, that no worker works on the job, and what may be the reason."""

    def __init__(
        self, watch: JobWatch, *, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watch = watch
        self._say = say
        self._clock = clock
        self._moved_at = clock()
        self._told_at: float | None = None

    def look(self, progress: JobProgress, *, has_moved: bool) -> None:
        """Take note of a look at the job."""
        if has_moved or progress.in_progress:
            self._moved_at = self._clock()
            self._told_at = None
        now = self._clock()
        if now - self._moved_at <= HINT_SECONDS:
            return
        engines = self._engines_waited_for()
        if self._told_at is None or (engines and now - self._told_at > ENGINE_HINT_SECONDS):
            self._told_at = now
            for advice in engines or [self._advice()]:
                self._say(advice)

    def _engines_waited_for(self) -> list[str]:
        """Say for which engines tasks wait."""
        engines = Counter(
            status.waits_for_engine
            for status in self._watch.statuses.values()
            if status.state == "requested" and status.waits_for_engine
        )
        return [waiting_for_engine(engine, counted(count, "task")) for engine, count in engines.items()]

    def _advice(self) -> str:
        job_id, bucket = self._watch.layout.job_id, self._watch.bucket.url
        return (
            f"No worker has taken a task of job {job_id} for {HINT_SECONDS:g} s. If none runs: python -m workers "
            f"--bucket {bucket} --queue URL. If some do, the messages may be lost or dead: python -m flows.repair "
            f"{job_id} --bucket {bucket} enqueues them again (always safe), python -m flows.doctor looks at the queue, "
            "python -m flows.drain_dead at its dead messages."
        )


def pause_seconds(bucket: Bucket) -> float:
    """Return the time between two looks."""
    return LOCAL_PAUSE_SECONDS if bucket.url.startswith("file:") else CLOUD_PAUSE_SECONDS


def counts(progress: JobProgress) -> dict[str, int]:
    """Return the number of tasks in each state."""
    return dict(vars(progress))


def show(_: Mapping[str, int]) -> None:
    """Tell no more than what was told while the job went on."""


main = Verb("monitor", monitor_job, show=show, is_failure=lambda found: found["failed"] > 0)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
