"""Whether workers are there for the tasks that wait."""

from tasks.broker.protocol import Publisher
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, BrokerUnavailableError, BucketUnavailableError
from tasks.operations.workers_list import workers_there
from tasks.records.finding import Finding, ok, warning
from tasks.wording import counted

WORKERS = "workers"
START_ONE = "Start some where there are cores: `python -m workers --processes N`, or `python -m flows.autoscale`."
NOBODY_YET = f"No worker is there yet, and the tasks wait for one. {START_ONE}"


def worker_findings(bucket: Bucket, publisher: Publisher) -> list[Finding]:
    """Say whether messages wait while no worker is there. What is out of reach is told by those who look at it."""
    try:
        n_workers, n_ready = len(workers_there(bucket)), publisher.depth().ready
    except (BadInputError, BrokerUnavailableError, BucketUnavailableError):
        return []
    if n_ready and not n_workers:
        return [warning(WORKERS, f"none is there, and {counted(n_ready, 'message')} on the queue", START_ONE)]
    return [ok(WORKERS, f"{counted(n_workers, 'worker')} there, {counted(n_ready, 'message')} on the queue")]


def is_nobody_there(bucket: Bucket) -> bool:
    """Whether no worker tells of itself; False when the bucket can't say."""
    try:
        return not workers_there(bucket)
    except BucketUnavailableError:
        return False
