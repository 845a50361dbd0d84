"""Engine `thor`: upstream THOR in an interpreter of its own, behind the same interface as ours.

Upstream (github moeyensj/thor) needs other versions of our own libraries. It runs as a process (`upstream_process`)
that meets us in files (`upstream_files`); this module says what it is to do. PyPI's package `thor` is something else.
"""

import hashlib
import json
import logging
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engines.builtin.astrodynamics.observers import positions_of_table
from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import STAGES, LinkingProblem, Stage, StageResult, Tables
from tasks.engines.settings import EngineSettings
from tasks.engines.upstream_files import OwnDirectory
from tasks.engines.upstream_process import Event, UpstreamProcess
from tasks.engines.upstream_settings import COUNTERPARTS, MAX_PROCESSES, ThorValue
from tasks.engines.upstream_tables import tables_from_upstream

ADAPTER = "2"
"""Changes when the adapter makes other tables of the same upstream results."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class UpstreamSurvey:
    """Our prepared survey, and the file in which upstream finds the observations, as long as the survey lives."""

    prepared: PreparedSurvey
    #: The job's directory: observations.parquet, and one folder for each test orbit at work.
    directory: Path

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)

    @property
    def observations(self) -> Path:
        """Columns of `tables.OBSERVATIONS`, and `night`; no nulls where upstream allows none."""
        return self.directory / "observations.parquet"

    @property
    def nbytes(self) -> int:
        """Memory and disk that it takes, bytes."""
        return self.prepared.nbytes + self.observations.stat().st_size


class UpstreamEngine:
    """See `tasks.engines.interface.Engine`. One process of upstream computes stage after stage, task after task.

    Upstream keeps what a stage gave in memory for the next one, and in files. A former attempt's files come with its
    checkpoint: upstream goes on from them.
    """

    def __init__(self, python: Path | None) -> None:
        #: The interpreter that has upstream THOR; None: none is set.
        self.python = python
        self._process: UpstreamProcess | None = None
        self._own: OwnDirectory | None = None

    @property
    def name(self) -> str:
        """Name as in config key `engine`."""
        return "thor"

    @property
    def version(self) -> str:
        """Upstream's version with that of the adapter.

        Raises
        ------
        EngineMissingError
            If it is not there, has not got upstream THOR, or has another than the adapter was written for.
        """
        return version_from_found(self._running().found)

    def prepare(self, observations: pa.Table, settings: EngineSettings) -> UpstreamSurvey:
        """Prepare the observations of a job (rows of `tables.OBSERVATIONS`).

        Raises
        ------
        EngineInputError
            As `check_observations` does, and for an observer that moves: upstream knows places only.
        """
        if positions_of_table(observations) is not None:
            raise EngineInputError(
                "Engine 'thor' has no observers that move: some observations bring their observer's position. Leave "
                "them out, or use engine builtin."
            )
        prepared = prepare_survey(observations, settings)
        survey = UpstreamSurvey(prepared, _new_folder(self._directory(), "survey"))
        pq.write_table(upstream_observations(prepared, observations), survey.observations)
        return survey

    def range_and_shift(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Run upstream's filter_observations, generate_ephemeris and range_and_transform."""
        return self._stage("range_and_shift", problem, tables)

    def cluster_and_link(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Run upstream's cluster_and_link."""
        return self._stage("cluster_and_link", problem, tables)

    def initial_orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Run upstream's initial_orbit_determination."""
        return self._stage("initial_orbit_determination", problem, tables)

    def orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Run upstream's differential_correction."""
        return self._stage("orbit_determination", problem, tables)

    def merge_and_extend(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Run upstream's merge_and_extend_orbits."""
        return self._stage("merge_and_extend", problem, tables)

    def close(self) -> None:
        """End the process and remove every file. The engine may be used again."""
        if self._process is not None:
            self._process.close()
        if self._own is not None:
            self._own.remove()
        self._process = self._own = None

    def _stage(self, stage: Stage, problem: LinkingProblem, tables: Tables) -> StageResult:
        survey: UpstreamSurvey = problem.survey
        folder = folder_of(problem)
        command = {
            "stage": stage,
            "folder": str(folder),
            "observations": str(survey.observations),
            "scratch": str(self._directory()),
            "unmasked": _unmasked(folder, problem, tables),
        }
        done = self._running().ask(command, hear=lambda event: _tell(stage, event))
        flat = {name: pq.read_table(folder / "tables" / f"{name}.parquet") for name in done["tables"]}
        made = tables_from_upstream(flat, survey.prepared, f"{self.name} {self.version}")
        kept = {name: (folder / "work" / name).read_bytes() for name in done["files"]} if stage != STAGES[-1] else {}
        return StageResult(made, {name: table.num_rows for name, table in made.items()}, kept)

    def _running(self) -> UpstreamProcess:
        if self._process is None or not self._process.is_alive:
            self._process = UpstreamProcess(self.python)
        return self._process

    def _directory(self) -> Path:
        if self._own is None:
            self._own = OwnDirectory()
        return self._own.path


def version_from_found(found: Mapping[str, object]) -> str:
    """Return the engine's version: upstream's, that of adam-core, and the adapter's."""
    return f"{found['thor']}+{found['adam-core']}.adapter.{ADAPTER}"


def folder_of(problem: LinkingProblem) -> Path:
    """Return the folder of an attempt, its inputs in place, and the files that a former attempt kept.

    It goes when the attempt has ended.
    """
    config = json.dumps(upstream_config(problem.test_orbit, problem.settings), sort_keys=True)
    orbit = problem.test_orbit.to_pydict()
    name = hashlib.sha256(f"{config}{sorted(orbit.items())}".encode()).hexdigest()[:16]
    folder: Path = problem.survey.directory / name
    if not folder.exists():
        problem.at_end.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "work").mkdir(parents=True)
        pq.write_table(problem.test_orbit, folder / "test_orbit.parquet")
        (folder / "config.json").write_text(config)
    # Also those of a stage that a checkpoint spared after another one, which left none, was computed again.
    for files in problem.kept.values():
        for file_name, body in files.items():
            if not (folder / "work" / file_name).exists():
                (folder / "work" / file_name).write_bytes(body)
    return folder


def _unmasked(folder: Path, problem: LinkingProblem, tables: Tables) -> str | None:
    """Return the file that names the observations that no other task has claimed; None: all stay."""
    if not problem.settings.claims.observations or "projected_observations" not in tables:
        return None
    path = folder / "unmasked.parquet"
    pq.write_table(tables["projected_observations"].select(["obs_id"]), path)
    return str(path)


def _tell(stage: Stage, event: Event) -> None:
    if event["event"] == "silent":
        logger.info("Upstream has been at %s for %.0f s since its last line.", stage, event["seconds"])
    elif event["event"] == "stage":
        rows = ", ".join(map(str, event["rows"]))
        logger.info("Upstream finished %s: rows %s.", event["name"], rows)


def _new_folder(directory: Path, name: str) -> Path:
    """Return a new folder of that name, with the first number that is free."""
    number = sum(path.name.startswith(name) for path in directory.iterdir())
    while (folder := directory / f"{name}-{number}").exists():
        number += 1
    folder.mkdir()
    return folder


def upstream_config(test_orbit: pa.Table, settings: EngineSettings) -> dict[str, ThorValue]:
    """Return our settings as fields of upstream's `Config`; what a config does not say keeps upstream's default.

    Upstream's own keys (`thor.<field>`) win over ours with the same meaning.
    """
    if test_orbit.num_rows != 1:
        raise EngineInputError(
            f"A task has {test_orbit.num_rows} test orbits, expected 1. Give each a task of its own."
        )
    ours = {
        "range_and_shift.cell_radius_deg": settings.range_and_shift.cell_radius_deg,
        "range_and_shift.cell_mahalanobis": settings.range_and_shift.cell_mahalanobis,
        "cluster_and_link.min_observations": settings.cluster_and_link.min_observations,
        "cluster_and_link.min_nights": settings.cluster_and_link.min_nights,
        "cluster_and_link.min_arc_days": settings.cluster_and_link.min_arc_days,
        "cluster_and_link.grid_speed_deg_per_day": settings.cluster_and_link.grid_speed_deg_per_day,
        "cluster_and_link.grid_bins": settings.cluster_and_link.grid_bins,
        "cluster_and_link.grid_radius_deg": settings.cluster_and_link.grid_radius_deg,
        "merge_and_extend.radius_arcsec": settings.merge_and_extend.radius_arcsec / 3600,
    }
    fields: dict[str, ThorValue] = {name: ours[key] for key, names in COUNTERPARTS.items() for name in names}
    for name in ("cluster_vx_min", "cluster_vy_min"):
        fields[name] = -settings.cluster_and_link.grid_speed_deg_per_day
    # The cell is told by a radius, or by the test orbit's covariance where there is one.
    has_covariance = test_orbit["covariance"][0].as_py() is not None
    fields["filter_cell_radius" if has_covariance else "filter_mahalanobis_distance"] = None
    return {**fields, "max_processes": MAX_PROCESSES, **dict(settings.thor)}


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
