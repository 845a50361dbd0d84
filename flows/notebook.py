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
import pyarrow.parquet as pq
from pydantic import SecretStr

from flows.collect import collect_options
from flows.submit import inputs_of, run_shown
from flows.terminal.places import settings_with
from tasks.inputs.job_inputs import AUTO
from tasks.jobs.collect import CollectedTask
from tasks.jobs.submit import new_job_id
from tasks.results.completeness import Figures
from tasks.results.result_files import ResultFiles

TableOrFile: TypeAlias = Path | str | pa.Table | pd.DataFrame
"""A file in any format that `flows.submit` reads, or a table with THOR's columns."""


@dataclass(frozen=True)
class JobRun(ResultFiles):
    """A job that has come to its end, with its results."""

    job_id: str
    #: Each task with its test orbit and its status; `failed` has those without results.
    tasks: Sequence[CollectedTask]
    #: Completeness and purity where the observations tell the truth; else empty.
    truth: Figures
    #: Why something was not written, such as ADES without named observers.
    notes: Sequence[str]

    @property
    def failed(self) -> dict[str, str]:
        """Tasks that failed, with the reason."""
        return {task.task_id: task.status.error or "" for task in self.tasks if task.status.state == "failed"}


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
