"""The one status object of a task: read with its generation, written by compare-and-swap.

A write whose outcome is unknown (the answer was lost) is settled by reading again and comparing the nonce, at once or,
while the bucket does not answer, at the next write.
"""

import time
import uuid
from datetime import UTC, datetime

from pydantic import ValidationError

from tasks.bucket.layout import TaskLayout
from tasks.bucket.store import Bucket
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError, TaskMessageError
from tasks.records.status import Event, Renewed, Status, next_status, status_from_bytes
from tasks.wording import counted


class StatusFile:
    """The status as this process last read or wrote it. Not for use from two threads at once."""

    def __init__(self, *, bucket: Bucket, layout: TaskLayout, status: Status, generation: int) -> None:
        self.bucket = bucket
        self.layout = layout
        self.status = status
        self.generation = generation
        self._unsettled: set[str] = set()
        #: When this process began and ended its last write of it; None: there was none yet.
        self._write_times: tuple[float, float] | None = None

    @property
    def lease_age_seconds(self) -> float | None:
        """How long ago this process began the last write that moved the lease, seconds; None: it never wrote."""
        return None if self._write_times is None else _uptime_seconds() - self._write_times[0]

    @property
    def seconds_until_next_write(self) -> float:
        """How long to wait before the object may be written again, if the kind of bucket asks for a pause at all."""
        if self._write_times is None:
            return 0.0
        return max(self.bucket.write_pause_seconds - (_uptime_seconds() - self._write_times[1]), 0.0)

    def require_unchanged(self) -> None:
        """Read the status again, without a write.

        Raises
        ------
        GenerationMismatchError
            Another process wrote or deleted it.
        """
        stored = self._read_again()
        if stored.generation == self.generation:
            return
        if stored.status.nonce not in self._unsettled:
            raise GenerationMismatchError(
                f"Status of task {self.layout.task_id!r} was written by {stored.status.worker or 'another process'!r}: "
                f"found generation {stored.generation}, expected {self.generation}. The work on it is dropped."
            )
        self._settle(stored.status, stored.generation)

    def change(self, event: Event, *, news: Renewed | None = None) -> None:
        """Write the status that follows `event`, and before it `news`, which needs no write of its own.

        Idempotent. After `BucketUnavailableError` call it again with the same event: if the write had landed, it is
        recognised by its nonce and not repeated.

        Raises
        ------
        GenerationMismatchError
            Another process wrote the status, or deleted it: this process owns the task no more.
        BucketUnavailableError
            The outcome is unknown.
        IllegalTransitionError
            The event cannot happen in the state last seen.
        """
        before, now, nonce = self.status.state, datetime.now(UTC), uuid.uuid4().hex
        told = self.status if news is None else next_status(self.status, news, now=now, nonce=nonce)
        wanted = next_status(told, event, now=now, nonce=nonce)
        self._write(wanted)
        # An earlier write of ours, of unknown outcome, stood in the way. If it was this very step, all is done.
        if self.status.nonce != wanted.nonce and self.status.state == before:
            self.change(event, news=news)

    def _write(self, wanted: Status) -> None:
        self._unsettled.add(wanted.nonce)
        began_at = _uptime_seconds()
        try:
            generation = self.bucket.write(
                self.layout.status, wanted.to_bytes(), if_generation=self.generation, summary=wanted.summary
            )
        except (GenerationMismatchError, BucketUnavailableError) as error:
            stored = self._read_again()
            if stored.status.nonce not in self._unsettled:
                raise error from None
            self._settle(stored.status, stored.generation)
        else:
            self._settle(wanted, generation)
        self._write_times = (began_at, _uptime_seconds())

    def _read_again(self) -> "StatusFile":
        try:
            return read_status_file(self.bucket, self.layout)
        except (ObjectNotFoundError, TaskMessageError) as error:
            raise GenerationMismatchError(
                f"Cannot write the status of task {self.layout.task_id!r}: {self.layout.status!r} was deleted or "
                "overwritten by something else. The work on it is dropped."
            ) from error

    def _settle(self, status: Status, generation: int) -> None:
        self.status = status
        self.generation = generation
        # Writes before the settled one carried an older generation: they can never land any more.
        self._unsettled.clear()


def _uptime_seconds() -> float:
    """Return a monotonic time that also counts while the machine sleeps: a lease goes on meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_status_file(bucket: Bucket, layout: TaskLayout) -> StatusFile:
    """Read the status of a task, with the generation that a change must name.

    Raises
    ------
    ObjectNotFoundError
        There is no such task in the bucket.
    TaskMessageError
        The object is not a status: the message goes to the dead queue, for a person to look at.
    """
    stored = bucket.read(layout.status)
    try:
        status = status_from_bytes(stored.body)
    except ValidationError as error:
        raise TaskMessageError(
            f"Cannot read the status of task {layout.task_id!r}: {layout.status!r} is not a status "
            f"({counted(error.error_count(), 'fault')}). Put it right and `repair` the job, or delete it and "
            f"run the same submit again with --job-id {layout.job.job_id}."
        ) from error
    return StatusFile(bucket=bucket, layout=layout, status=status, generation=stored.generation)
