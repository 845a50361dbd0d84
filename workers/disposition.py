"""What to do with a message, and with an attempt that ended. Pure: facts in, decision out.

Nothing here looks at `redelivered`, delivery counts or clocks: the counters live in the bucket, and whether an owner
is dead is told by a generation that did not move during one whole delay of the queue.
"""

from dataclasses import dataclass
from typing import Literal

from tasks.records.message import TaskMessage
from tasks.records.status import (
    Counters,
    ErrorKind,
    Failed,
    OutputObject,
    Released,
    Status,
    Succeeded,
)

MAX_LOST = 5
"""Attempts that may vanish with their supervisor before the task is given up as `lost`."""
MAX_CRASHED = 3
"""Children that may die of a task before it is given up as `crashed`."""

LONGEST_REST_SECONDS = 0.25
"""The queue's connection is not served meanwhile."""


@dataclass(frozen=True)
class Ack:
    """The message has nothing more to say: remove it."""


@dataclass(frozen=True)
class DeadLetter:
    """No worker can serve the message: to the dead queue, for a person to look at."""

    reason: str


@dataclass(frozen=True)
class LookAgain:
    """A worker owns the task: look again after one delay, and compare the generation with this one."""

    generation: int


@dataclass(frozen=True)
class LeaveToOthers:
    """The task is free, but of an engine that this worker lacks: look again after one delay, perhaps another worker."""

    engine: str
    #: Whether the status is still to say so.
    is_news: bool


@dataclass(frozen=True)
class Fail:
    """The task has no future: failed, then ack."""

    error_kind: ErrorKind
    error: str


@dataclass(frozen=True)
class Begin:
    """The task is ours to try, once the claim is written."""


Disposition = Ack | DeadLetter | LookAgain | LeaveToOthers | Fail | Begin


def foreign_bucket(message: TaskMessage, bucket_url: str) -> DeadLetter | None:
    """Refuse a message whose task lies in another bucket than the worker's own. `gs://name` may be called `name`."""
    if message.bucket in {bucket_url, bucket_url.removeprefix("gs://")}:
        return None
    return DeadLetter(
        f"The message names bucket {message.bucket!r}; this worker serves {bucket_url!r} only. "
        "Submit to the queue of that bucket's workers, or start workers with that --bucket."
    )


def disposition(status: Status, *, generation: int, seen_generation: object, is_cancelled: bool) -> Disposition:
    """Decide about a message whose task's status has been read.

    Parameters
    ----------
    seen_generation
        What the message carries from the delay queue: the status's generation one whole delay ago. Anything but an
        integer counts as never seen, since headers may be foreign.
    """
    if status.is_terminal:
        return Ack()
    lost = status.counters.lost
    if status.state == "in_progress":
        if not isinstance(seen_generation, int) or seen_generation != generation:
            return LookAgain(generation)
        lost += 1  # the attempt whose lease has not moved
    if is_cancelled:
        return Fail("cancelled", "The job was cancelled before this task was computed.")
    if lost >= MAX_LOST:
        return Fail(
            "lost",
            f"{lost} attempts vanished with their worker (last: {status.worker or 'unknown'}); at most {MAX_LOST} are "
            "made. Look at that machine (memory, kernel log), then `retry`.",
        )
    if status.counters.crashed >= MAX_CRASHED:
        return Fail("crashed", status.error or f"{status.counters.crashed} computations died of this task.")
    return Begin()


def begin_or_leave(status: Status, *, lacks: str | None) -> Begin | LeaveToOthers:
    """Decide about a task that is free; `lacks`: the job's engine where this worker has not got it, else None.

    One that was in progress keeps its generation, by which the worker that has the engine knows that it is lost.
    """
    if lacks is None:
        return Begin()
    return LeaveToOthers(lacks, is_news=status.state == "requested" and status.waits_for_engine != lacks)


def rest_seconds(worked_seconds: float) -> float:
    """Return how long to rest after a message was looked at in vain: messages of an engine that no worker has go round.

    So they take a fifth of a core at most, and other tasks between them do not wait long.
    """
    return min(4.0 * worked_seconds, LONGEST_REST_SECONDS)


@dataclass(frozen=True)
class ChildSucceeded:
    """Every output lies in the bucket."""

    outputs: tuple[OutputObject, ...]
    #: Whether checkpoints or an older error may lie there, which a succeeded task needs no more.
    has_leftovers: bool = True


@dataclass(frozen=True)
class ChildFailed:
    """The task's own error."""

    error_kind: ErrorKind
    error: str
    outputs: tuple[OutputObject, ...]


@dataclass(frozen=True)
class ChildReleased:
    """The child could not reach something that the task needs."""

    error: str


@dataclass(frozen=True)
class ChildDied:
    """The child ended without a word, or was killed for taking too long."""

    how: str


@dataclass(frozen=True)
class JobCancelled:
    """The job was cancelled while its task was computed."""


@dataclass(frozen=True)
class TaskCancelled:
    """The flow run that shows this attempt was cancelled."""


@dataclass(frozen=True)
class Fenced:
    """Another process wrote the status: the task is not ours any more."""


@dataclass(frozen=True)
class AskedToLeave:
    """The worker must leave before the task is done."""


Ending = ChildSucceeded | ChildFailed | ChildReleased | ChildDied | JobCancelled | TaskCancelled | Fenced | AskedToLeave

MessageAct = Literal["ack", "requeue", "delay"]
"""ack: gone for good. requeue: back to the work queue at once. delay: back after one delay."""


@dataclass(frozen=True)
class Settlement:
    """How an attempt is written down (None: not by us), and what then becomes of its message."""

    event: Succeeded | Failed | Released | None
    act: MessageAct


def settlement(ending: Ending, counters: Counters) -> Settlement:
    """Decide what an attempt's ending means for status and message."""
    event = _event(ending, counters)
    if isinstance(event, Succeeded | Failed):
        return Settlement(event, "ack")
    # After `Fenced` the new owner has a message of its own; ours is looked at again rather than trusted to be spare.
    return Settlement(event, "delay" if isinstance(ending, ChildReleased) else "requeue")


def ending_word(event: Succeeded | Failed | Released | None) -> str:
    """Return an attempt's ending in one word, for counters: a kind of error, or what the class says."""
    match event:
        case Succeeded():
            return "succeeded"
        case Failed(error_kind=error_kind):
            return error_kind
        case Released(crashed=crashed):
            return "crashed" if crashed else "released"
        case None:
            return "lost"


def _event(ending: Ending, counters: Counters) -> Succeeded | Failed | Released | None:
    event: Succeeded | Failed | Released | None = None
    match ending:
        case ChildSucceeded(outputs=outputs):
            event = Succeeded(outputs=outputs)
        case ChildFailed(error_kind, error, outputs):
            event = Failed(error_kind=error_kind, error=error, outputs=outputs)
        case ChildReleased(error):
            event = Released(error=error)
        case ChildDied(how) if counters.crashed + 1 >= MAX_CRASHED:
            error = f"The computation died {counters.crashed + 1} times; at most {MAX_CRASHED} are tried. Last: {how}"
            event = Failed(error_kind="crashed", error=error)
        case ChildDied(how):
            event = Released(crashed=True, error=how)
        case JobCancelled():
            event = Failed(error_kind="cancelled", error="The job was cancelled while this task was computed.")
        case TaskCancelled():
            event = Failed(error_kind="cancelled", error="Its run was cancelled in Prefect while it was computed.")
        case AskedToLeave():
            event = Released()
        case Fenced():
            event = None
    return event
