"""A worker ends an attempt. Outputs before status; the caller acks only after the status is written."""

import logging

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import TaskLayout
from tasks.bucket.store import Bucket
from tasks.errors import BucketUnavailableError
from tasks.jobs.status_file import StatusFile
from tasks.records.status import Failed, OutputObject, Released, Renewed, Succeeded

ERROR_MESSAGE = "error_message.txt"
"""The output that tells people why a task failed."""

logger = logging.getLogger(__name__)


def finish_task(
    file: StatusFile, event: Succeeded | Failed | Released, *, news: Renewed | None = None, may_leave: bool = True
) -> None:
    """Write how the attempt ended, with what its worker has learnt and not written yet (`news`).

    Order: error_message.txt (when the task failed and the child could not write it), the status, then what a succeeded
    task needs no more goes.
    Idempotent, also after `BucketUnavailableError`.

    Parameters
    ----------
    may_leave
        False: nothing can be there that a succeeded task needs no more, so nothing is looked for.

    Raises
    ------
    GenerationMismatchError
        Another worker owns the task: this result is dropped, and nothing was changed.
    BucketUnavailableError
        The outcome is unknown: call again.
    """
    if isinstance(event, Failed) and not any(output.name == ERROR_MESSAGE for output in event.outputs):
        # Whoever lost the task must not put an error beside the outputs of its new owner.
        file.require_unchanged()
        if file.status.is_terminal:
            return  # an earlier call of unknown outcome had landed
        event = _with_error_message(file, event)
    file.change(event, news=news)
    if isinstance(event, Succeeded) and may_leave:
        remove_leftovers(file.bucket, file.layout)


def remove_leftovers(bucket: Bucket, layout: TaskLayout) -> None:
    """Delete what unfinished and failed attempts left at a task that has succeeded: checkpoints, and an old error.

    No worker owns the task any more, and nothing leaves `succeeded`. If the bucket does not answer, they stay.
    """
    try:
        left = [info.name for info in bucket.list(layout.checkpoints_prefix)]
        for_each([layout.output(ERROR_MESSAGE), *left], bucket.delete)
    except BucketUnavailableError:
        logger.warning("Left checkpoints of a succeeded task in the bucket: it did not answer.", exc_info=True)


def _with_error_message(file: StatusFile, event: Failed) -> Failed:
    """Write error_message.txt for a child that could not, and name all outputs that there are."""
    layout = file.layout
    file.bucket.write(layout.output(ERROR_MESSAGE), f"{event.error}\n".encode())
    outputs = tuple(
        OutputObject(name=file_name, size=info.size, crc32c=info.crc32c)
        for info in file.bucket.list(layout.outputs_prefix)
        if (file_name := layout.file_name_from_output(info.name)) is not None
    )
    return Failed(error_kind=event.error_kind, error=event.error, outputs=outputs)
