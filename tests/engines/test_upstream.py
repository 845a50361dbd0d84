"""The adapter to upstream THOR: what can be shown without it, and (marker `thor`) a run with it."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adam_core.coordinates import CoordinateCovariances, Origin, SphericalCoordinates
from adam_core.coordinates.residuals import Residuals
from adam_core.time import Timestamp

from tasks.engines import tables as schemas
from tasks.engines import upstream_process
from tasks.engines.demo import DemoProblem, demo_problem
from tasks.engines.errors import EngineInputError, EngineMissingError
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.settings import EngineSettings, settings_from_items
from tasks.engines.upstream import UpstreamEngine, upstream_config
from tasks.engines.upstream_files import remove_left_directories
from tasks.engines.upstream_process import RUNNER, UpstreamFailedError, found_upstream
from tasks.engines.upstream_settings import FIELDS
from tasks.engines.upstream_tables import tables_from_upstream
from tests.support import upstream_stand_in

SOFTWARE = "thor 2.0+test"


@pytest.fixture(scope="module")
def demo() -> DemoProblem:
    return demo_problem(seed=3)


@pytest.fixture(scope="module")
def survey(demo):
    return UpstreamEngine(python=None).prepare(demo.observations, EngineSettings())


def interpreter_with(folder: Path, package: str) -> Path:
    """An interpreter, ours, that finds a package `thor` of that content."""
    (folder / "thor").mkdir()
    (folder / "thor" / "__init__.py").write_text(package)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@dataclass
class StandIn:
    """An interpreter that stands for upstream's; see `tests.support.upstream_stand_in`."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "python"

    @property
    def notes(self) -> list[str]:
        path = self.home / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def go_wrong(self, fault: str) -> None:
        (self.home / "fault").write_text(fault)

    def be_well(self) -> None:
        (self.home / "fault").unlink()


@pytest.fixture(scope="module")
def flat_tables(demo, survey, tmp_path_factory) -> Path:
    """What upstream's side would write for Aneas, as parquet files."""
    folder = tmp_path_factory.mktemp("tables")
    flat = {"projected_observations": flat_projected(survey), **flat_clusters(survey)}
    for stem in ("iod_orbit", "od_orbit", "recovered_orbit"):
        flat |= flat_orbits(demo, survey, stem)
    for name, table in flat.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture
def stand_in(tmp_path, flat_tables, monkeypatch) -> StandIn:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    home = tmp_path / "stand_in"
    home.mkdir()
    (home / "tables").symlink_to(flat_tables)
    script = Path(upstream_stand_in.__file__)
    (home / "python").write_text(f'#!/bin/sh\nSTAND_IN={home} exec {sys.executable} {script} "$@"\n')
    (home / "python").chmod(0o755)
    return StandIn(home)


@pytest.fixture
def engine(stand_in):
    engine = UpstreamEngine(stand_in.python)
    yield engine
    engine.close()


def problem_of(engine, demo, row: int = 0, **items: str) -> LinkingProblem:
    settings = settings_from_items({"engine": "thor", **items})
    return LinkingProblem(engine.prepare(demo.observations, settings), demo.test_orbits.slice(row, 1), settings)


def run(engine, problem, stages=STAGES) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = {}
    for stage in stages:
        tables |= getattr(engine, stage)(problem, tables).tables
    return tables


def scratch(stand_in) -> list[str]:
    """Every directory of upstream's files that is there, and what lies in it."""
    return sorted(
        str(path.relative_to(stand_in.home.parent / "scratch"))
        for path in (stand_in.home.parent / "scratch").rglob("*")
    )


def test_one_process_computes_all_stages_of_all_tasks(engine, demo, stand_in):
    for row in (0, 1):
        run(engine, problem_of(engine, demo, row))
    _ = engine.version
    engine.close()

    assert [note for note in stand_in.notes if note.startswith("started")] == ["started serve"]
    assert sum(note.startswith("merge_and_extend") for note in stand_in.notes) == 2
    assert stand_in.notes[-1] == "left"


def test_its_log_and_its_progress_are_told_while_it_is_at_work(engine, demo, caplog):
    caplog.set_level("INFO", logger="tasks")
    run(engine, problem_of(engine, demo), STAGES[:1])

    assert [record.getMessage() for record in caplog.records] == [
        "12:00:00 [INFO] thor - at work on range_and_shift",
        "Upstream finished range_and_shift: rows 3.",
    ]


def test_a_stage_that_is_silent_for_long_is_told_of(stand_in, engine, demo, caplog, monkeypatch):
    caplog.set_level("INFO", logger="tasks")
    monkeypatch.setattr(upstream_process, "SILENCE_SECONDS", 0.05)
    stand_in.go_wrong("hang range_and_shift")
    problem = problem_of(engine, demo)
    heard = []

    def kill_after_the_third(record) -> bool:
        heard.append(record.getMessage())
        if sum("since its last line" in message for message in heard) == 3:
            os.kill(engine._running().pid, signal.SIGTERM)
        return True

    logging.getLogger("tasks.engines.upstream").addFilter(kill_after_the_third)
    try:
        with pytest.raises(UpstreamFailedError, match="exit code -15"):
            run(engine, problem)
    finally:
        logging.getLogger("tasks.engines.upstream").removeFilter(kill_after_the_third)


def test_files_of_a_task_go_with_the_task_and_the_observations_are_there_once(engine, demo, stand_in):
    settings = settings_from_items({"engine": "thor"})
    survey = engine.prepare(demo.observations, settings)
    problems = [LinkingProblem(survey, demo.test_orbits.slice(row, 1), settings) for row in (0, 1)]
    for problem in problems:
        run(engine, problem)

    assert sum(path.endswith("/observations.parquet") for path in scratch(stand_in)) == 1
    for problem in problems:
        problem.at_end.close()

    assert [path.name for path in survey.directory.iterdir()] == ["observations.parquet"]
    assert survey.nbytes >= survey.observations.stat().st_size > 0
    engine.close()
    assert scratch(stand_in) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(stand_in, demo):
    code = (
        "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from tasks.engines.upstream_files import OwnDirectory\n"
        "own = OwnDirectory(); (own.path / 'observations.parquet').write_bytes(b'x')\n"
        "print('made', flush=True); sys.stdin.read(); os._exit(0)"
    )
    place = str(stand_in.home.parent / "scratch")
    with subprocess.Popen([sys.executable, "-c", code, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"made\n"
        remove_left_directories()
        assert any(path.endswith("observations.parquet") for path in scratch(stand_in))
        other.kill()
        other.wait()

    remove_left_directories()

    assert scratch(stand_in) == []


def test_a_later_attempt_goes_on_from_upstreams_own_files_of_the_stages_before(engine, demo, stand_in):
    former = problem_of(engine, demo)
    kept = {stage: getattr(engine, stage)(former, {}).kept for stage in STAGES[:2]}
    former.at_end.close()
    assert kept["range_and_shift"] == {"range_and_shift.parquet": b"upstream's range_and_shift"}
    later = problem_of(engine, demo)
    later.kept.update(kept)

    run(engine, later, STAGES[2:])

    begun = next(note for note in stand_in.notes if note.startswith("initial_orbit_determination"))
    assert begun.startswith("initial_orbit_determination after cluster_and_link,range_and_shift with")


def test_observations_that_other_tasks_claim_are_told_to_upstream(engine, demo, stand_in):
    run(engine, problem_of(engine, demo, **{"claims.observations": "true"}))

    assert stand_in.notes.count("unmasked True") == 4


def test_an_error_of_upstream_fails_the_stage_and_the_next_task_goes_to_the_same_process(engine, demo, stand_in):
    stand_in.go_wrong("raise cluster_and_link")
    with pytest.raises(UpstreamFailedError, match="ValueError: cluster_and_link went wrong"):
        run(engine, problem_of(engine, demo))
    stand_in.be_well()

    run(engine, problem_of(engine, demo, 1))

    assert [note for note in stand_in.notes if note.startswith("started")] == ["started serve"]


def test_an_upstream_that_ends_by_itself_fails_the_stage_with_what_it_wrote_and_is_started_again(
    engine, demo, stand_in
):
    stand_in.go_wrong("exit cluster_and_link")
    with pytest.raises(UpstreamFailedError, match=r"(?s)exit code 5.*the sky fell"):
        run(engine, problem_of(engine, demo))
    stand_in.be_well()

    run(engine, problem_of(engine, demo, 1))

    assert stand_in.notes.count("started serve") == 2


def test_an_upstream_that_is_killed_is_a_crash_of_the_attempt_as_when_memory_ends(engine, demo, stand_in):
    stand_in.go_wrong("die orbit_determination")

    with pytest.raises(MemoryError, match="was killed while it was asked for orbit_determination"):
        run(engine, problem_of(engine, demo))


def test_an_upstream_with_other_settings_is_refused_with_what_differs(stand_in):
    stand_in.go_wrong("old")

    with pytest.raises(EngineMissingError, match=r"commit 7d74c0b.*it lacks ray_memory_bytes.*it has vx_min besides"):
        found_upstream(stand_in.python)


def test_without_an_interpreter_the_error_says_what_to_install():
    with pytest.raises(EngineMissingError, match="THOR_PYTHON is not set") as caught:
        _ = UpstreamEngine(python=None).version

    assert "github.com/moeyensj/thor@7d74c0b" in str(caught.value)
    assert "docs/upstream.md" in str(caught.value)
    assert "Never install the package named thor from PyPI" in str(caught.value)


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EngineMissingError, match=r"no-python does not start \(No such file"):
        _ = UpstreamEngine(python=tmp_path / "no-python").version


def test_an_interpreter_without_thor_is_refused():
    with pytest.raises(EngineMissingError, match="No module named 'thor'"):
        _ = UpstreamEngine(python=Path(sys.executable)).version


def test_another_package_of_the_name_is_refused(tmp_path):
    python = interpreter_with(tmp_path, "class HTTPClient: ...\n")

    with pytest.raises(EngineMissingError, match="is not Tracklet-less Heliocentric Orbit Recovery"):
        _ = UpstreamEngine(python=python).version


def test_a_program_that_is_no_interpreter_is_refused():
    with pytest.raises(EngineMissingError, match="expected lines of JSON"):
        _ = UpstreamEngine(python=Path("/bin/echo")).version


def test_a_stage_of_a_missing_upstream_says_so(demo, survey):
    engine = UpstreamEngine(python=Path(sys.executable))
    problem = LinkingProblem(survey, demo.test_orbits.slice(0, 1), EngineSettings())

    with pytest.raises(EngineMissingError, match="No module named 'thor'"):
        engine.range_and_shift(problem, {})


def test_an_interpreter_whose_upstream_cannot_be_imported_is_refused_with_what_it_wrote(tmp_path):
    python = interpreter_with(tmp_path, "raise RuntimeError('the sky fell')\n")

    with pytest.raises(EngineMissingError, match="the sky fell"):
        _ = UpstreamEngine(python=python).version


def test_the_runner_ends_when_its_parent_does_whatever_it_is_at():
    code = (
        "import serve, queue, threading, time\n"
        "threading.Thread(target=serve.hear, args=(queue.SimpleQueue(), 0.1), daemon=True).start()\n"
        "print('up', flush=True); time.sleep(120)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=RUNNER.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout.readline() == b"up\n"
        runner.stdin.close()

        assert runner.wait(timeout=60) == 4


def test_settings_become_upstreams_configuration(demo):
    settings = settings_from_items(
        {
            "cluster_and_link.min_observations": "5",
            "cluster_and_link.min_arc_days": "2",
            "range_and_shift.cell_radius_deg": "1.3",
        }
    )

    config = upstream_config(demo.test_orbits.slice(0, 1), settings)

    assert config["filter_cell_radius"] == 1.3
    assert config["filter_mahalanobis_distance"] is None
    assert {config[f"{stage}_min_obs"] for stage in ("cluster", "iod", "od", "arc_extension")} == {5}
    assert {config[f"{stage}_min_arc_length"] for stage in ("cluster", "iod", "od", "arc_extension")} == {2.0}
    assert config["max_processes"] == 1


def test_upstreams_own_settings_win_over_ours_with_the_same_meaning(demo):
    items = {
        "engine": "thor",
        "cluster_and_link.min_observations": "5",
        "cluster_and_link.grid_speed_deg_per_day": "0.2",
        "thor.od_min_obs": "8",
        "thor.cluster_vx_min": "-0.3",
        "thor.max_processes": "none",
        "thor.cluster_algorithm": "hotspot_2d",
    }

    config = upstream_config(demo.test_orbits.slice(0, 1), settings_from_items(items))

    assert (config["cluster_min_obs"], config["od_min_obs"]) == (5, 8)
    assert [config[f"cluster_{end}"] for end in ("vx_min", "vx_max", "vy_min", "vy_max")] == [-0.3, 0.2, -0.2, 0.2]
    assert (config["max_processes"], config["cluster_algorithm"]) == (None, "hotspot_2d")


def test_a_config_that_says_nothing_has_upstreams_own_defaults_but_for_one_process_and_one_cell(demo):
    config = upstream_config(demo.test_orbits.slice(0, 1), EngineSettings(engine="thor"))

    differing = {name for name, value in config.items() if value != pytest.approx(FIELDS[name].default)}
    assert differing == {"max_processes", "filter_cell_radius", "filter_mahalanobis_distance"}


def test_a_test_orbit_with_a_covariance_has_its_cell_by_mahalanobis_distance(demo):
    orbit = demo.test_orbits.slice(0, 1).to_pylist()[0] | {"covariance": np.eye(6)[np.tril_indices(6)].tolist()}

    config = upstream_config(pa.Table.from_pylist([orbit], schema=schemas.TEST_ORBITS), EngineSettings())

    assert (config["filter_cell_radius"], config["filter_mahalanobis_distance"]) == (None, 5.0)


def test_several_test_orbits_in_one_task_are_refused(demo):
    with pytest.raises(EngineInputError, match="has 28 test orbits, expected 1"):
        upstream_config(demo.test_orbits, EngineSettings())


def test_upstream_gets_each_observation_without_nulls_where_it_allows_none(demo, survey):
    columns = pq.read_table(survey.observations)

    assert columns["obs_id"].to_pylist() == demo.observations["obs_id"].to_pylist()
    assert {name: columns[name].null_count for name in columns.column_names} == dict.fromkeys(columns.column_names, 0)


def test_a_place_one_sigma_off_on_the_sky_has_a_chi2_of_1_to_adam_core_at_any_declination():
    dec = np.array([-80.0, 0.0, 60.0])
    sigma_deg = 0.1 / 3600
    given = {"obs_id": ["a", "b", "c"], "mjd_utc": [60000.0] * 3, "RA_deg": [10.0] * 3, "Dec_deg": dec}
    given |= {"RA_sigma_deg": [sigma_deg] * 3, "Dec_sigma_deg": [sigma_deg] * 3, "observatory_code": ["X05"] * 3}
    prepared = UpstreamEngine(python=None).prepare(pa.table(given), EngineSettings())
    columns = pq.read_table(prepared.observations)

    # As upstream's Observations has them.
    variances = np.full((3, 6, 6), np.nan)
    variances[:, 1, 1], variances[:, 2, 2] = (
        columns[name].to_numpy() ** 2 for name in ("ra_sigma_deg", "dec_sigma_deg")
    )
    variances[:, 1, 2] = variances[:, 2, 1] = 0.0
    place = {
        "lat": dec,
        "time": Timestamp.from_mjd([60000.0] * 3, scale="utc"),
        "origin": Origin.from_kwargs(code=["X05"] * 3),
        "frame": "equatorial",
    }
    observed = SphericalCoordinates.from_kwargs(
        lon=10.0 + sigma_deg / np.cos(np.radians(dec)),
        covariance=CoordinateCovariances.from_matrix(variances),
        **place,
    )
    predicted = SphericalCoordinates.from_kwargs(lon=[10.0] * 3, **place)

    assert Residuals.calculate(observed, predicted).chi2.to_pylist() == pytest.approx([1.0] * 3, rel=1e-6)


def flat_projected(survey) -> pa.Table:
    """Three detections in the plane, as upstream's side writes them."""
    columns = {"obs_id": survey.prepared.obs_ids.to_pylist()[:3]}
    names = ("theta_x_deg", "theta_y_deg", "obs_x", "obs_y", "obs_z", "obj_x", "obj_y", "obj_z")
    return pa.table({**columns, **{name: [0.1, 0.2, 0.3] for name in names}})


def flat_clusters(survey) -> dict[str, pa.Table]:
    """Two clusters as upstream's side writes them, the second first, members in no order."""
    ids = survey.prepared.obs_ids.to_pylist()
    clusters = {
        "cluster_id": ["cB", "cA"],
        "epoch": [60000.0, 60000.0],
        "num_obs": [3, 2],
        "arc_length": [1.0, 2.0],
        **{name: [0.1, 0.2] for name in ("theta_x0", "theta_y0", "vtheta_x", "vtheta_y", "atheta_x", "atheta_y")},
    }
    members = {"cluster_id": ["cB", "cA", "cB", "cA", "cB"], "obs_id": [ids[k] for k in (30, 8, 10, 2, 20)]}
    return {"clusters": pa.table(clusters), "cluster_members": pa.table(members)}


def test_clusters_come_in_our_columns_and_order(survey):
    made = tables_from_upstream(flat_clusters(survey), survey.prepared, SOFTWARE)

    assert made["clusters"].schema.equals(schemas.CLUSTERS)
    assert made["cluster_members"].schema.equals(schemas.CLUSTER_MEMBERS)
    assert made["clusters"]["cluster_id"].to_pylist() == ["cA", "cB"]
    assert made["cluster_members"]["cluster_index"].to_pylist() == [0, 0, 1, 1, 1]
    assert made["cluster_members"]["obs_index"].to_pylist() == [2, 8, 10, 20, 30]


def flat_orbits(demo, survey, stem: str) -> dict[str, pa.Table]:
    """Aneas' own orbit with its detections, as upstream's side writes it."""
    row = demo.test_orbits.to_pylist()[demo.test_orbits["orbit_id"].to_pylist().index("Aneas")]
    own = [k for k, name in enumerate(demo.truth["object_id"].to_pylist()) if name == "Aneas"]
    ids = survey.prepared.obs_ids.to_pylist()
    orbits = {
        "orbit_id": ["oA"],
        "cluster_id": ["cA"],
        **{name: [row[name]] for name in ("epoch", "x", "y", "z", "vx", "vy", "vz")},
        "covariance": [(np.eye(6) * 1e-12)[np.tril_indices(6)].tolist()],
        "num_obs": [len(own) - 1],
        "arc_length": [12.0],
        "chi2": [30.0],
        "rchi2": [0.8],
        "num_iterations": [4],
    }
    members = {
        "orbit_id": ["oA"] * len(own),
        "obs_id": [ids[k] for k in reversed(own)],
        "residual_ra_arcsec": [0.1] * len(own),
        "residual_dec_arcsec": [-0.1] * len(own),
        "chi2": [2.0] * len(own),
        "outlier": [1] + [0] * (len(own) - 1),
        "solution": [0] * len(own),
    }
    return {f"{stem}s": pa.table(orbits), f"{stem}_members": pa.table(members)}


@pytest.mark.parametrize(
    ("stem", "orbits", "members"),
    [
        ("iod_orbit", schemas.IOD_ORBITS, schemas.IOD_ORBIT_MEMBERS),
        ("od_orbit", schemas.OD_ORBITS, schemas.OD_ORBIT_MEMBERS),
        ("recovered_orbit", schemas.RECOVERED_ORBITS, schemas.RECOVERED_ORBIT_MEMBERS),
    ],
)
def test_orbits_come_in_our_columns_with_upstreams_figures(demo, survey, stem, orbits, members):
    made = tables_from_upstream(flat_orbits(demo, survey, stem), survey.prepared, SOFTWARE)

    assert made[f"{stem}s"].schema.equals(orbits)
    assert made[f"{stem}_members"].schema.equals(members)
    row = made[f"{stem}s"].to_pylist()[0]
    assert (row["orbit_id"], row["cluster_id"], row["rchi2"], row["software"]) == ("oA", "cA", 0.8, SOFTWARE)
    assert row["num_obs"] == 21
    assert made[f"{stem}_members"]["outlier"].to_pylist() == [0] * 21 + [1]
    index = made[f"{stem}_members"]["obs_index"].to_pylist()
    assert index == sorted(index)
