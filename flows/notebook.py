"""A job from Python: tables or files in, tables out. docs/python-api.md shows it.

The same work as `python -m flows.submit`, seen in the same Prefect; only what comes back is meant for a notebook.
"""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import SecretStr

from flows.collect import collect_options
from flows.submit import inputs_of, run_shown, settings_with
from tasks.errors import BadInputError
from tasks.inputs.job_inputs import AUTO
from tasks.jobs.collect import CollectedTask
from tasks.jobs.submit import new_job_id
from tasks.results.completeness import OBJECTS_FILE, Figures
from tasks.results.completeness import ORBITS_FILE as TRUTH_ORBITS_FILE
from tasks.results.job_results import PLOTS
from tasks.results.merge_results import MEMBERS_FILE, ORBITS_FILE
from tasks.results.report import REPORT_FILE

TableOrFile: TypeAlias = Path | str | pa.Table | pd.DataFrame
"""A file in any format that `flows.submit` reads, or a table with THOR's columns."""


@dataclass(frozen=True)
class ResultFiles:
    """What a job left in its output directory, `flows.submit` and `flows.collect` alike; tables are read when asked."""

    directory: Path

    @property
    def orbits(self) -> pa.Table:
        """Recovered orbits, one row per object; docs/outputs.md has the columns. `.to_pandas()` for pandas."""
        return pq.read_table(self.orbits_file)

    @property
    def members(self) -> pa.Table:
        """Detections of recovered orbits with their residuals."""
        return pq.read_table(self._existing(f"{MEMBERS_FILE}.parquet"))

    @property
    def truth_objects(self) -> pa.Table | None:
        """What there was of each object and what was found; None where the observations tell no truth."""
        return self._truth(OBJECTS_FILE)

    @property
    def truth_orbits(self) -> pa.Table | None:
        """Whether each orbit is pure; None where the observations tell no truth."""
        return self._truth(TRUTH_ORBITS_FILE)

    @property
    def orbits_file(self) -> Path:
        """The parquet file of `orbits`."""
        return self._existing(f"{ORBITS_FILE}.parquet")

    @property
    def adam_core_orbits_file(self) -> Path:
        """For `adam_core.orbits.Orbits.from_parquet`."""
        return self._existing(f"{ORBITS_FILE}_adam_core.parquet")

    @property
    def adam_core_members_file(self) -> Path:
        """For `adam_core.orbit_determination.FittedOrbitMembers.from_parquet`."""
        return self._existing(f"{MEMBERS_FILE}_adam_core.parquet")

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self._existing(REPORT_FILE)

    @property
    def ades(self) -> list[Path]:
        """Reports for the Minor Planet Center, one per observatory."""
        return sorted(self.directory.glob("ades_*.psv"))

    @property
    def plots(self) -> list[Path]:
        """The pictures, PNG."""
        return sorted((self.directory / PLOTS).glob("*.png"))

    def task_table(self, task_id: str, name: str) -> pa.Table:
        """Return a table of a task, such as `clusters` or `od_orbits`."""
        return _from_csv(self._existing(f"tasks/{task_id}/outputs/{name}.csv"))

    def _truth(self, name: str) -> pa.Table | None:
        path = self.directory / f"{name}.csv"
        return _from_csv(path) if path.is_file() else None

    def _existing(self, name: str) -> Path:
        path = self.directory / name
        if not path.is_file():
            raise BadInputError(
                f"Cannot read {path}: there is no such file. Expected the output of a job that was collected: "
                "`python -m flows.collect JOB --output DIR` makes one."
            )
        return path


@dataclass(frozen=True)
class JobRun(ResultFiles):
    """A job that has come to its end, with its results."""

    job_id: str
    #: Each task with its test orbit and its status; `failed` has those without results.
    tasks: Sequence[CollectedTask]
    #: Completeness and purity where the observations tell the truth; else empty.
    truth: Figures
    #: Why something was not written, such as ADES whose observers nobody named.
    notes: Sequence[str]

    @property
    def failed(self) -> dict[str, str]:
        """Tasks that failed, with the reason."""
        return {task.task_id: task.status.error or "" for task in self.tasks if task.status.state == "failed"}


TEXT_COLUMNS = ("orbit_id", "obs_id", "object_id", "cluster_id", "observatory_code", "filter", "verdict", "task_id")
"""Columns of csv files that are text, also where each value looks like a number: object 433, observatory 070."""


def _from_csv(path: Path) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()), null_values=[""], strings_can_be_null=True
    )
    return pyarrow.csv.read_csv(path, convert_options=convert)


def open_results(directory: Path | str) -> ResultFiles:
    """Return the results that lie in a directory."""
    return ResultFiles(Path(directory))


def run_job(  # noqa: PLR0913 (what the command takes)
    observations: TableOrFile,
    orbits: TableOrFile = AUTO,
    *,
    config: Path | str | Mapping[str, object] | None = None,
    output: Path | str | None = None,
    job_id: str | None = None,
    number: int | None = None,
    catalogue: TableOrFile | None = None,
    bucket: str | None = None,
    queue: str | None = None,
    workers: int | None = None,
    claim_observations: bool = False,
) -> JobRun:
    """Submit a job, follow it and bring its results home; returns when every task has ended.

    Parameters
    ----------
    observations
        Detections: a file, or a table with the columns of docs/formats/thor.md.
    orbits
        Test orbits: a file, a table, or "auto": chosen to cover the observed sky.
    config
        A file of settings, or the settings themselves: key -> value.
    output
        Directory for the results; None: thor_output/<job_id>.
    job_id
        Names the job; None: a new id. The id of an interrupted job, with the same inputs, goes on with it.
    number
        How many test orbits to choose with "auto".
    catalogue
        Orbits of known objects; None: nothing is attributed.
    bucket, queue
        URLs; None: those of the environment.
    workers
        Workers to start here; None: as many as cores on a sqlite queue, else none.
    claim_observations
        Leave out of later tasks what earlier ones linked with confidence.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the inputs; nothing was changed then.
    """
    secret = None if queue is None else SecretStr(queue)
    job = new_job_id(job_id)
    with tempfile.TemporaryDirectory(prefix="thor-inputs-") as scratch:
        folder = Path(scratch)
        files = {
            "observations": _file_of(observations, folder / "observations.parquet"),
            "orbits": _file_of(orbits, folder / "orbits.parquet"),
            "config": _config_file(config, folder / "config.csv"),
        }
        known = None if catalogue is None else _file_of(catalogue, folder / "catalogue.parquet")
        # Bad input ends here, before anything is started.
        inputs_of(**files, number=number, claim_observations=claim_observations)
        collect_options(None, known)
        outcome, _ = run_shown(
            settings_with(bucket=bucket, queue=secret),
            job_id=job,
            **files,
            bucket=bucket,
            queue=secret,
            workers=workers,
            output=None if output is None else Path(output),
            number=number,
            catalogue=known,
            claim_observations=claim_observations,
        )
    assert outcome is not None  # noqa: S101 (it was waited for)
    results = outcome.results
    return JobRun(results.output, job, results.tasks, results.truth, results.ades.notes)


def _file_of(given: TableOrFile, into: Path) -> Path:
    if isinstance(given, pd.DataFrame):
        given = pa.Table.from_pandas(given, preserve_index=False)
    if isinstance(given, pa.Table):
        pq.write_table(given, into)
        return into
    return Path(given)


def _config_file(given: Path | str | Mapping[str, object] | None, into: Path) -> Path | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return Path(given)
    with into.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("key", "value"), *given.items()])
    return into
