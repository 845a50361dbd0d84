"""A person starts a job in Prefect: a real server, set up and deployed to, and Prefect workers that run what it says.

Bucket and queue reach the flow runs through their work pools alone, and the job's worker is one that the autoscaler
started.
"""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from flows.autoscale import main as autoscale
from flows.setup import main as setup
from tasks.jobs.csv_text import csv_from_table
from tests.flow_runs.places import Place
from tests.flow_runs.test_deployments import deploy_all
from tests.services.processes import END_WITH_PARENT, wait_until
from tests.support.commands import run_command
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.jobs import closing_publisher

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 400.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextlib.contextmanager
def prefect_worker(pool, *, server, home):
    """Run `prefect worker start` until the end of the block."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(home / f"prefect-{pool}"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "THOR_HOME": str(home),
    }
    command = ["-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", "2"]
    with (home / f"{pool}.log").open("wb") as log:
        process = subprocess.Popen(
            [*END_WITH_PARENT, sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


def workers_below(process):
    """Processes `python -m workers` that a Prefect worker has among its children and theirs."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "workers" in child.cmdline():
                found.append(child)
    return found


def state_of(run):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id).state


def wait_for(run, *wanted, log):
    """Wait until the flow run is in one of these states."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (state := state_of(run)).type not in wanted:
        assert not state.is_final(), f"{state!r}\n{log.read_text()[-4000:]}"
        assert time.monotonic() < until, f"still {state!r}\n{log.read_text()[-4000:]}"
        time.sleep(0.2)


def start_run(deployment, **parameters):
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, parameters=parameters)


def runs_of(deployment):
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return [run for run in client.read_flow_runs() if run.deployment_id == found.id]


def test_a_job_that_is_started_in_prefect_is_computed_by_a_worker_that_autoscaling_started(prefect, tmp_path):
    place = Place(tmp_path)
    (tmp_path / "observations.csv").write_bytes(csv_from_table(observations_of(("Hebe",))))
    (tmp_path / "orbits.csv").write_bytes(csv_from_table(orbits_of(("Hebe",))))
    assert run_command(setup, *place.options).code == 0
    deployed = deploy_all(prefect)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr

    with (
        prefect_worker("thor", server=prefect, home=tmp_path),
        prefect_worker("thor-workers", server=prefect, home=tmp_path) as worker_host,
    ):
        job = start_run(
            "thor-job/submit",
            job_id=f"deployed-{uuid.uuid4().hex[:8]}",
            observations=str(tmp_path / "observations.csv"),
            orbits=str(tmp_path / "orbits.csv"),
            output=str(tmp_path / "found"),
            workers=0,
        )
        wait_for(job, StateType.RUNNING, log=tmp_path / "thor.log")
        with closing_publisher(place.queue) as publisher:
            wait_until(lambda: publisher.depth().ready == 1, seconds=PATIENCE_SECONDS, what="the task is on the queue")
        scaling = run_command(autoscale, "--json", *place.options).json
        assert (scaling["ready"], scaling["started"]) == (1, 1)
        wait_for(job, StateType.COMPLETED, log=tmp_path / "thor-workers.log")

        (worker,) = [run for run in runs_of("thor-worker/worker") if run.state.type == StateType.RUNNING]
        processes = workers_below(worker_host)
        assert processes
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(worker.id, Cancelling())
        wait_for(worker, StateType.CANCELLED, log=tmp_path / "thor-workers.log")
        assert psutil.wait_procs(processes, timeout=60)[1] == []

    assert " Left." in (tmp_path / "thor-workers.log").read_text()
    assert len((tmp_path / "found" / "recovered_orbits.csv").read_text().splitlines()) == 2
