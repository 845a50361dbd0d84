"""What an attempt downloads: observations (prepared once per job and kept), settings, test orbit."""

import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from tasks.bucket.content import ScratchFile
from tasks.bucket.layout import TaskLayout
from tasks.bucket.store import Bucket
from tasks.engines.interface import Engine, LinkingProblem, MapBlocks, Survey, map_blocks_in_turn
from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError, ObjectNotFoundError, TaskInputError
from tasks.inputs.config_file import settings_from_csv
from tasks.inputs.engine_of_job import engine_of_job
from tasks.inputs.observations_file import observations_from_csv
from tasks.inputs.orbits_file import orbits_from_csv

logger = logging.getLogger(__name__)


class JobKey(NamedTuple):
    """Which job inputs are of.

    They never change, so that the generation of the observations stands for all of them, also where a job was deleted
    and another one has its name.
    """

    bucket_url: str
    observations_name: str
    generation: int


class PreparedJob(NamedTuple):
    """What the tasks of a job share: settings, engine, and the observations prepared for it."""

    settings: EngineSettings
    engine: Engine
    #: Name and version.
    engine_title: str
    survey: Survey
    config_sha256: str
    observations_sha256: str
    n_observations: int


@dataclass
class SurveyCache:
    """The jobs that this process worked on last, up to a number of bytes of their surveys; the newest always."""

    max_bytes: int
    _surveys: OrderedDict[JobKey, PreparedJob] = field(default_factory=OrderedDict)

    def get(self, key: JobKey, make: Callable[[], PreparedJob]) -> PreparedJob:
        """Return the job of that key, prepared now if it is not here."""
        if key not in self._surveys:
            # The old ones go first: two large surveys need not fit into memory together.
            self._shrink(self.max_bytes // 2)
            self._surveys[key] = make()
        self._surveys.move_to_end(key)
        self._shrink(self.max_bytes)
        return self._surveys[key]

    def _shrink(self, max_bytes: int) -> None:
        while len(self._surveys) > 1 and sum(kept.survey.nbytes for kept in self._surveys.values()) > max_bytes:
            self._surveys.popitem(last=False)


@dataclass(frozen=True)
class TaskInputs:
    """One task, ready for its engine."""

    engine: Engine
    problem: LinkingProblem
    n_observations: int
    #: Of observations, settings, test orbit and engine version: same fingerprint, same tables.
    fingerprint: str

    @property
    def engine_title(self) -> str:
        """Name and version."""
        return f"{self.engine.name} {self.engine.version}"


def download_inputs(
    bucket: Bucket, task: TaskLayout, *, surveys: SurveyCache, map_blocks: MapBlocks = map_blocks_in_turn
) -> TaskInputs:
    """Download and check the inputs of a task; what its job's tasks share only when it is not in `surveys`.

    Raises
    ------
    TaskInputError
        If an input is missing or wrong: the task fails as bad_input.
    EngineUnavailableError
        If the engine that the settings name can't run here.
    EngineInputError
        If the engine refuses the observations.
    """
    orbits = _read(bucket, task, task.orbits)
    try:
        generation = bucket.generation(task.job.observations)
        key = JobKey(bucket.url, task.job.observations, generation)
        job = surveys.get(key, lambda: _prepared(bucket, task))
        test_orbit = _one_orbit(orbits, name=task.orbits)
    except BadInputError as error:
        raise TaskInputError(f"Cannot work on task {task.task_id!r} of job {task.job.job_id!r}: {error}") from error
    parts = [job.observations_sha256, job.config_sha256, hashlib.sha256(orbits).hexdigest(), job.engine_title]
    return TaskInputs(
        engine=job.engine,
        problem=LinkingProblem(job.survey, test_orbit, job.settings, map_blocks),
        n_observations=job.n_observations,
        fingerprint=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
    )


def _prepared(bucket: Bucket, task: TaskLayout) -> PreparedJob:
    config = _read(bucket, task, task.job.config)
    settings = settings_from_csv(config, name=task.job.config)
    engine = engine_of_job(settings)
    file = ScratchFile()
    with _missing_explained(bucket, task, task.job.observations):
        bucket.download(task.job.observations, file)
    observations = observations_from_csv(file.opened(), name=task.job.observations)
    logger.info("Prepares %d observations of job %s.", len(observations), task.job.job_id)
    return PreparedJob(
        settings=settings,
        engine=engine,
        engine_title=f"{engine.name} {engine.version}",
        survey=engine.prepare(observations, settings),
        config_sha256=hashlib.sha256(config).hexdigest(),
        observations_sha256=file.sha256,
        n_observations=len(observations),
    )


def _one_orbit(body: bytes, *, name: str) -> pa.Table:
    orbits = orbits_from_csv(body, name=name)
    if len(orbits) != 1:
        raise BadInputError(f"Cannot use {name}: it has {len(orbits)} rows, expected one test orbit.")
    return orbits


def _read(bucket: Bucket, task: TaskLayout, name: str) -> bytes:
    with _missing_explained(bucket, task, name):
        return bucket.read(name).body


@contextlib.contextmanager
def _missing_explained(bucket: Bucket, task: TaskLayout, name: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFoundError as error:
        raise TaskInputError(
            f"Cannot read inputs of task {task.task_id!r} (job {task.job.job_id!r}): object {name!r} is missing in "
            f"{bucket.url}. Submit the job again with the same files and --job-id, then retry the task."
        ) from error
