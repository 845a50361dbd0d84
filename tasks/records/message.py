"""The message of one task: exactly three keys. Everything else travels in headers. Pure."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tasks.errors import TaskMessageError
from tasks.records.ids import MAX_ID_LENGTH, JobId, TaskId, is_safe_id

MAX_MESSAGE_BYTES = 4096
"""A longer body is refused before it is parsed."""


def require_safe_id(text: str) -> str:
    """Return a safe id as it is, for pydantic; raise ValueError for any other."""
    if not is_safe_id(text):
        raise ValueError("not a safe id")
    return text


class TaskMessage(BaseModel):
    """Body of a message: the job, the bucket it lies in, and the task."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    job_id: Annotated[JobId, AfterValidator(require_safe_id)]
    bucket: Annotated[str, Field(min_length=1, max_length=1024)]
    task_id: Annotated[TaskId, AfterValidator(require_safe_id)]

    def to_bytes(self) -> bytes:
        """Return the body as it goes on the queue: UTF-8 JSON."""
        return self.model_dump_json().encode()


def message_from_bytes(body: bytes) -> TaskMessage:
    """Parse a message body.

    Raises
    ------
    TaskMessageError
        If it is too long, not JSON, or has not exactly the three keys with safe ids: the worker sends it to the dead
        queue. The error never repeats the whole body.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise TaskMessageError(f"Cannot read a message of {len(body)} bytes: expected at most {MAX_MESSAGE_BYTES}.")
    try:
        return TaskMessage.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise TaskMessageError(
            f"Cannot read a message of {len(body)} bytes: {where}: {first['msg']}; expected a JSON object with the "
            f"keys job_id, bucket, task_id (ids of at most {MAX_ID_LENGTH} safe characters)."
        ) from error
