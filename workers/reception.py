"""What happens to a message before any computing: look at its task, and claim it. Runs on the bucket thread."""

import logging
from dataclasses import dataclass

from tasks.broker.protocol import INSTRUMENTATION_HEADER, PARENT_RUN_HEADER, SEEN_GENERATION_HEADER, Headers
from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import Bucket
from tasks.errors import GenerationMismatchError, ObjectNotFoundError, TaskMessageError
from tasks.jobs.claim import claim_task, is_cancelled
from tasks.jobs.finish import finish_task, remove_leftovers
from tasks.jobs.status_file import StatusFile, read_status_file
from tasks.records.assignment import Assignment
from tasks.records.message import TaskMessage
from tasks.records.status import Failed, LeftToOthers
from workers.disposition import Ack, Begin, DeadLetter, Fail, LeaveToOthers, LookAgain, begin_or_leave, disposition
from workers.engines_here import EnginesHere

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimedTask:
    """A task that is ours: its status file, and what the child is to do."""

    file: StatusFile
    assignment: Assignment


Verdict = Ack | DeadLetter | LookAgain | LeaveToOthers | ClaimedTask


def look_and_claim(
    bucket: Bucket,
    message: TaskMessage,
    headers: Headers,
    *,
    worker: str,
    engines: EnginesHere,
    renew_seconds: float | None = None,
) -> Verdict:
    """Return what to do with the message; a `ClaimedTask` when the task is claimed, by `worker` and with its rhythm.

    Idempotent, since the bucket decides.

    Raises
    ------
    BucketUnavailableError
        Nothing is known, or the bucket itself is missing: look again later.
    """
    layout = JobLayout(message.job_id).task(message.task_id)
    while True:
        try:
            return _look_once(bucket, layout, headers, worker=worker, engines=engines, renew_seconds=renew_seconds)
        except GenerationMismatchError:
            logger.info("Another process wrote the status at the same moment: looking again.")


def _look_once(
    bucket: Bucket,
    layout: TaskLayout,
    headers: Headers,
    *,
    worker: str,
    engines: EnginesHere,
    renew_seconds: float | None,
) -> Verdict:
    try:
        file = read_status_file(bucket, layout)
    except ObjectNotFoundError:
        bucket.require_there()  # where the bucket itself is missing, every task would look deleted
        return DeadLetter(
            f"There is no {layout.status!r} in {bucket.url!r}: the job was deleted, or never submitted there."
        )
    except TaskMessageError as error:
        return DeadLetter(str(error))
    decision = disposition(
        file.status,
        generation=file.generation,
        seen_generation=headers.get(SEEN_GENERATION_HEADER),
        is_cancelled=not file.status.is_terminal and is_cancelled(bucket, layout.job),
    )
    if isinstance(decision, Begin):
        decision = begin_or_leave(file.status, lacks=engines.lacks(bucket, layout.job))
    match decision:
        case LeaveToOthers(engine, is_news):
            if is_news:
                file.change(LeftToOthers(engine=engine))
        case Begin():
            claimed = claim_task(
                file,
                worker=worker,
                renew_seconds=renew_seconds,
                parent_run_id=_text_in(headers, PARENT_RUN_HEADER),
                instrumentation=_text_in(headers, INSTRUMENTATION_HEADER),
            )
            return ClaimedTask(file, claimed)
        case Fail(error_kind, error_text):
            finish_task(file, Failed(error_kind=error_kind, error=error_text))
            logger.warning("Marked the task as failed (%s): %s", error_kind, error_text)
            return Ack()
        case Ack() if file.status.state == "succeeded":
            remove_leftovers(bucket, layout)  # of a worker that died between status and ack
    return decision


def _text_in(headers: Headers, name: str) -> str | None:
    return None if name not in headers else str(headers[name])
