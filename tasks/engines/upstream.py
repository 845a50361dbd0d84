"""Engine `thor`: upstream THOR in an interpreter of its own, behind the same interface as ours.

Upstream (github moeyensj/thor) needs other versions of our own libraries. It runs as a subprocess that meets us in
files (`upstream_interpreter`); this module makes its tables ours. The package `thor` on PyPI is something else.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.errors import EngineError, EngineInputError, EngineMissingError
from tasks.engines.interface import LinkingProblem, Stage, StageResult, Tables
from tasks.engines.settings import EngineSettings
from tasks.engines.upstream_tables import tables_from_upstream

RUNNER = Path(__file__).parent / "upstream_interpreter" / "run_stage.py"

COMMIT = "7d74c0b"
"""The commit that the adapter was written for."""

NOT_THERE = 3
"""The runner's exit code when upstream THOR is not there."""

ADAPTER = "1"
"""Changes when the adapter makes other tables of the same upstream results."""

HOW_TO_INSTALL = (
    "Give upstream THOR an environment of its own (Python 3.12) and name its interpreter in THOR_PYTHON: "
    f"`python3.12 -m venv thor-env && thor-env/bin/pip install 'git+https://github.com/moeyensj/thor@{COMMIT}' "
    "'adam-core==0.5.5' 'ray[default]==2.49.1'`. Never install the package named thor from PyPI: it is an HTTP library."
)


class UpstreamFailedError(EngineError):
    """Upstream ended with an error; the message has the end of what it wrote."""


@dataclass(frozen=True)
class UpstreamSurvey:
    """Our prepared survey, and a directory in which upstream's own files live as long as the survey."""

    prepared: PreparedSurvey
    #: Columns of `tables.OBSERVATIONS`, and `night`; no nulls where upstream allows none.
    observations: pa.Table
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="thor-upstream-")))

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)

    @property
    def nbytes(self) -> int:
        """Memory it takes, bytes."""
        return self.prepared.nbytes + int(self.observations.nbytes)

    def folder(self, problem: LinkingProblem) -> Path:
        """Return the directory of this test orbit with these settings, its inputs in place."""
        config = json.dumps(upstream_config(problem.test_orbit, problem.settings), sort_keys=True)
        orbit = problem.test_orbit.to_pydict()
        name = hashlib.sha256(f"{config}{sorted(orbit.items())}".encode()).hexdigest()[:16]
        folder = self.directory / name
        if not folder.exists():
            folder.mkdir()
            pq.write_table(self.observations, folder / "observations.parquet")
            pq.write_table(problem.test_orbit, folder / "test_orbit.parquet")
            (folder / "config.json").write_text(config)
        return folder


@dataclass(frozen=True)
class UpstreamEngine:
    """See `tasks.engines.interface.Engine`. Each stage is one run of upstream, up to and with that stage.

    Upstream goes on from its own files of the stages before; where they are gone, since another process made them, it
    makes them again.
    """

    #: The interpreter that has upstream THOR; None: none is set.
    python: Path | None

    @property
    def name(self) -> str:
        """Name as in config key `engine`."""
        return "thor"

    @property
    def version(self) -> str:
        """Upstream's version with that of the adapter."""
        return f"{self.found['thor']}+{self.found['adam-core']}.adapter.{ADAPTER}"

    @cached_property
    def found(self) -> Mapping[str, str]:
        """Versions of what the interpreter has.

        Raises
        ------
        EngineMissingError
            If it is not there, or has not got upstream THOR.
        """
        with self._running("check") as events:
            for event in events:
                if event["event"] == "found":
                    return {name: str(value) for name, value in event.items() if name != "event"}
        raise EngineMissingError(f"Cannot run engine 'thor' with {self.python}: it said nothing. {HOW_TO_INSTALL}")

    def prepare(self, observations: pa.Table, settings: EngineSettings) -> UpstreamSurvey:
        """Prepare the observations of a job (rows of `tables.OBSERVATIONS`)."""
        prepared = prepare_survey(observations, settings)
        return UpstreamSurvey(prepared, upstream_observations(prepared, observations))

    def range_and_shift(self, problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG002
        """Run upstream's filter_observations, generate_ephemeris and range_and_transform."""
        return self._stage("range_and_shift", problem)

    def cluster_and_link(self, problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG002
        """Run upstream's cluster_and_link."""
        return self._stage("cluster_and_link", problem)

    def initial_orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG002
        """Run upstream's initial_orbit_determination."""
        return self._stage("initial_orbit_determination", problem)

    def orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG002
        """Run upstream's differential_correction."""
        return self._stage("orbit_determination", problem)

    def merge_and_extend(self, problem: LinkingProblem, tables: Tables) -> StageResult:  # noqa: ARG002
        """Run upstream's merge_and_extend_orbits."""
        return self._stage("merge_and_extend", problem)

    def _stage(self, stage: Stage, problem: LinkingProblem) -> StageResult:
        survey: UpstreamSurvey = problem.survey
        folder = survey.folder(problem)
        done = None
        with self._running("run", str(folder), stage) as events:
            for event in events:
                done = event if event["event"] == "done" else done
        if done is None:
            raise UpstreamFailedError(f"Upstream THOR ended {stage} without a result.")
        flat = {name: pq.read_table(folder / "tables" / f"{name}.parquet") for name in done["tables"]}
        software = f"{self.name} {self.version}"
        tables = tables_from_upstream(flat, survey.prepared, software)
        return StageResult(tables, {name: table.num_rows for name, table in tables.items()})

    @contextmanager
    def _running(self, *arguments: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Start the runner and give its events; it ends when this process does, since it holds its standard input."""
        with tempfile.TemporaryFile("w+") as written, self._started(arguments, written) as process:
            assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
            yield (self._event(line) for line in process.stdout)
            process.stdout.read()
            code = process.wait()
            written.seek(0)
            self._check(code, arguments, written.read()[-4000:])

    def _started(self, arguments: tuple[str, ...], written: Any) -> "subprocess.Popen[str]":
        if self.python is None:
            raise EngineMissingError(f"Cannot run engine 'thor': THOR_PYTHON is not set. {HOW_TO_INSTALL}")
        command = [str(self.python), str(RUNNER), *arguments]
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=written, text=True)
        except OSError as error:
            raise EngineMissingError(
                f"Cannot run engine 'thor': the interpreter {self.python} does not start ({error.strerror}). "
                f"{HOW_TO_INSTALL}"
            ) from error

    def _event(self, line: str) -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise EngineMissingError(
                f"Cannot run engine 'thor': {self.python} wrote {line.strip()[:80]!r}, expected lines of JSON; is it a "
                f"Python interpreter? {HOW_TO_INSTALL}"
            ) from error
        return event

    def _check(self, code: int, arguments: tuple[str, ...], written: str) -> None:
        """Raise what an exit code means."""
        if code == NOT_THERE or (arguments == ("check",) and code != 0):
            raise EngineMissingError(
                f"Cannot run engine 'thor' with {self.python}: upstream THOR is not there ({written.strip()}). "
                f"{HOW_TO_INSTALL}"
            )
        if code != 0:
            raise UpstreamFailedError(
                f"Upstream THOR failed: {' '.join(arguments)} ended with exit code {code}, expected 0. It wrote: "
                f"{written.strip()}"
            )


def upstream_config(test_orbit: pa.Table, settings: EngineSettings) -> dict[str, Any]:
    """Return our settings as fields of upstream's `Config`; what ours do not say keeps upstream's default."""
    if test_orbit.num_rows != 1:
        raise EngineInputError(
            f"A task has {test_orbit.num_rows} test orbits, expected 1. Give each a task of its own."
        )
    has_covariance = test_orbit["covariance"][0].as_py() is not None
    cell, link = settings.range_and_shift, settings.cluster_and_link
    fewest = {f"{stage}_min_obs": link.min_observations for stage in ("cluster", "iod", "od", "arc_extension")}
    shortest = {f"{stage}_min_arc_length": link.min_arc_days for stage in ("cluster", "iod", "od", "arc_extension")}
    return {
        "filter_cell_radius": None if has_covariance else cell.cell_radius_deg,
        "filter_mahalanobis_distance": cell.cell_mahalanobis if has_covariance else None,
        "cluster_min_nights": link.min_nights,
        **fewest,
        **shortest,
        "arc_extension_radius": settings.merge_and_extend.radius_arcsec / 3600,
    }


def upstream_observations(survey: PreparedSurvey, observations: pa.Table) -> pa.Table:
    """Return what upstream reads: uncertainties filled, exposures and nights as we have them, ids as they are."""
    exposure = survey.exposure
    # At a pole the right ascension means nothing: its sigma is large, but a number.
    cos_dec = np.maximum(np.cos(np.radians(survey.dec_deg)), 1e-6)
    filters = observations["filter"] if "filter" in observations.column_names else pa.nulls(len(exposure), pa.string())
    return pa.table(
        {
            "obs_id": survey.obs_ids,
            "exposure_id": [f"exposure_{number:06d}" for number in exposure],
            "mjd_utc": survey.exposure_mjd_utc[exposure],
            "night": survey.exposure_night[exposure].astype(np.int64),
            "RA_deg": survey.ra_deg,
            "Dec_deg": survey.dec_deg,
            # Upstream's is that of the right ascension itself: adam-core multiplies it by cos(Dec).
            "ra_sigma_deg": np.degrees(survey.sigma_ra_rad) / cos_dec,
            "dec_sigma_deg": np.degrees(survey.sigma_dec_rad),
            "mag": survey.mag,
            "mag_sigma": np.full(len(exposure), np.nan),
            "filter": filters.fill_null("unknown"),
            "observatory_code": survey.observatory_codes.cast(pa.string()),
        }
    )
