"""A worker takes a task: what it looks at first, and the write that makes the task its own."""

import uuid

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.jobs.status_file import StatusFile
from tasks.records.assignment import Assignment
from tasks.records.status import Claimed, TakenOver


def is_cancelled(bucket: Bucket, job: JobLayout) -> bool:
    """Tell whether the job was cancelled."""
    return bucket.generation(job.cancel) != MUST_NOT_EXIST


def claim_task(
    file: StatusFile,
    *,
    worker: str,
    renew_seconds: float | None = None,
    parent_run_id: str | None = None,
    instrumentation: str | None = None,
) -> Assignment:
    """Begin an attempt: the task becomes in_progress, and ours. From in_progress it is taken over from a lost owner.

    Order: this write is the first of an attempt; nothing of the task is downloaded before it.
    Twice: the second call finds another generation and raises, so that two workers never share a task.

    Parameters
    ----------
    renew_seconds
        How often this worker renews the lease, for those who watch; None: they are not told.
    parent_run_id
        The Prefect task run below which people see the tasks of the job.
    instrumentation
        How much of a task its client wants to be shown in Prefect.

    Raises
    ------
    GenerationMismatchError
        Another process wrote the status since it was read: look again.
    BucketUnavailableError
        The outcome is unknown. If the claim landed, no worker is at it, and it will be taken over as lost.
    """
    before = file.status
    begin = TakenOver if before.state == "in_progress" else Claimed
    file.change(begin(worker=worker, attempt_id=uuid.uuid4().hex, renew_seconds=renew_seconds))
    return Assignment(
        job_id=file.layout.job.job_id,
        task_id=file.layout.task_id,
        bucket_url=file.bucket.url,
        attempt=file.status.attempt,
        attempt_id=file.status.attempt_id,
        worker=worker,
        parent_run_id=parent_run_id,
        instrumentation=instrumentation,
        former_flow_run_id=before.prefect_flow_run_id,
    )
