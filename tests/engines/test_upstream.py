"""The adapter to upstream THOR: what can be shown without it, and (marker `thor`) a run with it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from adam_core.coordinates import CoordinateCovariances, Origin, SphericalCoordinates
from adam_core.coordinates.residuals import Residuals
from adam_core.time import Timestamp

from tasks.engines import tables as schemas
from tasks.engines.demo import DemoProblem, demo_problem
from tasks.engines.errors import EngineInputError, EngineMissingError
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.settings import EngineSettings, settings_from_items
from tasks.engines.upstream import RUNNER, UpstreamEngine, UpstreamFailedError, upstream_config
from tasks.engines.upstream_tables import tables_from_upstream
from tasks.settings import settings_from_environment

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


def test_without_an_interpreter_the_error_says_what_to_install():
    with pytest.raises(EngineMissingError, match="THOR_PYTHON is not set") as caught:
        _ = UpstreamEngine(python=None).version

    assert "github.com/moeyensj/thor@7d74c0b" in str(caught.value)
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


def test_a_stage_of_a_missing_upstream_fails_with_what_it_wrote(demo, survey):
    engine = UpstreamEngine(python=Path(sys.executable))
    problem = LinkingProblem(survey, demo.test_orbits.slice(0, 1), EngineSettings())

    with pytest.raises(EngineMissingError, match="No module named 'thor'"):
        engine.range_and_shift(problem, {})


def test_a_crash_of_upstream_is_told_with_the_end_of_its_output(tmp_path, demo, survey):
    python = interpreter_with(tmp_path, "raise RuntimeError('the sky fell')\n")
    problem = LinkingProblem(survey, demo.test_orbits.slice(0, 1), EngineSettings())

    with pytest.raises(UpstreamFailedError, match="the sky fell"):
        UpstreamEngine(python=python).range_and_shift(problem, {})


def test_the_runner_ends_when_its_parent_does():
    code = "import run_stage, time; run_stage.leave_with_parent(); print('up', flush=True); time.sleep(120)"
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


def test_a_test_orbit_with_a_covariance_has_its_cell_by_mahalanobis_distance(demo):
    orbit = demo.test_orbits.slice(0, 1).to_pylist()[0] | {"covariance": np.eye(6)[np.tril_indices(6)].tolist()}

    config = upstream_config(pa.Table.from_pylist([orbit], schema=schemas.TEST_ORBITS), EngineSettings())

    assert (config["filter_cell_radius"], config["filter_mahalanobis_distance"]) == (None, 5.0)


def test_several_test_orbits_in_one_task_are_refused(demo):
    with pytest.raises(EngineInputError, match="has 28 test orbits, expected 1"):
        upstream_config(demo.test_orbits, EngineSettings())


def test_upstream_gets_each_observation_without_nulls_where_it_allows_none(demo, survey):
    columns = survey.observations

    assert columns["obs_id"].to_pylist() == demo.observations["obs_id"].to_pylist()
    assert {name: columns[name].null_count for name in columns.column_names} == dict.fromkeys(columns.column_names, 0)


def test_a_place_one_sigma_off_on_the_sky_has_a_chi2_of_1_to_adam_core_at_any_declination():
    dec = np.array([-80.0, 0.0, 60.0])
    sigma_deg = 0.1 / 3600
    given = {"obs_id": ["a", "b", "c"], "mjd_utc": [60000.0] * 3, "RA_deg": [10.0] * 3, "Dec_deg": dec}
    given |= {"RA_sigma_deg": [sigma_deg] * 3, "Dec_sigma_deg": [sigma_deg] * 3, "observatory_code": ["X05"] * 3}
    columns = UpstreamEngine(python=None).prepare(pa.table(given), EngineSettings()).observations

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


def test_inputs_lie_ready_and_are_written_once_for_each_test_orbit(demo, survey):
    problems = [LinkingProblem(survey, demo.test_orbits.slice(k, 1), EngineSettings()) for k in (0, 1, 0)]

    folders = [survey.folder(problem) for problem in problems]

    assert folders[0] == folders[2] != folders[1]
    assert {path.name for path in folders[0].iterdir()} >= {"observations.parquet", "test_orbit.parquet", "config.json"}


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


@pytest.mark.thor
@pytest.mark.slow
def test_upstream_itself_recovers_an_asteroid_through_all_five_stages(demo):
    python = settings_from_environment().thor_python
    if python is None:
        pytest.skip("THOR_PYTHON is not set: upstream THOR is not on PyPI, see the error of engine 'thor'")
    engine = UpstreamEngine(python=python)
    settings = settings_from_items({"range_and_shift.cell_radius_deg": "1"})
    row = demo.test_orbits["orbit_id"].to_pylist().index("Aneas")
    problem = LinkingProblem(engine.prepare(demo.observations, settings), demo.test_orbits.slice(row, 1), settings)

    tables: dict[str, pa.Table] = {}
    for stage in STAGES:
        tables |= getattr(engine, stage)(problem, tables).tables

    own = {obs for obs, name in zip(*demo.truth.to_pydict().values(), strict=True) if name == "Aneas"}
    assert len(own & set(tables["recovered_orbit_members"]["obs_id"].to_pylist())) >= 20
