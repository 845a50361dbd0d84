"""The worker's flow: what people see of an attempt in Prefect, and that Prefect never decides how it ends."""

import itertools
import json
import signal
import time
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Failed, Running

from flows.run_task import STAGE_FLOWS, run_assignment, thor_task
from flows.shown import attempt_show
from flows.shown.attempt_show import finish_shows
from flows.submit import thor_job
from tasks import linked_runs
from tasks.bucket.directory import DirectoryBucket
from tasks.engines.interface import STAGES
from tasks.jobs.claim import claim_task
from tasks.jobs.status_file import read_status_file
from tasks.jobs.submit import Submission, new_job_id
from tasks.operations.cancel import cancel_tasks
from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    CancelAsked,
    FlowRunStarted,
    StageBegan,
)
from tasks.records.status import Retried
from tasks.settings import settings_from_environment
from tests.services.processes import wait_until
from tests.support.job_inputs import small_inputs

NOISE_SECONDS = 3.0
"""What the work itself takes (0.2 s), on a machine that does much else meanwhile."""


@pytest.fixture
def job(tmp_path):
    """A submitted task at one object of the demo, in a directory bucket."""
    bucket = DirectoryBucket(tmp_path / "bucket")
    submission = Submission(bucket=bucket, job_id=new_job_id(None), inputs=small_inputs("Hebe"))
    submission.upload_job_files()
    submission.upload_tasks(0, 1)
    return submission


class Supervisor:
    """Hears what the attempt tells, and when; `on` acts at a moment of the attempt."""

    def __init__(self, on=lambda record: None):
        self.told = []
        self.times = []
        self._on = on

    def tell(self, record):
        self.told.append(record)
        self.times.append(time.monotonic())
        self._on(record)

    def run(self, job, **fields):
        assignment = Assignment(
            **{"job_id": job.job_id, "task_id": "Hebe", "bucket_url": job.bucket.url, "attempt": 1}
            | {"worker": "host:1"}
            | fields
        )
        run_assignment(assignment, tell=self.tell, await_lease=lambda: None)
        endings = [each for each in self.told if isinstance(each, AttemptSucceeded | AttemptFailed | AttemptReleased)]
        assert len(endings) == 1
        return endings[0]

    @property
    def flow_run_id(self):
        ids = [UUID(each.prefect_flow_run_id) for each in self.told if isinstance(each, FlowRunStarted)]
        return ids[0] if ids else None

    @property
    def stages(self):
        return [record.stage for record in self.told if isinstance(record, StageBegan)]


def runs_of(job):
    """Flow runs of the job, the outer one first."""
    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job.job_id}", "task:Hebe"])),
            sort=FlowRunSort.START_TIME_ASC,
        )


def names_of_flows(runs):
    with get_client(sync_client=True) as client:
        return [client.read_flow(run.flow_id).name for run in runs]


def logs_of(flow_run_id):
    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        found = client.read_logs(log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])))
    return [log.message for log in found]


def test_without_prefect_the_attempt_runs_bare(job):
    supervisor = Supervisor()

    ending = supervisor.run(job)

    assert isinstance(ending, AttemptSucceeded)
    assert supervisor.flow_run_id is None
    assert supervisor.stages == list(STAGES)


def test_people_see_a_flow_run_with_one_subflow_per_stage(job, prefect):
    supervisor = Supervisor()

    ending = supervisor.run(job)

    assert isinstance(ending, AttemptSucceeded)
    outer, *stages = runs_of(job)
    assert supervisor.flow_run_id in {outer.id, None}  # None: the work was done before Prefect had made the run
    assert outer.name == "Hebe attempt 1"
    assert names_of_flows([outer, *stages]) == ["thor-task", *STAGES]
    assert {run.state.type.value for run in [outer, *stages]} == {"COMPLETED"}
    assert outer.state.message.startswith("1 recovered orbit, ")


def test_people_see_the_log_of_the_task_a_table_of_its_stages_and_a_picture(job, prefect):
    supervisor = Supervisor()

    supervisor.run(job)

    outer, *stages = runs_of(job)
    assert any("Begins attempt 1 at task Hebe" in message for message in logs_of(outer.id))
    assert any("Computed cluster_and_link in" in message for message in logs_of(stages[1].id))
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[outer.id]))
        found = {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=of_run)}
    assert {key: each.type for key, each in found.items()} == {
        "thor-task-stages": "table",
        "thor-task-pictures": "markdown",
    }
    rows = json.loads(found["thor-task-stages"].data)
    assert [row["stage"] for row in rows] == list(STAGES)
    assert all(row["seconds"] >= 0 and row["memory [MB]"] > 100 for row in rows)
    assert all(row["in"] == before["out"] != "" for before, row in itertools.pairwise(rows))
    assert rows[-1]["out"] == "1 recovered orbit"
    assert len(found["thor-task-pictures"].data) < 200_000


def test_a_task_that_fails_is_told_to_the_supervisor_and_red_in_the_ui(job, prefect):
    job.bucket.delete(job.layout.observations)
    supervisor = Supervisor()

    ending = supervisor.run(job)

    assert isinstance(ending, AttemptFailed)
    assert "observations.csv" in ending.error
    (outer,) = runs_of(job)
    assert outer.state.type.value == "FAILED"
    assert "observations.csv" in outer.state.message


def test_the_flow_run_of_a_lost_attempt_is_marked_crashed(job, prefect):
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job.job_id, "task_id": "Hebe", "attempt": 1}
        lost = client.create_flow_run(thor_task, parameters=parameters, state=Running())

    Supervisor().run(job, attempt=2, former_flow_run_id=str(lost.id))

    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(lost.id).state
    assert state.type.value == "CRASHED"
    assert "host:1 took the task over" in state.message


def test_a_flow_run_that_ended_stays_as_it_is_when_its_task_is_done_again(job, prefect):
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job.job_id, "task_id": "Hebe", "attempt": 1}
        ended = client.create_flow_run(thor_task, parameters=parameters, state=Failed())

    Supervisor().run(job, attempt=2, former_flow_run_id=str(ended.id))

    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(ended.id).state.type.value == "FAILED"


@pytest.fixture
def parent(prefect):
    """A job's flow run, and the Prefect task run below which its tasks are shown."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(thor_job, parameters={"job_id": "J"}, state=Running())
        return run.id, linked_runs.make_parent(client, run.id, name="tasks")


def linked(job, parent, *, attempt):
    with get_client(sync_client=True) as client:
        return linked_runs.make_attempt_run(
            client, parent[1], job_id=job.job_id, task_id="Hebe", attempt=attempt, state_name="Queued"
        )


def states_below(job_run_id):
    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        found = linked_runs.subflow_runs(client, job_run_id, list(StateType))
        return {run.name: run.state.type.value for run in found}


def test_a_queued_run_that_people_saw_below_the_job_is_the_one_that_shows_the_attempt(job, parent):
    queued = linked(job, parent, attempt=1)

    Supervisor().run(job, parent_run_id=str(parent[1]))

    assert states_below(parent[0]) == {"Hebe attempt 1": "COMPLETED"}
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(queued.id).state.type.value == "COMPLETED"
        assert len(linked_runs.subflow_runs(client, queued.id, list(StateType))) == len(STAGES)


def test_a_worker_that_is_faster_than_the_client_makes_the_run_and_the_client_finds_it(job, parent):
    Supervisor().run(job, parent_run_id=str(parent[1]))
    finish_shows(120.0)

    found = linked(job, parent, attempt=1)

    assert found.state.type.value == "COMPLETED"
    assert states_below(parent[0]) == {"Hebe attempt 1": "COMPLETED"}


def test_a_second_attempt_has_a_run_of_its_own(job, parent):
    linked(job, parent, attempt=1)

    Supervisor().run(job, attempt=2, parent_run_id=str(parent[1]))

    assert states_below(parent[0]) == {"Hebe attempt 1": "PENDING", "Hebe attempt 2": "COMPLETED"}


def test_a_job_run_that_is_gone_keeps_nobody_from_working(job, prefect):
    ending = Supervisor().run(job, parent_run_id="00000000-0000-4000-8000-000000000000")

    assert isinstance(ending, AttemptSucceeded)


def cancel_in_ui(flow_run_id):
    with get_client(sync_client=True) as client:
        linked_runs.set_state(client, flow_run_id, linked_runs.state_of(StateType.CANCELLING))


class SlowSupervisor(Supervisor):
    """Keeps the attempt at its second stage until its show asks for the end, as a real one would end it."""

    def __init__(self, at_work=lambda supervisor: None):
        super().__init__(self._at)
        self._at_work = at_work

    def _at(self, record):
        if isinstance(record, StageBegan) and record.stage == STAGES[1]:
            self._at_work(self)
            wait_until(lambda: CancelAsked() in self.told, seconds=60, what="the show asks for the attempt's end")


def test_a_run_that_was_cancelled_while_it_was_queued_has_its_attempt_ended(job, parent):
    cancel_in_ui(linked(job, parent, attempt=1).id)

    SlowSupervisor().run(job, parent_run_id=str(parent[1]))

    assert states_below(parent[0]) == {"Hebe attempt 1": "CANCELLED"}


def cancelled_in_ui_and_retried(job, parent):
    """Cancel a queued task in the UI and take that back; return the task's status file."""
    cancel_in_ui(linked(job, parent, attempt=1).id)
    cancel_tasks(job.bucket, job.layout, ["Hebe"])
    file = read_status_file(job.bucket, job.layout.task("Hebe"))
    assert file.status.error_kind == "cancelled"
    file.change(Retried())
    return file


def test_a_task_that_was_cancelled_while_it_was_queued_can_be_retried(job, parent):
    file = cancelled_in_ui_and_retried(job, parent)
    assignment = claim_task(file, worker="host:1", parent_run_id=str(parent[1]))

    supervisor = Supervisor()
    supervisor.run(job, **assignment.model_dump())
    finish_shows(120.0)

    assert CancelAsked() not in supervisor.told
    with get_client(sync_client=True) as client:
        found = linked_runs.subflow_runs(client, parent[0], list(StateType))
    assert sorted(run.state.type.value for run in found) == ["CANCELLING", "COMPLETED"]


def test_a_run_that_is_cancelled_at_work_has_its_attempt_ended(job, prefect, monkeypatch):
    monkeypatch.setattr(attempt_show, "LOOK_SECONDS", 0.1)

    def cancel(supervisor):
        wait_until(lambda: supervisor.flow_run_id, seconds=60, what="the flow run has started")
        cancel_in_ui(supervisor.flow_run_id)

    SlowSupervisor(cancel).run(job)

    outer, *stages = runs_of(job)
    assert [run.state.type.value for run in [outer, *stages]] == ["CANCELLED", "COMPLETED", "CANCELLED"]


@pytest.fixture
def instrumentation(monkeypatch):
    def use(level):
        monkeypatch.setenv("THOR_INSTRUMENTATION", level)
        settings_from_environment.cache_clear()

    yield use
    monkeypatch.undo()
    settings_from_environment.cache_clear()


@pytest.mark.parametrize(("level", "flows"), [("task", ["thor-task"]), ("off", [])])
def test_less_is_shown_when_less_is_asked_for(job, prefect, instrumentation, level, flows):
    instrumentation(level)

    ending = Supervisor().run(job)

    assert isinstance(ending, AttemptSucceeded)
    assert names_of_flows(runs_of(job)) == flows


def seconds_of(job, **collaborators):
    """How long an attempt takes, to the return of `run_assignment`: until the child can take another task."""
    supervisor = Supervisor(**collaborators)
    began = time.monotonic()
    ending = supervisor.run(job)
    assert isinstance(ending, AttemptSucceeded)
    assert supervisor.stages == list(STAGES)
    return time.monotonic() - began


def at(stage, act):
    def on(record):
        if isinstance(record, StageBegan) and record.stage == stage:
            act()

    return {"on": on}


def test_a_stage_that_a_busy_server_refuses_does_not_make_the_run_of_its_task_red(job, prefect, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("503 Service Unavailable")

    monkeypatch.setitem(STAGE_FLOWS, STAGES[1], refuse)
    Supervisor().run(job)

    outer, *stages = runs_of(job)
    assert [run.state.type.value for run in [outer, *stages]] == ["COMPLETED"] * 5


def test_a_server_that_was_down_before_costs_the_task_nothing(job, prefect):
    prefect.kill()

    assert seconds_of(job) < NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_dies_during_a_stage_neither_fails_nor_holds_up_the_task(job, prefect, stage):
    assert seconds_of(job, **at(stage, prefect.kill)) < NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_answers_no_more_neither_fails_nor_holds_up_the_task(job, prefect, stage):
    try:
        assert seconds_of(job, **at(stage, lambda: prefect.send(signal.SIGSTOP))) < NOISE_SECONDS
    finally:
        prefect.send(signal.SIGCONT)
        wait_until(prefect._answers, seconds=60, what="the server answers again")
