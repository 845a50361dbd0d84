"""The intake: what is put down about a table that came in, before its job is begun. Pure."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from tasks.records.ids import JobId, TaskId
from tasks.records.message import require_safe_id


class Intake(BaseModel):
    """A table that was found good, with the test orbits and settings as they were then: its job is made from these.

    It is written once and stays, so that a table is submitted once whatever becomes of its job, and an interrupted
    submission is completed with the same inputs though the orbits were changed since.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: Annotated[JobId, AfterValidator(require_safe_id)]
    #: Object name of the observations, and the generation that was read.
    table: str
    generation: int
    #: Object names that the test orbits and the settings came from; None: the defaults.
    orbits: str | None
    config: str | None
    taken_at: datetime
    #: The job's inputs but for its observations, as they go to its own objects.
    config_csv: str
    task_ids: tuple[Annotated[TaskId, AfterValidator(require_safe_id)], ...]
    orbit_ids: tuple[str, ...]
    orbit_csvs: tuple[str, ...]
    n_observations: int
    engine_name: str
    engine_version: str
    notes: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the intake as it lies in the bucket: indented UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode()


def intake_from_bytes(body: bytes) -> Intake:
    """Parse an intake; raises pydantic's ValidationError when it is not one."""
    return Intake.model_validate_json(body)
