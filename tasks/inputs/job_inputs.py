"""A job's inputs, read and checked before the first upload; and as the canonical bytes that go to the bucket."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.bucket.content import ScratchFile
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import OBJECT_ID, OBSERVER_POSITION
from tasks.errors import BadInputError
from tasks.inputs.canonical_file import CanonicalObservations, canonical_from_file, canonical_from_table
from tasks.inputs.catalogue_file import CatalogueFile, read_catalogue
from tasks.inputs.config_file import Config, csv_from_settings, read_config
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.engine_of_job import engine_named_by
from tasks.inputs.known_observations import LeftOut, without_known
from tasks.inputs.observations_file import observations_from_csv
from tasks.inputs.orbits_file import read_orbits
from tasks.records.ids import TaskId, task_ids_from_orbit_ids
from tasks.records.manifest import ExpectedGroup

if TYPE_CHECKING:
    from tasks.engines.demo import DemoProblem

ALL_ORBITS = "tasks/*/inputs/orbits.csv"
"""Key of the manifest's `inputs_sha256` under which all test orbits stand together, in the order of the tasks."""


AUTO = Path("auto")
"""Stands for a file of test orbits: they are chosen to cover the observations. A file of this name is `./auto` too:
give its whole path."""

DEMO_SEED = 1
"""Seed of the demo's noise and false detections."""


@dataclass(frozen=True)
class InputFiles:
    """Where a person's inputs lie; without a config the defaults hold."""

    observations: Path
    orbits: Path
    config: Path | None = None
    #: Test orbits to choose when `orbits` is `AUTO`; None: as many as cover what is in the field.
    number: int | None = None
    #: Leave out of later tasks what earlier ones linked with confidence, whatever the config says.
    claim_observations: bool = False
    #: Orbits of known objects whose detections are left out; None: all are linked.
    leave_out: Path | None = None


@dataclass(frozen=True)
class JobInputs:
    """The objects of a job that never change. The same inputs always give the same bytes."""

    observations: ScratchFile
    config_csv: bytes
    task_ids: tuple[TaskId, ...]
    #: Parallel to task_ids.
    orbit_ids: tuple[str, ...]
    orbit_csvs: tuple[bytes, ...]
    n_observations: int
    engine_name: str
    engine_version: str
    #: What was left out of the observations, filled in or chosen, in words.
    notes: tuple[str, ...] = ()
    #: What the test orbits were chosen for; empty: they came with the inputs.
    expected: tuple[ExpectedGroup, ...] = ()
    #: known_observations.csv: what was left out because it is of known objects; None: it was not asked for.
    known_csv: bytes | None = None
    #: The truth, when this is the demo.
    demo: "DemoProblem | None" = None

    @property
    def sha256(self) -> Mapping[str, str]:
        """Return what a manifest says of them."""
        orbits = hashlib.sha256()
        for task_id, body in zip(self.task_ids, self.orbit_csvs, strict=True):
            orbits.update(f"{task_id} {len(body)}\n".encode() + body)
        sums = {
            "observations.csv": self.observations.sha256,
            "config.csv": hashlib.sha256(self.config_csv).hexdigest(),
            ALL_ORBITS: orbits.hexdigest(),
        }
        if self.known_csv is not None:
            sums["known_observations.csv"] = hashlib.sha256(self.known_csv).hexdigest()
        return sums


def read_inputs(files: InputFiles) -> JobInputs:
    """Read and check every input. Twice: the same unchanged files are not read again.

    Raises
    ------
    BadInputError
        For the first thing that is wrong; nothing has been uploaded.
    """
    paths = (files.observations, files.orbits, *(path for path in (files.config, files.leave_out) if path))
    return _read_unchanged(files, tuple(_stamp(path) for path in paths))


@lru_cache(maxsize=1)
def _read_unchanged(files: InputFiles, _stamps: tuple[tuple[int, int], ...]) -> JobInputs:
    config = read_config(files.config) if files.config else Config()
    if files.claim_observations:
        claims = dataclasses.replace(config.settings.claims, observations=True)
        config = dataclasses.replace(config, settings=dataclasses.replace(config.settings, claims=claims))
    observations = canonical_from_file(files.observations, config.observations_format)
    notes = observations.notes
    expected: tuple[ExpectedGroup, ...] = ()
    if files.orbits == AUTO:
        orbits, note, expected = _chosen_orbits(observations, config.settings, files)
        notes = (*notes, note)
    else:
        orbits = read_orbits(files.orbits)
    known_csv = None
    if files.leave_out is not None:
        left = _without_known(observations, read_catalogue(files.leave_out), config.settings, files)
        observations, notes, known_csv = canonical_from_table(left.rest), (*notes, left.note), left.known_csv
    inputs = _job_inputs(observations, orbits, config.settings)
    return dataclasses.replace(_with_ades(inputs, config), notes=notes, expected=expected, known_csv=known_csv)


def _without_known(
    observations: CanonicalObservations, catalogue: CatalogueFile, settings: EngineSettings, files: InputFiles
) -> LeftOut:
    name = str(files.observations)
    table = observations_from_csv(observations.file.opened(), name=name)
    return without_known(table, catalogue, settings, name=name)


def _chosen_orbits(
    observations: CanonicalObservations, settings: EngineSettings, files: InputFiles
) -> tuple[pa.Table, str, tuple[ExpectedGroup, ...]]:
    """Choose the test orbits, and say what they cover, in words and of each group.

    From observations and settings alone, so that an interrupted job gets the same again.
    """
    # The engine's compiled kernels take a second to import: a job that brings test orbits shall not pay for it.
    from tasks.engines.orbit_selection.choice import SelectionSettings  # noqa: PLC0415
    from tasks.engines.orbit_selection.footprint import COLUMNS  # noqa: PLC0415
    from tasks.inputs.choose_orbits import choose_for_observations  # noqa: PLC0415

    selection = SelectionSettings(number=files.number)
    name = str(files.observations)
    table = observations_from_csv(observations.file.opened(), name=name, columns=(*COLUMNS, *OBSERVER_POSITION.names))
    chosen = choose_for_observations(table, settings=settings, selection=selection, name=name)
    covered = f"{chosen.coverage:.1%}"
    told = f"Chose test orbits ({len(chosen.orbits)}); expected coverage {covered} of objects in the field."
    groups = [
        ExpectedGroup(group=each.group, objects=round(each.expected, 2), coverage=each.share) for each in chosen.groups
    ]
    return chosen.table, " ".join((told, *chosen.notes)), tuple(groups)


def inputs_from_tables(*, observations: pa.Table, orbits: pa.Table, settings: EngineSettings) -> JobInputs:
    """Return the inputs of a job from checked tables: one task per row of `orbits`.

    Raises
    ------
    BadInputError
        If there is no engine of that name, it cannot use the observations, or two test orbits have one id.
    EngineUnavailableError
        If THOR_PYTHON names an interpreter that has not got the engine.
    """
    return _job_inputs(canonical_from_table(observations), orbits, settings)


def _job_inputs(observations: CanonicalObservations, orbits: pa.Table, settings: EngineSettings) -> JobInputs:
    engine_name, engine_version = engine_named_by(settings)
    if engine_name == "thor" and observations.observers_move:
        raise BadInputError(
            "Cannot link these observations with engine 'thor': some bring their observer's position (spacecraft, "
            "roving observers), expected observatories with places on the Earth. Leave them out, or use engine builtin."
        )
    orbit_ids = orbits["orbit_id"].to_pylist()
    return JobInputs(
        observations=observations.file,
        config_csv=csv_from_settings(settings),
        task_ids=tuple(task_ids_from_orbit_ids(orbit_ids)),
        orbit_ids=tuple(orbit_ids),
        orbit_csvs=tuple(csv_from_table(orbits.slice(row, 1)) for row in range(len(orbits))),
        n_observations=observations.n_observations,
        engine_name=engine_name,
        engine_version=engine_version,
    )


@lru_cache(maxsize=1)
def demo_inputs(config: Path | None = None) -> JobInputs:
    """Return the inputs of the demo job: 28 real objects, one test orbit each."""
    from tasks.engines.demo import demo_problem  # noqa: PLC0415 (adam-core: 4 s that only the demo pays)

    problem = demo_problem(seed=DEMO_SEED)
    said = read_config(config) if config else Config()
    observations = problem.observations.append_column(OBJECT_ID, problem.truth[OBJECT_ID.name])
    inputs = inputs_from_tables(observations=observations, orbits=problem.test_orbits, settings=said.settings)
    return dataclasses.replace(_with_ades(inputs, said), demo=problem)


def _with_ades(inputs: JobInputs, config: Config) -> JobInputs:
    """Keep the keys `ades.*` in the job's config: `collect` writes reports with them, on any machine."""
    return dataclasses.replace(inputs, config_csv=csv_from_settings(config.settings, config.ades))


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written; of a file that is not there, zeros."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
