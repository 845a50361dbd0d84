"""A Prefect server that was set up and deployed to, Prefect workers on it, and what is asked of it in tests.

Bucket and queue reach the flow runs through their work pools alone.
"""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from flows.setup import main as setup
from tasks.broker.connect import open_publisher
from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.layout import JobLayout
from tasks.inputs.csv_text import csv_from_table
from tasks.prefect_api import runs
from tasks.records.ids import JobId
from tests.services.prefect_server import configured
from tests.services.processes import END_WITH_PARENT, wait_until
from tests.support.commands import run_command
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.slow_engine.held_child import HELD_AT

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 400.0
LOOK_SECONDS = 0.3
"""Between two looks: each is a request or more to a server that has enough to do."""


def patiently(condition, *, what):
    """Wait until the condition holds."""
    wait_until(condition, seconds=PATIENCE_SECONDS, what=what, pause_seconds=LOOK_SECONDS)


@contextlib.contextmanager
def running(*command, environment, log, cwd=ROOT):
    """Run a command of this checkout until the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*END_WITH_PARENT, sys.executable, *command], cwd=cwd, env=environment, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


class Deployed:
    """A server that was set up and deployed to, with the bucket and queue that its pools hand on."""

    def __init__(self, server, home, queue):
        self.home = home
        self.bucket = DirectoryBucket(home / "bucket")
        self.queue = queue
        #: Every job that a test has submitted.
        self.jobs: list[JobLayout] = []
        self.environment = {
            **os.environ,
            "PREFECT_API_URL": server.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "DO_NOT_TRACK": "1",
            "THOR_HOME": str(home),
            # Nothing waits for a lease: a cancelled task is given up by way of its run.
            "THOR_LEASE_RENEW_SECONDS": "60",
            "THOR_TAKEOVER_DELAY_SECONDS": "300",
        }

    @property
    def options(self):
        return ("--bucket", self.bucket.url, "--queue", self.queue)

    def log(self, name):
        return self.home / f"{name}.log"

    def prefect_worker(self, pool):
        """Run `prefect worker start` for a pool."""
        environment = {**self.environment, "PREFECT_HOME": str(self.home / f"prefect-{pool}")}
        command = ("-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", "2")
        return running(*command, environment=environment, log=self.log(pool))

    def held_worker(self):
        """Run a worker of ours whose tasks wait at gates."""
        environment = {**self.environment, "THOR_BUCKET": self.bucket.url, "THOR_QUEUE": self.queue}
        environment["PREFECT_HOME"] = str(self.home / "prefect-held")
        command = ("-m", "tests.support.slow_engine.worker", "--held-engine")
        return running(*command, environment=environment, log=self.log("held"))

    def submit(self, *objects):
        """Start a run of the deployment `submit`; return it and the job."""
        job = JobLayout(JobId(f"deployed-{uuid.uuid4().hex[:8]}"))
        self.jobs.append(job)
        files = self.home / job.job_id
        files.mkdir()
        (files / "observations.csv").write_bytes(csv_from_table(observations_of(objects)))
        (files / "orbits.csv").write_bytes(csv_from_table(orbits_of(objects)))
        parameters = {
            "job_id": job.job_id,
            "observations": str(files / "observations.csv"),
            "orbits": str(files / "orbits.csv"),
            "output": str(files / "found"),
            "workers": 0,
        }
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name("thor-job/submit")
            return client.create_flow_run_from_deployment(found.id, parameters=parameters), job

    def depth(self):
        with contextlib.closing(open_publisher(self.queue)) as publisher:
            return publisher.depth()

    def wait_for(self, run, *wanted, log):
        """Wait until the flow run is in one of these states; return its state."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (state := state_of(run)).type not in wanted:
            assert not state.is_final(), f"{state!r}\n{self.log(log).read_text()[-4000:]}"
            assert time.monotonic() < until, f"still {state!r}\n{self.log(log).read_text()[-4000:]}"
            time.sleep(LOOK_SECONDS)
        return state


def state_of(run):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id).state


def cancel_in_ui(run):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())


def runs_below(run):
    """State by task of the runs below that of a job."""
    with get_client(sync_client=True) as client:
        found = runs.subflow_runs(client, run.id, list(StateType))
    return {each.name.removesuffix(" attempt 1"): each for each in found}


def states_below(run):
    return {task: each.state.type.value for task, each in runs_below(run).items()}


def prefect_tasks_left(run):
    """Names of the Prefect tasks of a run that have no end."""
    with get_client(sync_client=True) as client:
        of_run = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
        return [each.name for each in client.read_task_runs(task_run_filter=of_run) if not each.state.is_final()]


def child_of(worker):
    (child,) = psutil.Process(worker.pid).children()
    return child


def is_seen_at(run, task, stage):
    """Whether the page of a task's run shows that stage at work."""
    task_run = runs_below(run).get(task)
    if task_run is None:
        return False
    with get_client(sync_client=True) as client:
        stages = runs.subflow_runs(client, task_run.id, [StateType.RUNNING])
        return [client.read_flow(each.flow_id).name for each in stages] == [stage]


def await_held(deployed, run, *, seen):
    """Wait until the first task is held at its gate, and Prefect shows it; the second one waits, and has no run."""

    def is_held():
        below = states_below(run)
        return below == {"Eros": "RUNNING"} and is_seen_at(run, "Eros", HELD_AT)

    patiently(is_held, what=seen)


def deploy_all(server):
    """`prefect deploy --all`, as a person types it."""
    environment = {**os.environ, "PREFECT_API_URL": server.url, "PREFECT_HOME": str(server.home)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def deployed_on(server, home, queue) -> Iterator[Deployed]:
    """Set up and deploy, and run a Prefect worker for the jobs' pool until the end of the block."""
    place = Deployed(server, home, queue)
    with configured(server):
        place.environment["PREFECT_API_URL"] = server.url
        assert run_command(setup, *place.options).code == 0
        outcome = deploy_all(server)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        with place.prefect_worker("thor"):
            yield place
