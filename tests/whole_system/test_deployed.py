"""A person starts jobs in Prefect and cancels them there: a real server, set up and deployed to, and Prefect workers.

Bucket and queue (RabbitMQ) reach the flow runs through their work pools alone.
"""

import contextlib

import pika
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import StateType

from flows.autoscale import main as autoscale
from tasks.broker.topology import WORK_QUEUE
from tests.support.commands import run_command
from tests.support.deployed import (
    await_held,
    cancel_in_ui,
    child_of,
    deployed_on,
    patiently,
    prefect_tasks_left,
    runs_below,
    states_below,
)
from tests.support.jobs import states_of, status_of
from tests.support.slow_engine.child import gate
from tests.support.slow_engine.held_child import gate_of

OBJECTS = ("Eros", "Hebe", "Aci", "Agamemnon", "Paris", "Napolitania")
IDLE_SECONDS = 5.0
"""Workers that autoscaling starts leave after so long without a task."""
STOPPED_SECONDS = 30.0
"""A cancelled computation ends within seconds; on a machine that does much else, within this."""

pytestmark = [pytest.mark.slow, pytest.mark.rabbitmq, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def deployed(prefect_process, rabbitmq, tmp_path_factory):
    virtual_host = rabbitmq.add_virtual_host()
    with deployed_on(prefect_process, tmp_path_factory.mktemp("deployed"), rabbitmq.url_of(virtual_host)) as place:
        yield place
    rabbitmq.delete_virtual_host(virtual_host)


@pytest.fixture(autouse=True)
def nothing_is_left_for_the_next_test(deployed):
    """Whatever came of a test, the jobs and messages that it leaves are not the next one's."""
    yield
    for job in deployed.jobs:
        deployed.bucket.write(job.cancel, b"{}")
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(deployed.queue))) as connection:
        connection.channel().queue_purge(WORK_QUEUE)


def test_a_job_whose_run_is_cancelled_in_the_ui_stops_everywhere(deployed):
    with deployed.held_worker() as worker:
        run, job = deployed.submit("Hebe", "Eros")
        await_held(deployed, run, seen="Eros is at work, Hebe waits")
        child = child_of(worker)

        cancel_in_ui(run)
        deployed.wait_for(run, StateType.CANCELLED, log="thor")

        assert not child.is_running()
        assert deployed.bucket.read(job.cancel).body
        assert states_of(deployed.bucket, job) == {"Hebe": "failed", "Eros": "failed"}
        kinds = {task: status_of(deployed.bucket, job, task).error_kind for task in ("Hebe", "Eros")}
        assert kinds == {"Hebe": "cancelled", "Eros": "cancelled"}
        assert states_below(run) == {"Eros": "CANCELLED"}
        assert prefect_tasks_left(run) == []
        patiently(lambda: deployed.depth().ready == 0, what="no message is left")


def test_a_task_whose_run_is_cancelled_in_the_ui_stops_and_the_jobs_other_task_succeeds(deployed):
    with deployed.held_worker() as worker:
        run, job = deployed.submit("Hebe", "Eros")
        await_held(deployed, run, seen="Eros is at work, Hebe waits")
        child = child_of(worker)
        deployed.bucket.write(gate(gate_of(job.job_id, "Hebe")), b"")

        cancel_in_ui(runs_below(run)["Eros"])
        child.wait(STOPPED_SECONDS)
        state = deployed.wait_for(run, StateType.FAILED, log="thor")

        assert state.message == "1 of 2 tasks succeeded"
        assert states_of(deployed.bucket, job) == {"Eros": "failed", "Hebe": "succeeded"}
        assert status_of(deployed.bucket, job, "Eros").error_kind == "cancelled"
        assert states_below(run) == {"Eros": "CANCELLED", "Hebe": "COMPLETED"}
        assert prefect_tasks_left(run) == []


def workers_below(process):
    """Processes `python -m workers` that a Prefect worker has among its children and theirs."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "workers" in child.cmdline():
                found.append(child)
    return found


def runs_of_workers():
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("thor-worker/worker")
        return [run for run in client.read_flow_runs() if run.deployment_id == found.id]


def test_a_job_that_is_started_in_prefect_is_computed_by_workers_that_autoscaling_started(deployed):
    with get_client(sync_client=True) as client:
        worker = client.read_deployment_by_name("thor-worker/worker")
        client.update_deployment(worker.id, DeploymentUpdate(parameters={"idle_seconds": IDLE_SECONDS}))

    run, job = deployed.submit(*OBJECTS)
    patiently(lambda: deployed.depth().ready == len(OBJECTS), what="the tasks are on the queue")
    first = run_command(autoscale, "--json", "--maximum", "2", *deployed.options).json
    second = run_command(autoscale, "--json", "--maximum", "2", *deployed.options).json
    assert (first["ready"], first["unacked"], first["started"]) == (len(OBJECTS), -1, 2)
    assert (second["wanted"], second["started"]) == (2, 0)

    with deployed.prefect_worker("thor-workers") as host:
        patiently(
            lambda: deployed.depth().ready < len(OBJECTS) and workers_below(host),
            what="a worker takes a task",
        )
        processes = workers_below(host)
        cancelled, left_alone = sorted(runs_of_workers(), key=lambda each: each.state.type != StateType.RUNNING)
        cancel_in_ui(cancelled)
        deployed.wait_for(cancelled, StateType.CANCELLED, log="thor-workers")
        state = deployed.wait_for(run, StateType.COMPLETED, log="thor")
        deployed.wait_for(left_alone, StateType.COMPLETED, log="thor-workers")
        assert psutil.wait_procs(processes, timeout=60)[1] == []

    assert state.message == f"{len(OBJECTS)} of {len(OBJECTS)} tasks succeeded"
    assert deployed.depth().ready == 0
    assert set(states_below(run).values()) == {"COMPLETED"}
    assert set(runs_below(run)) == set(OBJECTS)
    assert " Left." in deployed.log("thor-workers").read_text()
    found = deployed.home / job.job_id / "found" / "recovered_orbits.csv"
    assert len(found.read_text().splitlines()) == 1 + len(OBJECTS)
