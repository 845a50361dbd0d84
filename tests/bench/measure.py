"""Measure the engine on one survey: run it in a fresh process, then compare its tables with the truth."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.engines.score import CONTAMINATED, FALSE, PURE, Score, score_orbits
from tasks.engines.settings import EngineSettings, settings_from_items
from tests.bench.cases import CASES, CELL, Case
from tests.bench.survey import BenchSurvey, folder_of_survey, make_survey
from tests.support.sky import AXES

REPOSITORY = Path(__file__).parents[2]

THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")

LINKED = {  # what is scored after which stage: table, and the name of its ids
    "cluster_and_link": ("cluster_members", "cluster_id"),
    "initial_orbit_determination": ("iod_orbit_members", "orbit_id"),
    "orbit_determination": ("od_orbit_members", "orbit_id"),
    "merge_and_extend": ("recovered_orbit_members", "orbit_id"),
}


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    case: str
    seed: int = 1
    threads: int = 1
    #: The last stage to run.
    stage: str = "merge_and_extend"
    #: The fastest of so many runs in one process is reported.
    repeat: int = 2
    engine: str = "builtin"


def measure(asked: Asked) -> dict[str, Any]:
    """Everything about one run, ready for JSON."""
    case = CASES[asked.case]
    survey = make_survey(case, seed=asked.seed)
    make_survey("20k", seed=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measures = _run_child(asked, case, folder)
        tables = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
    settings = settings_from_items(case.settings)
    expected = in_cell(survey, settings)
    stages = {
        stage: scored(score_linked(survey, expected, tables[table], ids, settings), tables[table].num_rows)
        for stage, (table, ids) in LINKED.items()
        if table in tables
    }
    covariance = mahalanobis(survey, expected, tables, settings) if "recovered_orbits" in tables else {}
    return {
        **vars(asked),
        "detections": survey.observations.num_rows,
        "in_cell": expected.num_rows,
        **measures,
        "scores": stages,
        "covariance": covariance,
    }


def in_cell(survey: BenchSurvey, settings: EngineSettings) -> pa.Table:
    """The observations that the test orbit's cell holds, by ASSIST."""
    near = pc.less_equal(survey.distances["distance_deg"], settings.range_and_shift.cell_radius_deg)
    return survey.observations.filter(near)


def score_linked(
    survey: BenchSurvey, expected: pa.Table, members: pa.Table, ids: str, settings: EngineSettings
) -> Score:
    named = members if ids == "orbit_id" else members.append_column("orbit_id", members[ids])
    return score_orbits(expected, survey.truth, named, settings=settings.cluster_and_link)


def scored(score: Score, members: int) -> dict[str, Any]:
    return {
        "findable": score.findable,
        "recovered": score.recovered,
        "completeness": score.completeness,
        "observation_completeness": score.observation_completeness,
        "orbits": score.orbits.num_rows,
        "pure": score.count(PURE),
        "contaminated": score.count(CONTAMINATED),
        "false": score.count(FALSE),
        "one_orbit": score.objects_with_one_orbit,
        "members": members,
    }


def mahalanobis(
    survey: BenchSurvey, expected: pa.Table, tables: dict[str, pa.Table], settings: EngineSettings
) -> dict[str, float]:
    """Squared Mahalanobis distance of pure recovered orbits from the true states; 6 is expected."""
    squares = np.array(mahalanobis_squares(survey, expected, tables, settings))
    if len(squares) == 0:
        return {}
    return {
        "mean": float(np.mean(squares)),
        "median": float(np.median(squares)),
        "beyond_99_percent": float(np.mean(squares > 16.81)),
        "orbits": len(squares),
    }


def mahalanobis_squares(
    survey: BenchSurvey, expected: pa.Table, tables: dict[str, pa.Table], settings: EngineSettings
) -> list[float]:
    """One number for each pure recovered orbit."""
    orbits = tables["recovered_orbits"]
    score = score_linked(survey, expected, tables["recovered_orbit_members"], "orbit_id", settings)
    object_of_orbit = {row["orbit_id"]: row["object_id"] for row in score.orbits.to_pylist() if row["verdict"] == PURE}
    truth = {epoch: survey.truth_states_at(epoch) for epoch in set(orbits["epoch"].to_pylist())}
    squares = []
    for row in orbits.to_pylist():
        if row["orbit_id"] in object_of_orbit and row["covariance"] is not None:
            off = np.array([row[name] for name in AXES]) - truth[row["epoch"]][object_of_orbit[row["orbit_id"]]]
            squares.append(float(off @ np.linalg.solve(symmetric(row["covariance"]), off)))
    return squares


def symmetric(lower_triangle: list[float]) -> np.ndarray:
    matrix = np.zeros((6, 6))
    rows, columns = np.tril_indices(6)
    matrix[rows, columns] = lower_triangle
    matrix[columns, rows] = lower_triangle
    return matrix


def _run_child(asked: Asked, case: Case, folder: Path) -> dict[str, Any]:
    problem = {
        "engine": asked.engine,
        "stage": asked.stage,
        "threads": asked.threads,
        "repeat": asked.repeat,
        "survey": _files(folder_of_survey(case, asked.seed), dict(case.settings)),
        "warm_up": _files(folder_of_survey(CASES["20k"], 0), dict(CELL)),
    }
    (folder / "problem.json").write_text(json.dumps(problem))
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(asked.threads))
    subprocess.run(
        [sys.executable, "-m", "tests.bench.child", str(folder)], cwd=REPOSITORY, env=environment, check=True
    )
    return json.loads((folder / "measures.json").read_text())


def _files(folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    names = ("observations", "test_orbits")
    return {**{name: str(folder / f"{name}.parquet") for name in names}, "settings": settings}
