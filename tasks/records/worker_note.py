"""The note that a worker keeps in the bucket while it lives: who it is. What it does stands in the statuses. Pure."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

NOTE_SECONDS = 600.0
"""A worker writes its note when it starts, and again after this time: seven writes an hour."""


class WorkerNote(BaseModel):
    """A worker that is there. It is written by its worker alone, and removed when that leaves."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: host:pid, as it stands in the statuses.
    worker: str
    started_at: datetime
    #: When this note was written, by the worker's own clock.
    told_at: datetime
    #: The engine that it brings along, with its version.
    engine: str
    #: Whether it can do tasks of engine thor as well (THOR_PYTHON).
    has_upstream_thor: bool = False

    def to_bytes(self) -> bytes:
        """Return the note as it lies in the bucket."""
        return self.model_dump_json().encode()


def worker_note_from_bytes(body: bytes) -> WorkerNote:
    """Parse a note; raises pydantic's ValidationError when it is not one."""
    return WorkerNote.model_validate_json(body)
