"""Upstream THOR itself through the adapter, where THOR_PYTHON names it: schemas, empty cells, covariances, claims,
later attempts, ray, and no process left. Its grid of velocities is made small, which takes most of its time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from tasks.engines import tables as schemas
from tasks.engines.demo import demo_problem
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.settings import settings_from_items
from tasks.engines.upstream import UpstreamEngine
from tasks.settings import settings_from_environment
from tests.services.processes import wait_until

pytestmark = [pytest.mark.thor, pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = {
    "engine": "thor",
    "range_and_shift.cell_radius_deg": "1",
    "cluster_and_link.grid_speed_deg_per_day": "0.004",
    "cluster_and_link.grid_bins": "5",
}
TABLES = {
    "projected_observations": schemas.PROJECTED_OBSERVATIONS,
    "clusters": schemas.CLUSTERS,
    "cluster_members": schemas.CLUSTER_MEMBERS,
    "iod_orbits": schemas.IOD_ORBITS,
    "iod_orbit_members": schemas.IOD_ORBIT_MEMBERS,
    "od_orbits": schemas.OD_ORBITS,
    "od_orbit_members": schemas.OD_ORBIT_MEMBERS,
    "recovered_orbits": schemas.RECOVERED_ORBITS,
    "recovered_orbit_members": schemas.RECOVERED_ORBIT_MEMBERS,
}


@pytest.fixture(scope="module")
def python() -> Path:
    found = settings_from_environment().thor_python
    if found is None:
        pytest.skip("THOR_PYTHON is not set: upstream THOR is not on PyPI, see docs/upstream.md")
    return found


@pytest.fixture(scope="module")
def demo():
    return demo_problem(seed=3)


@pytest.fixture(scope="module")
def engine(python):
    engine = UpstreamEngine(python)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def survey(engine, demo):
    return engine.prepare(demo.observations, settings_from_items(QUICK))


def orbit_of(demo, name: str, **changes: object) -> pa.Table:
    row = demo.test_orbits.to_pylist()[demo.test_orbits["orbit_id"].to_pylist().index(name)]
    return pa.Table.from_pylist([row | changes], schema=schemas.TEST_ORBITS)


def run(engine, problem, stages=STAGES, tables=None) -> dict[str, pa.Table]:
    tables = dict(tables or {})
    for stage in stages:
        tables |= getattr(engine, stage)(problem, tables).tables
    return tables


@pytest.fixture(scope="module")
def aneas(engine, survey, demo):
    """What it finds for Aneas, and the files that it kept of each stage."""
    problem = LinkingProblem(survey, orbit_of(demo, "Aneas"), settings_from_items(QUICK))
    tables: dict[str, pa.Table] = {}
    kept = {}
    for stage in STAGES:
        result = getattr(engine, stage)(problem, tables)
        tables |= result.tables
        kept[stage] = result.kept
    problem.at_end.close()
    return tables, kept


def observations_of(demo, name: str) -> set[str]:
    return {obs for obs, found in zip(*demo.truth.to_pydict().values(), strict=True) if found == name}


def test_an_asteroid_is_recovered_through_all_five_stages_in_our_schemas(aneas, demo):
    tables, _ = aneas

    assert {name: table.schema for name, table in tables.items()} == TABLES
    assert len(tables["recovered_orbits"]) == 1
    assert len(observations_of(demo, "Aneas") & set(tables["recovered_orbit_members"]["obs_id"].to_pylist())) >= 20


def test_a_cell_without_detections_gives_empty_tables(engine, survey, demo):
    behind = orbit_of(demo, "Aneas")
    turned = {name: -behind[name][0].as_py() for name in ("x", "y", "z", "vx", "vy", "vz")}
    problem = LinkingProblem(survey, orbit_of(demo, "Aneas", **turned), settings_from_items(QUICK))

    tables = run(engine, problem)
    problem.at_end.close()

    assert {name: table.schema for name, table in tables.items()} == TABLES
    assert [len(table) for table in tables.values()] == [0] * len(TABLES)


def test_a_test_orbit_with_a_covariance_has_its_cell_by_it_and_goes_through_all_stages(engine, survey, demo):
    sigmas = np.array([1e-3] * 3 + [1e-5] * 3)
    triangle = np.diag(sigmas**2)[np.tril_indices(6)].tolist()
    problem = LinkingProblem(survey, orbit_of(demo, "Aneas", covariance=triangle), settings_from_items(QUICK))

    tables = run(engine, problem)
    problem.at_end.close()

    assert {name: table.schema for name, table in tables.items()} == TABLES
    cell = set(tables["projected_observations"]["obs_id"].to_pylist())
    assert len(cell & observations_of(demo, "Aneas")) >= 10


def test_a_later_attempt_goes_on_from_the_files_and_finds_the_same(python, aneas, demo):
    tables, kept = aneas
    other = UpstreamEngine(python)
    try:
        settings = settings_from_items(QUICK)
        problem = LinkingProblem(other.prepare(demo.observations, settings), orbit_of(demo, "Aneas"), settings)
        problem.kept.update({stage: kept[stage] for stage in STAGES[:3]})
        former = {name: table for name, table in tables.items() if not name.startswith(("od_", "recovered_"))}

        later = run(other, problem, STAGES[3:], former)
    finally:
        other.close()

    assert later["recovered_orbits"]["orbit_id"].equals(tables["recovered_orbits"]["orbit_id"])
    assert later["recovered_orbits"]["x"].to_pylist() == pytest.approx(tables["recovered_orbits"]["x"].to_pylist())


def test_observations_that_other_tasks_claim_are_in_none_of_its_orbits(engine, survey, demo):
    settings = settings_from_items({**QUICK, "claims.observations": "true"})
    problem = LinkingProblem(survey, orbit_of(demo, "Aneas"), settings)
    projected = run(engine, problem, STAGES[:1])["projected_observations"]
    own = observations_of(demo, "Aneas")
    claimed = sorted(own)[:3]
    mask = [name not in claimed for name in projected["obs_id"].to_pylist()]

    tables = run(engine, problem, STAGES[1:], {"projected_observations": projected.filter(pa.array(mask))})
    problem.at_end.close()

    members = set(tables["recovered_orbit_members"]["obs_id"].to_pylist())
    assert len(members & own) >= 15
    assert not members & set(claimed)


def test_two_processes_of_ray_find_the_same_and_leave_nothing(python, aneas, demo):
    tables, _ = aneas
    other = UpstreamEngine(python)
    try:
        settings = settings_from_items({**QUICK, "thor.max_processes": "2"})
        problem = LinkingProblem(other.prepare(demo.observations, settings), orbit_of(demo, "Aneas"), settings)

        found = run(other, problem)
        started = psutil.Process(other._running().pid).children(recursive=True)
    finally:
        other.close()

    assert found["recovered_orbits"]["orbit_id"].equals(tables["recovered_orbits"]["orbit_id"])
    assert len(started) > 2
    wait_until(lambda: not any(map(_lives, started)), seconds=60, what="ray's processes are gone")


def test_a_process_whose_owner_is_killed_leaves_nothing(python):
    code = (
        "import sys; from pathlib import Path; from tasks.engines.upstream_process import UpstreamProcess\n"
        "print(UpstreamProcess(Path(sys.argv[1])).pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(python)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        upstream = psutil.Process(int(owner.stdout.readline()))
        owner.kill()

    wait_until(lambda: not _lives(upstream), seconds=60, what="upstream has ended")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
