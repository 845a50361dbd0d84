"""The manifest: the immutable list of a job's tasks. Pure."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from tasks.records.ids import JobId, TaskId
from tasks.records.message import require_safe_id


class ExpectedGroup(BaseModel):
    """What chosen test orbits were expected to find of one group of objects."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Name of the group, as `flows.orbits` has it.
    group: str
    #: Objects of it that the survey could find, by the model's numbers.
    objects: float
    #: Share of them in reach of the test orbits, 0 to 1; None: none is in the field.
    coverage: float | None


class Manifest(BaseModel):
    """What a job is: its tasks and the test orbit of each, and which inputs and engine it was made with.

    `submitted_at` is None while messages are still being sent; it is the only field that ever changes, once.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: Annotated[JobId, AfterValidator(require_safe_id)]
    task_ids: tuple[Annotated[TaskId, AfterValidator(require_safe_id)], ...]
    #: Parallel to task_ids.
    orbit_ids: tuple[str, ...]
    created_at: datetime
    submitted_at: datetime | None = None
    bucket: str
    engine_name: str
    engine_version: str
    #: Object name below the job's prefix (such as "observations.csv") -> sha256 of its bytes, hexadecimal.
    inputs_sha256: dict[str, str]
    #: The Prefect task run below which people see the tasks of the job; None: they are not shown.
    prefect_parent_run_id: str | None = None
    #: How much of each task Prefect is to show: stages, task or off; None: it is not said.
    instrumentation: str | None = None
    #: What was left out of a person's observations or filled in on the way to `observations.csv`, in words.
    notes: tuple[str, ...] = ()
    #: What the test orbits were chosen for; empty: they came with the inputs.
    expected: tuple[ExpectedGroup, ...] = ()

    @model_validator(mode="after")
    def _ids_are_parallel(self) -> Self:
        if len(self.task_ids) != len(self.orbit_ids) or len(set(self.task_ids)) != len(self.task_ids):
            raise ValueError("task_ids and orbit_ids must be parallel, and task_ids unique")
        return self

    def to_bytes(self) -> bytes:
        """Return the manifest as it lies in the bucket: indented UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode()


def manifest_from_bytes(body: bytes) -> Manifest:
    """Parse a manifest; raises pydantic's ValidationError when it is not one."""
    return Manifest.model_validate_json(body)
