"""A survey: its settings, its small state, and the records of its nights. Pure."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Return the record as it lies in the bucket: indented UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Parse a record; raises pydantic's ValidationError when it is not one."""
        return cls.model_validate_json(body)


class SurveySettings(_Record):
    """What a person may say of a survey in `survey.json`. It holds for what is computed from then on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Nights that are linked together: the newest and those before it.
    window_days: Annotated[int, Field(ge=2, le=60)] = 15
    #: How many test orbits to choose for a window, where there is no orbits.csv; None: as many as cover the field.
    number: Annotated[int, Field(ge=1)] | None = None


class TableVersion(_Record):
    """A table of observations that was taken in."""

    #: From a hash of its observations: the same observations are the same version, however and whenever they came.
    version: str
    #: Of the object below `incoming/` that it was read from.
    generation: int
    #: MJD of the local date on which each of its nights began.
    nights: tuple[int, ...]
    #: Observations, and those of known objects among them.
    n_observations: int
    n_known: int
    #: What was left out or filled in while it was read, in words.
    notes: tuple[str, ...] = ()


class SurveyState(_Record):
    """The one object of a survey that changes: which version of each table holds."""

    #: Object name below `incoming/` -> the version that holds.
    tables: dict[str, TableVersion] = Field(default_factory=dict)


class NightRecord(_Record):
    """What came of one night: written last, so that the tables beside it are whole."""

    night: int
    key: str
    #: From a hash of its tables: name of the folder that holds them.
    content: str = ""
    #: The job that linked what was left of the window; empty: there was nothing to link.
    job_id: str = ""
    #: Observations of the night, of those known, and what of the window was linked.
    n_observations: int
    n_known: int
    n_linked: int
    #: Objects after this night; and names of what is new, has grown, is not certain yet, was a candidate and is none.
    n_objects: int
    new: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    fell_away: tuple[str, ...] = ()
    #: Completeness and purity where the observations tell the truth, by `tasks.surveys.truth`; else empty.
    truth: dict[str, float | None] = Field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the folder of its tables, below `nights/`."""
        return f"{self.night}-{self.key}/{self.content}"


class Reported(_Record):
    """What was written to the Minor Planet Center in one report: created once, never changed."""

    number: int
    #: Night whose tables it was made from: name of its folder.
    folder: str
    #: trkSub -> ids of the observations.
    observations: dict[str, tuple[str, ...]]
