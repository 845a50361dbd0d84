"""What the doctor says of tasks that wait for a worker with an engine that those at work lack."""

from collections import Counter

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, BucketUnavailableError
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.jobs.task_changes import look_at_tasks
from tasks.operations.find_jobs import find_jobs
from tasks.records.finding import Finding, ok, warning
from tasks.records.manifest import Manifest
from tasks.wording import counted, waiting_for_engine

WAITING = "engines of jobs"
EVERYWHERE = "builtin"
"""The engine that every worker has: the statuses of such a job are not read."""
NEWEST = 20
"""Jobs that are looked at, the last ones by id: the doctor is asked often, and a bucket may hold thousands."""


def waiting_findings(bucket: Bucket) -> list[Finding]:
    """Look at the newest jobs of engines that not every worker has; a bucket out of reach is told by others."""
    try:
        jobs = find_jobs(bucket)[-NEWEST:]
        waiting = sum(for_each(jobs, lambda job: _waiting(bucket, job)), Counter[str]())
    except (BadInputError, BucketUnavailableError):
        return []
    if not waiting:
        return [ok(WAITING, f"no task of the newest {counted(len(jobs), 'job')} waits for an engine")]
    advice = "Start a worker with that engine; `python -m flows.list` names the jobs."
    return [warning(WAITING, waiting_for_engine(engine, counted(n, "task")), advice) for engine, n in waiting.items()]


def _waiting(bucket: Bucket, job: JobLayout) -> Counter[str]:
    """Count the tasks of a job that wait, by engine."""
    manifest = _manifest(bucket, job)
    if manifest is None or manifest.engine_name == EVERYWHERE:
        return Counter()
    seen = look_at_tasks(bucket, job, manifest.task_ids)
    return Counter(task.status.waits_for_engine for task in seen if task.status and task.status.waits_for_engine)


def _manifest(bucket: Bucket, job: JobLayout) -> Manifest | None:
    try:
        return read_manifest_if_there(bucket, job)
    except BadInputError:
        return None  # `list` tells it
