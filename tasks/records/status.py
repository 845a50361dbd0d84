r"""The state of one task, and `next_status`: the only way a status may change. Pure.

        +------------- failed (cancelled, given up) --------------+
        |                                                         v
    requested --claimed--> in_progress ----------- failed -----> failed
      ^   ^                  |  |  ^  \--succeeded--> succeeded   |
      |   +---- released ----+  +--+ renewed, taken over          |
      +------------------------ retried --------------------------+

Workers never rewrite a terminal state; only `Retried` leaves `failed`, and nothing leaves `succeeded`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

State = Literal["requested", "in_progress", "succeeded", "failed"]
ErrorKind = Literal["task_error", "bad_input", "crashed", "lost", "cancelled"]

LONGEST_SUMMARY_ERROR = 300
"""Characters of an error in a summary: a thousand summaries are one answer of a listing."""

TERMINAL_STATES: frozenset[State] = frozenset({"succeeded", "failed"})


class Counters(BaseModel):
    """How often an attempt at this task ended without a result. Kept in the bucket, never taken from the queue."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Attempts whose supervisor vanished: seen by the one who took over.
    lost: int = 0
    #: Attempts whose child died (signal, out of memory, time limit) under a living supervisor.
    crashed: int = 0


class OutputObject(BaseModel):
    """One file of the outputs, as it was uploaded."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: File name below outputs/.
    name: str
    size: int
    #: CRC-32C, base64 of the big-endian bytes: as Google Cloud Storage reports it.
    crc32c: str


class Status(BaseModel):
    """Content of status.json. A reader that knows only `state` and `worker` reads it as well."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: State
    #: host:pid of the supervisor that wrote it last; empty before the first claim.
    worker: str = ""
    #: How many times the task has been claimed.
    attempt: int = 0
    #: Unique to the attempt; None before the first claim.
    attempt_id: str | None = None
    #: The stage at work, or the last one that was.
    stage: str | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    counters: Counters = Field(default_factory=Counters)
    outputs: tuple[OutputObject, ...] = ()
    #: Name and version, such as "builtin 1.0"; None until the first attempt has read the job's configuration.
    engine: str | None = None
    #: The engine that the task waits for: a worker that lacks it has left the task to others. None again with a claim.
    waits_for_engine: str | None = None
    prefect_flow_run_id: str | None = None
    #: How often the attempt's worker renews the lease, which moves this object; None: the worker did not tell.
    renew_seconds: float | None = None
    #: New with every write: tells whether a write that timed out was ours.
    nonce: str = ""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but a retry can change it."""
        return self.state in TERMINAL_STATES

    def to_bytes(self) -> bytes:
        """Return the status as it lies in the bucket: UTF-8 JSON without the fields that are None."""
        return self.model_dump_json(exclude_none=True).encode()

    @property
    def summary(self) -> str:
        """All of it but the outputs, with the first words of an error: what a listing of thousands may carry."""
        brief = self if self.error is None else self.model_copy(update={"error": _first_words(self.error)})
        return brief.model_dump_json(exclude_none=True, exclude={"outputs"})


def _first_words(error: str) -> str:
    return error.strip().partition("\n")[0][:LONGEST_SUMMARY_ERROR]


def status_from_bytes(body: bytes) -> Status:
    """Parse a status; raises pydantic's ValidationError when it is not one."""
    return Status.model_validate_json(body)


def status_from_summary(summary: str | None) -> Status | None:
    """Return the status that a summary tells, without its outputs; None when it tells none: read the object."""
    if summary is None:
        return None
    try:
        return Status.model_validate_json(summary)
    except ValidationError:
        return None


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A worker begins an attempt at a requested task."""

    worker: str
    attempt_id: str
    renew_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """A worker begins an attempt at a task whose owner's lease did not move for a whole delay: the owner is lost."""

    worker: str
    attempt_id: str
    renew_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """The owner says that it still works on the task, and what it has learnt since: None means nothing new."""

    stage: str | None = None
    #: Name and version, such as "builtin 1.0".
    engine: str | None = None
    prefect_flow_run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Released:
    """The owner gives the task back without a result: asked to leave (`crashed` false), or its child died."""

    crashed: bool = False
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Succeeded:
    """Every output lies in the bucket."""

    outputs: tuple[OutputObject, ...]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The task ends without a result, for good; also for a task without a worker (cancelled, hopeless)."""

    error_kind: ErrorKind
    error: str
    outputs: tuple[OutputObject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LeftToOthers:
    """A worker that lacks the job's engine leaves the task to workers that have it; nothing is counted."""

    engine: str


@dataclass(frozen=True, kw_only=True)
class Retried:
    """A person asks for a failed task to be done again: the counters start anew."""


Event = Claimed | TakenOver | Renewed | Released | Succeeded | Failed | LeftToOthers | Retried

_ALLOWED: dict[type, frozenset[State]] = {
    Claimed: frozenset({"requested"}),
    TakenOver: frozenset({"in_progress"}),
    Renewed: frozenset({"in_progress"}),
    Released: frozenset({"in_progress"}),
    Succeeded: frozenset({"in_progress"}),
    Failed: frozenset({"requested", "in_progress"}),
    LeftToOthers: frozenset({"requested"}),
    Retried: frozenset({"failed"}),
}


class IllegalTransitionError(ValueError):
    """A status was asked to change in a way that the state machine does not have."""


def next_status(status: Status, event: Event, *, now: datetime, nonce: str) -> Status:
    """Return the status after `event`; `now` (UTC) only informs people, no decision rests on it.

    Raises
    ------
    IllegalTransitionError
        If the event cannot happen in this state.
    """
    if status.state not in _ALLOWED[type(event)]:
        raise IllegalTransitionError(f"{type(event).__name__} cannot happen to a task that is {status.state}")
    changes = _changes(status, event, now=now)
    return status.model_copy(update={**changes, "updated_at": now, "nonce": nonce})


def _changes(status: Status, event: Event, *, now: datetime) -> dict[str, object]:  # noqa: PLR0911 (one an event)
    match event:
        case Claimed() | TakenOver():
            lost = status.counters.lost + isinstance(event, TakenOver)
            return {
                "state": "in_progress",
                "worker": event.worker,
                "attempt": status.attempt + 1,
                "attempt_id": event.attempt_id,
                "renew_seconds": event.renew_seconds,
                "prefect_flow_run_id": None,  # that of the attempt is told later
                "waits_for_engine": None,
                "started_at": now,
                "counters": status.counters.model_copy(update={"lost": lost}),
            }
        case Renewed():
            return {
                "stage": event.stage or status.stage,
                "engine": event.engine or status.engine,
                "prefect_flow_run_id": event.prefect_flow_run_id or status.prefect_flow_run_id,
            }
        case Released():
            crashed = status.counters.crashed + event.crashed
            counters = status.counters.model_copy(update={"crashed": crashed})
            return {"state": "requested", "error": event.error or status.error, "counters": counters}
        case Succeeded():
            return {"state": "succeeded", "outputs": event.outputs, "error": None, "error_kind": None}
        case Failed():
            return {
                "state": "failed",
                "error_kind": event.error_kind,
                "error": event.error,
                "outputs": event.outputs,
                "waits_for_engine": None,
            }
        case LeftToOthers():
            return {"waits_for_engine": event.engine}
        case Retried():
            return {
                "state": "requested",
                "counters": Counters(),
                "error": None,
                "error_kind": None,
                "stage": None,
                "outputs": (),
            }
