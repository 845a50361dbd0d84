"""Keeps this worker's note in the bucket: `python -m flows.workers` reads it, and no task depends on it."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime

from tasks.bucket.layout import worker_note
from tasks.bucket.store import Bucket
from tasks.errors import ThorQueueError
from tasks.records.worker_note import NOTE_SECONDS, WorkerNote

LEAVE_SECONDS = 2.0
"""Patience of a worker that leaves with its note."""

logger = logging.getLogger(__name__)


class Presence:
    """The note of one worker. `submit` runs an errand on the bucket thread, so that the queue never waits for it."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        worker: str,
        engine: str,
        has_upstream_thor: bool,
        submit: Callable[[Callable[[], None]], Future[None]],
    ) -> None:
        self._bucket = bucket
        self._submit = submit
        now = datetime.now(UTC)
        self._note = WorkerNote(
            worker=worker, started_at=now, told_at=now, engine=engine, has_upstream_thor=has_upstream_thor
        )
        self._next_at = time.monotonic()

    def keep(self) -> None:
        """Write the note when it is time. Call it often."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + NOTE_SECONDS
            self._submit(self._write)

    def remove(self) -> None:
        """Remove the note. A bucket that takes long is not waited for: the note grows old."""
        with suppress(TimeoutError):
            self._submit(self._delete).result(timeout=LEAVE_SECONDS)

    def _write(self) -> None:
        note = self._note.model_copy(update={"told_at": datetime.now(UTC)})
        try:
            self._bucket.write(worker_note(note.worker), note.to_bytes())
        except ThorQueueError as error:
            logger.info("Could not write the note that this worker is there; it works all the same: %s", error)

    def _delete(self) -> None:
        with suppress(ThorQueueError):  # its age tells the rest
            self._bucket.delete(worker_note(self._note.worker))
