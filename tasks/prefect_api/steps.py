"""The Prefect tasks: steps of a job that people see in the UI. Each one only calls what does the work.

None is cached or persisted by Prefect: the bucket is the truth, and each step may run twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from tasks.broker.protocol import Publisher
from tasks.jobs.monitor import JobWatch
from tasks.jobs.submit import Submission, SubmitSteps
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tasks.results.job_results import CollectOptions, JobResults, collect_results


@task(name="upload", task_run_name="upload observations and config", cache_policy=NO_CACHE)
def upload_job_files(submission: Submission) -> None:
    """Write observations and config."""
    submission.upload_job_files()


@task(name="upload", task_run_name="upload tasks from {first}", cache_policy=NO_CACHE)
def upload_tasks(submission: Submission, first: int, last: int) -> int:
    """Write test orbit and status of a run of tasks."""
    return submission.upload_tasks(first, last)


@task(name="manifest", task_run_name="manifest", cache_policy=NO_CACHE)
def write_manifest(submission: Submission) -> None:
    """Write the manifest without `submitted_at`."""
    submission.write_manifest()


@task(name="enqueue", task_run_name="enqueue {count} tasks", cache_policy=NO_CACHE)
def enqueue(
    submission: Submission,
    publishing: Callable[[], Publisher],
    task_ids: Sequence[TaskId],
    count: int,  # noqa: ARG001 (in the run's name)
) -> int:
    """Send a message for each of these tasks."""
    publisher = publishing()
    try:
        return submission.enqueue(publisher, task_ids)
    finally:
        publisher.close()


@task(name="manifest", task_run_name="manifest: submitted", cache_policy=NO_CACHE)
def complete_manifest(submission: Submission) -> Manifest:
    """Write the manifest with `submitted_at`: the job is submitted."""
    return submission.complete_manifest()


@task(name="monitor", task_run_name="monitor", cache_policy=NO_CACHE)
def monitor(watch: JobWatch, *, on_look: Callable[[list[TaskId]], None], pause_seconds: float) -> None:
    """Follow the statuses until every task has come to an end."""
    watch.until_complete(on_look=on_look, pause_seconds=pause_seconds)


@task(name="collect", task_run_name="collect", cache_policy=NO_CACHE)
def collect(watch: JobWatch, *, manifest: Manifest, output: Path, options: CollectOptions) -> JobResults:
    """Download the outputs of every task that has come to an end, merge them and report them."""
    return collect_results(watch, manifest=manifest, output=output, options=options)


class ShownSubmitSteps(SubmitSteps):
    """The steps of a submission as Prefect tasks; the fan-out in batches, each a mapped run."""

    def upload_job_files(self) -> None:
        """Write observations and config."""
        upload_job_files(self.submission)

    def upload_tasks(self, runs: Sequence[tuple[int, int]]) -> int:
        """Write test orbit and status of these runs of tasks, and return how many statuses are new."""
        firsts, lasts = [first for first, _ in runs], [last for _, last in runs]
        return sum(upload_tasks.map(unmapped(self.submission), firsts, lasts).result())

    def write_manifest(self) -> None:
        """Write the manifest without `submitted_at`."""
        write_manifest(self.submission)

    def enqueue(self, runs: Sequence[Sequence[TaskId]]) -> int:
        """Send a message for each task, and return how many."""
        sent = enqueue.map(
            unmapped(self.submission),
            unmapped(self.open_publisher),
            [quote(task_ids) for task_ids in runs],
            [len(task_ids) for task_ids in runs],
        )
        return sum(sent.result())

    def complete_manifest(self) -> Manifest:
        """Write the manifest with `submitted_at`."""
        return complete_manifest(self.submission)
