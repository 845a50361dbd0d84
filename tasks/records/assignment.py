"""What the supervisor and its child process say to each other, one JSON object a line. Pure."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from tasks.records.ids import JobId, TaskId
from tasks.records.message import require_safe_id
from tasks.records.status import ErrorKind, OutputObject


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Assignment(_Line):
    """Supervisor to child: compute this attempt. The child never writes the task's status."""

    kind: Literal["assignment"] = "assignment"
    job_id: Annotated[JobId, AfterValidator(require_safe_id)]
    task_id: Annotated[TaskId, AfterValidator(require_safe_id)]
    bucket_url: str
    attempt: int
    #: Unique to the attempt, as in the status; None: it is not told.
    attempt_id: str | None = None
    worker: str
    #: The Prefect task run below which people see the tasks of the job; None: this attempt's flow run stands alone.
    parent_run_id: str | None = None
    #: How much of the attempt the client wants to be shown; None: it did not say.
    instrumentation: str | None = None
    #: Flow run of the attempt before this one; None: none. Unless it has ended it was lost, and is marked Crashed.
    former_flow_run_id: str | None = None


class LeaseRenewed(_Line):
    """Supervisor to child, after `ReadyToUpload`: the task is still ours, upload."""

    kind: Literal["lease_renewed"] = "lease_renewed"


class ChildReady(_Line):
    """Child to supervisor: imports are done and kernels are warm."""

    kind: Literal["ready"] = "ready"


class FlowRunStarted(_Line):
    """Child to supervisor: the Prefect flow run that shows this attempt."""

    kind: Literal["flow_run_started"] = "flow_run_started"
    prefect_flow_run_id: str


class CancelAsked(_Line):
    """Child to supervisor: the flow run that shows this attempt was cancelled."""

    kind: Literal["cancel_asked"] = "cancel_asked"


class StageBegan(_Line):
    """Child to supervisor: a stage is at work."""

    kind: Literal["stage_began"] = "stage_began"
    stage: str
    #: Name and version of the engine, such as "builtin 1.0"; it comes to stand in the status.
    engine: str | None = None


class ReadyToUpload(_Line):
    """Child to supervisor: all stages are done; renew the lease, then answer `LeaseRenewed`."""

    kind: Literal["ready_to_upload"] = "ready_to_upload"


class AttemptSucceeded(_Line):
    """Child to supervisor: every output lies in the bucket."""

    kind: Literal["succeeded"] = "succeeded"
    outputs: tuple[OutputObject, ...]
    #: Whether checkpoints or an older error may lie in the bucket; False: nothing need be looked for.
    has_leftovers: bool = True


class AttemptFailed(_Line):
    """Child to supervisor: the task's own error; what there is, and error_message.txt, lie in the bucket."""

    kind: Literal["failed"] = "failed"
    error_kind: ErrorKind
    error: str
    outputs: tuple[OutputObject, ...] = ()


class AttemptReleased(_Line):
    """Child to supervisor: something outside the task is unavailable (the bucket); give the task back for later."""

    kind: Literal["released"] = "released"
    error: str


ToChild = Annotated[Assignment | LeaseRenewed, Field(discriminator="kind")]
FromChild = Annotated[
    ChildReady
    | FlowRunStarted
    | CancelAsked
    | StageBegan
    | ReadyToUpload
    | AttemptSucceeded
    | AttemptFailed
    | AttemptReleased,
    Field(discriminator="kind"),
]

Tell = Callable[[FromChild], None]
"""Says something to the supervisor."""

_TO_CHILD: TypeAdapter[ToChild] = TypeAdapter(ToChild)
_FROM_CHILD: TypeAdapter[FromChild] = TypeAdapter(FromChild)


def to_child_from_line(line: bytes) -> ToChild:
    """Parse a line that the child reads."""
    return _TO_CHILD.validate_json(line)


def from_child_from_line(line: bytes) -> FromChild:
    """Parse a line that the supervisor reads."""
    return _FROM_CHILD.validate_json(line)


def line_from_record(record: BaseModel) -> bytes:
    """Return the record as one line, newline included."""
    return record.model_dump_json().encode() + b"\n"
