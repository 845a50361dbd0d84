"""Enqueues every task again that is not done. It changes nothing in the bucket: always safe."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tasks.broker.protocol import Publisher
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.jobs.manifest_file import read_manifest, read_manifest_if_there
from tasks.jobs.task_changes import look_at_tasks
from tasks.jobs.task_messages import publish_tasks, shown_as
from tasks.records.ids import JobId, TaskId


@dataclass(frozen=True)
class RepairReport:
    """What a repair did for one job."""

    job_id: str
    #: Tasks that are not done: a message was sent for each.
    n_published: int
    n_tasks: int
    #: Tasks whose status is missing or can't be read, with the reason.
    faults: dict[TaskId, str]


@dataclass(frozen=True)
class RepairAllReport:
    """What a repair did for all jobs of a bucket."""

    jobs: list[RepairReport]
    #: Jobs that can't be repaired, with the reason: of most, the submission never came to its manifest.
    skipped: dict[JobId, str]
    #: Queues that did not work and were made anew.
    recreated_queues: list[str] = field(default_factory=list)


def repair_job(bucket: Bucket, publisher: Publisher, job: JobLayout) -> RepairReport:
    """Send a message for every task that has not come to an end.

    It helps when messages were lost: a queue that was deleted or has no leader, a broker without its disk.
    Idempotent. A worker acks a message too many, or looks again later while another one is at work on the task.

    Raises
    ------
    BadInputError
        If there is no such job, or its submission has not come to its manifest: the same submit completes it.
    """
    manifest = read_manifest(bucket, job)
    task_ids = manifest.task_ids
    seen = look_at_tasks(bucket, job, task_ids)
    unfinished = [task.task_id for task in seen if task.status is not None and not task.status.is_terminal]
    return RepairReport(
        job_id=job.job_id,
        n_published=publish_tasks(publisher, bucket, job, unfinished, shown=shown_as(manifest)),
        n_tasks=len(task_ids),
        faults={task.task_id: task.fault for task in seen if task.fault is not None},
    )


def repair_jobs(bucket: Bucket, publisher: Publisher, jobs: Iterable[JobLayout]) -> RepairAllReport:
    """Repair several jobs, one after the other; one that has no manifest is skipped."""
    repaired: list[RepairReport] = []
    skipped: dict[JobId, str] = {}
    for job in jobs:
        try:
            if read_manifest_if_there(bucket, job) is None:
                skipped[job.job_id] = "it has no manifest: its submission or deletion was interrupted; run that again"
                continue
            repaired.append(repair_job(bucket, publisher, job))
        except BadInputError as error:
            skipped[job.job_id] = str(error)
    return RepairAllReport(jobs=repaired, skipped=skipped)
