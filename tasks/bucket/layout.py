"""Object names: this module spells every one of a job. Nobody else does."""

import re
from dataclasses import dataclass

from tasks.bucket.names import is_object_name
from tasks.errors import BadInputError
from tasks.records.ids import JobId, TaskId, is_safe_id

JOBS_PREFIX = "thor_jobs/v1/"
ERROR_SUFFIX = ".error.txt"
"""Of the object beside a table below `incoming/` that says why it was refused."""

SURVEYS_PREFIX = "surveys/"
INCOMING_PREFIX = "incoming/"
"""Here people put tables of observations that are to become jobs by themselves."""
INTAKES_PREFIX = f"{JOBS_PREFIX}incoming/"
"""What is noted about each of them: never deleted, so that none is submitted twice."""


WORKERS_PREFIX = "thor_workers/v1/"
"""Here each worker keeps its note while it lives."""


def worker_note(worker: str) -> str:
    """Return the name of the note of the worker `host:pid`."""
    return f"{WORKERS_PREFIX}{worker}.json"


def job_id_from_object_name(name: str) -> JobId | None:
    """Return the job that the object `name` belongs to, or None when it is of no job."""
    folder, slash, _ = name.removeprefix(f"{JOBS_PREFIX}jobs-").partition("/")
    is_of_a_job = name.startswith(f"{JOBS_PREFIX}jobs-") and slash and is_safe_id(folder)
    return JobId(folder) if is_of_a_job else None


def job_id_from_taken_name(name: str) -> JobId | None:
    """Return the job whose intake the object `name` is, or None when it is no intake."""
    folder, _, leaf = name.removeprefix(INTAKES_PREFIX).partition("/")
    is_intake = name.startswith(INTAKES_PREFIX) and leaf == "taken.json" and is_safe_id(folder)
    return JobId(folder) if is_intake else None


def error_of_table(name: str) -> str | None:
    """Return the name of the object that says why the table `name` below `incoming/` was refused.

    None: the table's own name is so long that no object may be called that.
    """
    beside = f"{name}{ERROR_SUFFIX}"
    return beside if is_object_name(beside) else None


def probe_object(token: str) -> str:
    """Return the name of an object that is written to try out a bucket, and deleted again; it is of no job."""
    return f"{JOBS_PREFIX}doctor/{_checked(token)}.json"


@dataclass(frozen=True)
class JobLayout:
    """Object names of one job."""

    job_id: JobId

    @property
    def prefix(self) -> str:
        """Everything of the job lies below it."""
        return f"{JOBS_PREFIX}jobs-{self.job_id}/"

    @property
    def observations(self) -> str:
        """The detections, csv."""
        return f"{self.prefix}observations.csv"

    @property
    def known_observations(self) -> str:
        """The detections of known objects that were left out of the observations, csv; absent: none were."""
        return f"{self.prefix}known_observations.csv"

    @property
    def config(self) -> str:
        """The settings, csv of key,value."""
        return f"{self.prefix}config.csv"

    @property
    def manifest(self) -> str:
        """The list of tasks, JSON."""
        return f"{self.prefix}manifest.json"

    @property
    def cancel(self) -> str:
        """Present when the job is cancelled."""
        return f"{self.prefix}cancel.json"

    @property
    def tasks_prefix(self) -> str:
        """Everything of every task lies below it."""
        return f"{self.prefix}tasks/"

    @property
    def claims_prefix(self) -> str:
        """Every claim of every task lies below it: apart from the tasks, so that a short listing names them all."""
        return f"{self.prefix}claims/"

    def claim_from_name(self, name: str) -> tuple[TaskId, int] | None:
        """Return task and attempt whose claim the object `name` is, or None when it is no claim of this job."""
        task_id, _, leaf = name.removeprefix(self.claims_prefix).partition("/")
        number = leaf.removesuffix(".json")
        is_claim = name == f"{self.claims_prefix}{task_id}/{number}.json" and re.fullmatch("[1-9][0-9]{0,8}", number)
        return (TaskId(task_id), int(number)) if is_claim and is_safe_id(task_id) else None

    def task(self, task_id: TaskId) -> "TaskLayout":
        """Object names of one task of the job."""
        return TaskLayout(job=self, task_id=task_id)

    def task_id_from_status_name(self, name: str) -> TaskId | None:
        """Return the task whose status the object `name` is, or None when it is no status of this job."""
        parts = name.removeprefix(self.tasks_prefix).split("/")
        is_status = name.startswith(self.tasks_prefix) and len(parts) == 2 and parts[1] == "status.json"  # noqa: PLR2004
        return TaskId(parts[0]) if is_status and is_safe_id(parts[0]) else None


@dataclass(frozen=True)
class IntakeLayout:
    """Object names of what is noted about a table that came in."""

    job_id: JobId

    @property
    def taken(self) -> str:
        """The intake, JSON: the table is taken, its job is to be made from this."""
        return f"{INTAKES_PREFIX}{self.job_id}/taken.json"

    @property
    def submitted(self) -> str:
        """Present when the job was submitted, whatever became of it."""
        return f"{INTAKES_PREFIX}{self.job_id}/submitted.json"


@dataclass(frozen=True)
class TaskLayout:
    """Object names of one task."""

    job: JobLayout
    task_id: TaskId

    @property
    def prefix(self) -> str:
        """Everything of the task lies below it."""
        return f"{self.job.tasks_prefix}{self.task_id}/"

    @property
    def orbits(self) -> str:
        """The test orbit, csv."""
        return f"{self.prefix}inputs/orbits.csv"

    @property
    def status(self) -> str:
        """The canonical state of the task, JSON."""
        return f"{self.prefix}status.json"

    @property
    def checkpoints_prefix(self) -> str:
        """What finished stages left for a later attempt."""
        return f"{self.prefix}checkpoints/"

    @property
    def outputs_prefix(self) -> str:
        """What the task brings back."""
        return f"{self.prefix}outputs/"

    def claim(self, attempt: int) -> str:
        """Return the name of what this attempt claims, JSON; written once."""
        return f"{self.job.claims_prefix}{self.task_id}/{attempt}.json"

    def checkpoint(self, stage: str, file_name: str) -> str:
        """One file that a finished stage left."""
        return f"{self.checkpoints_prefix}{stage}/{_checked(file_name)}"

    def output(self, file_name: str) -> str:
        """One file of the outputs."""
        return f"{self.outputs_prefix}{_checked(file_name)}"

    def file_name_from_output(self, name: str) -> str | None:
        """Return which output the object `name` is, or None when no worker names one so: somebody else put it there."""
        file_name = name.removeprefix(self.outputs_prefix)
        return file_name if name.startswith(self.outputs_prefix) and _is_safe(file_name) else None


def _checked(file_name: str) -> str:
    """Return a file name that cannot leave its prefix, here or below a local directory."""
    if not _is_safe(file_name):
        raise BadInputError(f"Cannot name an object {file_name!r}: expected a relative path of safe names.")
    return file_name


def _is_safe(file_name: str) -> bool:
    return all(map(is_safe_id, file_name.split("/")))


@dataclass(frozen=True)
class SurveyLayout:
    """Object names of one survey."""

    survey_id: str

    @property
    def prefix(self) -> str:
        """Everything of the survey lies below it."""
        return f"{SURVEYS_PREFIX}{_checked(self.survey_id)}/"

    @property
    def incoming(self) -> str:
        """Here people put tables of observations."""
        return f"{self.prefix}incoming/"

    @property
    def settings(self) -> str:
        """What a person says of the survey, JSON; absent: the defaults."""
        return f"{self.prefix}survey.json"

    @property
    def config(self) -> str:
        """Settings of its jobs, and who observes with what; absent: the defaults."""
        return f"{self.prefix}config.csv"

    @property
    def orbits(self) -> str:
        """Standing test orbits; absent: chosen for each window."""
        return f"{self.prefix}orbits.csv"

    @property
    def catalogue(self) -> str:
        """The one object below it is the catalogue of known objects, in its own format; none: nothing is known."""
        return f"{self.prefix}catalogue/"

    @property
    def state(self) -> str:
        """The one object that changes, JSON."""
        return f"{self.prefix}state.json"

    @property
    def page(self) -> str:
        """The page over all nights, HTML."""
        return f"{self.prefix}survey.html"

    def whole(self, leaf: str) -> str:
        """Return one file of the survey as a whole, beside its page."""
        return f"{self.prefix}{_checked(leaf)}"

    def table(self, version: str, leaf: str) -> str:
        """Return one file of a table that was taken in."""
        return f"{self.prefix}tables/{_checked(version)}/{_checked(leaf)}"

    def night(self, folder: str, leaf: str) -> str:
        """Return one file of what came of a night."""
        return f"{self.prefix}nights/{_checked(folder)}/{_checked(leaf)}"

    @property
    def reported(self) -> str:
        """Every report to the Minor Planet Center lies below it."""
        return f"{self.prefix}reported/"

    def report(self, number: int, leaf: str) -> str:
        """Return one file of a report."""
        return f"{self.reported}{number:06d}/{_checked(leaf)}"
