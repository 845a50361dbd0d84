"""The worker's flow: what people see of an attempt in Prefect, and that Prefect never decides how it ends."""

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
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Running

from flows.attempt_show import PATIENCE_SECONDS, finish_shows
from flows.run_task import run_assignment, thor_task
from tasks.bucket.directory import DirectoryBucket
from tasks.engines.interface import STAGES
from tasks.jobs.submit import Submission, new_job_id
from tasks.records.assignment import Assignment, AttemptFailed, AttemptSucceeded, FlowRunStarted, StageBegan
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
        return self.told[-1]

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


def test_people_see_the_log_of_the_task_and_a_table_of_its_stages(job, prefect):
    supervisor = Supervisor()

    supervisor.run(job)

    outer, *stages = runs_of(job)
    assert any("Begins attempt 1 at task Hebe" in message for message in logs_of(outer.id))
    assert any("Computed cluster_and_link in" in message for message in logs_of(stages[1].id))
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[outer.id]))
        (artifact,) = client.read_artifacts(artifact_filter=of_run)
    assert (artifact.key, artifact.type) == ("thor-task-stages", "table")
    assert [stage for stage in STAGES if stage not in artifact.data] == []


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
        parameters = {"job_id": job.job_id, "task_id": "Hebe", "attempt": 1, "worker": "host:0"}
        lost = client.create_flow_run(thor_task, parameters=parameters, state=Running())

    Supervisor().run(job, attempt=2, former_flow_run_id=str(lost.id))

    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(lost.id).state
    assert state.type.value == "CRASHED"
    assert "host:1 took the task over" in state.message


def test_a_flow_run_that_was_made_at_submission_is_the_one_that_runs(job, prefect):
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job.job_id, "task_id": "Hebe", "attempt": 1, "worker": ""}
        waiting = client.create_flow_run(thor_task, parameters=parameters)
    Supervisor().run(job, prefect_flow_run_id=str(waiting.id))

    finish_shows(120.0)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(waiting.id).state.type.value == "COMPLETED"


def test_a_flow_run_that_is_gone_keeps_nobody_from_working(job, prefect):
    ending = Supervisor().run(job, prefect_flow_run_id="00000000-0000-4000-8000-000000000000")

    assert isinstance(ending, AttemptSucceeded)


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


def test_a_server_that_was_down_before_costs_the_task_nothing(job, prefect):
    prefect.kill()

    assert seconds_of(job) < PATIENCE_SECONDS + NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_dies_during_a_stage_neither_fails_nor_holds_up_the_task(job, prefect, stage):
    assert seconds_of(job, **at(stage, prefect.kill)) < PATIENCE_SECONDS + NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_answers_no_more_neither_fails_nor_holds_up_the_task(job, prefect, stage):
    try:
        assert seconds_of(job, **at(stage, lambda: prefect.send(signal.SIGSTOP))) < PATIENCE_SECONDS + NOISE_SECONDS
    finally:
        prefect.send(signal.SIGCONT)
        wait_until(prefect._answers, seconds=60, what="the server answers again")
