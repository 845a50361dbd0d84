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
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Failed, Running

from flows import run_task
from flows.run_task import run_assignment, thor_task
from flows.shown import cancel_watch, task_page
from flows.submit import thor_job
from tasks.bucket.directory import DirectoryBucket
from tasks.engines.interface import STAGES
from tasks.jobs.submit import Submission, new_job_id
from tasks.prefect_api import clients, instrument, runs
from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    CancelAsked,
    FlowRunStarted,
    StageBegan,
)
from tasks.settings import settings_from_environment
from tests.services.processes import wait_until
from tests.support.job_inputs import small_inputs

NOISE_SECONDS = 3.0
"""What the work itself takes (0.2 s), on a machine that does much else meanwhile."""
PATIENCE_SECONDS = 2.0
"""So long at most an attempt waits for Prefect."""


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
            | {"worker": "host:1", "instrumentation": "stages"}
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
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job.job_id}", "task:Hebe"])),
            sort=FlowRunSort.START_TIME_ASC,
        )


def names_of_flows(runs):
    with get_client(sync_client=True) as client:
        return [client.read_flow(run.flow_id).name for run in runs]


def logs_of(flow_run_id):
    instrument.flush()
    with get_client(sync_client=True) as client:
        found = client.read_logs(log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])))
    return [log.message for log in found]


def artifacts_of(run):
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        return client.read_artifacts(artifact_filter=of_run)


def slow_down(monkeypatch, stage, *, seconds):
    """Have an engine's stage take so much longer."""
    compute = run_task.Attempt._computed

    def slow(self, at, inputs):
        if at == stage:
            time.sleep(seconds)
        return compute(self, at, inputs)

    monkeypatch.setattr(run_task.Attempt, "_computed", slow)


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
    assert supervisor.flow_run_id == outer.id
    assert outer.name == "Hebe attempt 1"
    assert names_of_flows([outer, *stages]) == ["thor-task", *STAGES]
    assert {run.state.type.value for run in [outer, *stages]} == {"COMPLETED"}
    assert outer.state.message.startswith("1 recovered orbit, ")
    assert stages[0].state.message.startswith("observations 42, ")


def test_a_run_of_a_stage_begins_and_ends_with_the_stage(job, prefect, monkeypatch):
    slow_down(monkeypatch, STAGES[1], seconds=1.0)

    supervisor = Supervisor()
    supervisor.run(job)

    _, *stages = runs_of(job)
    seconds = dict(zip(STAGES, [run.total_run_time.total_seconds() for run in stages], strict=True))
    assert seconds.pop(STAGES[1]) == pytest.approx(1.0, abs=0.5)
    assert max(seconds.values()) < 0.5


def test_a_task_that_took_little_time_has_no_picture_and_its_page_says_so(job, prefect):
    Supervisor().run(job)

    outer, *_ = runs_of(job)
    (table,) = artifacts_of(outer)
    assert table.description.endswith("No picture: it took less than 5 s")


def test_people_see_the_log_of_the_task_a_table_of_its_stages_and_a_picture(job, prefect, monkeypatch):
    monkeypatch.setattr(task_page, "PICTURE_AFTER_SECONDS", 0.0)
    supervisor = Supervisor()

    supervisor.run(job)

    outer, *stages = runs_of(job)
    assert any("Begins attempt 1 at task Hebe" in message for message in logs_of(outer.id))
    assert any("Computed cluster_and_link in" in message for message in logs_of(stages[1].id))
    found = {artifact.key: artifact for artifact in artifacts_of(outer)}
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


def former_run(job, state):
    """The flow run of a first attempt, in that state."""
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job.job_id, "task_id": "Hebe", "attempt": 1}
        return client.create_flow_run(thor_task, parameters=parameters, state=state)


def test_the_flow_run_of_a_lost_attempt_is_marked_crashed(job, prefect):
    lost = former_run(job, Running())

    Supervisor().run(job, attempt=2, former_flow_run_id=str(lost.id))

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(lost.id).state
    assert state.type.value == "CRASHED"
    assert "host:1 took the task over" in state.message


def test_a_flow_run_that_ended_stays_as_it_is_when_its_task_is_done_again(job, prefect):
    ended = former_run(job, Failed())

    Supervisor().run(job, attempt=2, former_flow_run_id=str(ended.id))

    with get_client(sync_client=True) as client:
        assert client.read_flow_run(ended.id).state.type.value == "FAILED"


@pytest.fixture
def parent(prefect):
    """A job's flow run, and the Prefect task run below which its tasks are shown."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(thor_job, parameters={"job_id": "J"}, state=Running())
        return run.id, runs.make_parent(client, run.id, name="tasks")


def states_below(job_run_id):
    with get_client(sync_client=True) as client:
        found = runs.subflow_runs(client, job_run_id, list(StateType))
        return {run.name: run.state.type.value for run in found}


def test_an_attempt_is_seen_below_its_job_and_a_second_one_has_a_run_of_its_own(job, parent):
    Supervisor().run(job, parent_run_id=str(parent[1]))
    Supervisor().run(job, attempt=2, parent_run_id=str(parent[1]))

    assert states_below(parent[0]) == {"Hebe attempt 1": "COMPLETED", "Hebe attempt 2": "COMPLETED"}


def test_a_job_run_that_is_gone_keeps_nobody_from_working(job, prefect):
    ending = Supervisor().run(job, parent_run_id="00000000-0000-4000-8000-000000000000")

    assert isinstance(ending, AttemptSucceeded)


def cancel_in_ui(flow_run_id):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelling())


class SlowSupervisor(Supervisor):
    """Keeps the attempt at its second stage until its end is asked for; then a real one would kill the process."""

    def __init__(self, at_work, at_end):
        super().__init__(self._at)
        self._at_work = at_work
        self._at_end = at_end

    def _at(self, record):
        if isinstance(record, StageBegan) and record.stage == STAGES[1]:
            self._at_work(self)
            wait_until(lambda: CancelAsked() in self.told, seconds=60, what="the attempt's end is asked for")
            self._at_end()


def test_a_run_that_is_cancelled_at_work_has_its_attempt_ended(job, prefect, monkeypatch):
    monkeypatch.setattr(cancel_watch, "LOOK_SECONDS", 0.1)

    states = []

    SlowSupervisor(
        at_work=lambda supervisor: cancel_in_ui(supervisor.flow_run_id),
        at_end=lambda: states.extend(run.state.type.value for run in runs_of(job)),
    ).run(job)

    assert states == ["CANCELLED", "COMPLETED", "CANCELLED"]


def test_looking_for_a_cancelled_run_until_the_last_moment_disturbs_no_attempt(job, prefect, monkeypatch):
    monkeypatch.setattr(cancel_watch, "LOOK_SECONDS", 0.0)

    for attempt in range(1, 6):
        assert isinstance(Supervisor().run(job, attempt=attempt), AttemptSucceeded)

    assert clients.may_show()
    assert len(runs_of(job)) == 5 * (1 + len(STAGES))


@pytest.fixture
def instrumentation(monkeypatch):
    def use(level):
        monkeypatch.setenv("THOR_INSTRUMENTATION", level)
        settings_from_environment.cache_clear()

    yield use
    monkeypatch.undo()
    settings_from_environment.cache_clear()


@pytest.mark.parametrize(
    ("own", "told", "flows"),
    [
        ("auto", "stages", ["thor-task", *STAGES]),
        ("auto", "task", ["thor-task"]),
        ("auto", None, ["thor-task"]),
        ("auto", "off", []),
        ("task", "stages", ["thor-task"]),
        ("off", "stages", []),
    ],
)
def test_a_client_says_how_much_is_shown_and_a_worker_that_is_set_to_less_or_more_wins(
    job, prefect, instrumentation, own, told, flows
):
    instrumentation(own)

    ending = Supervisor().run(job, instrumentation=told)

    assert isinstance(ending, AttemptSucceeded)
    assert names_of_flows(runs_of(job)) == flows


def seconds_of(job, *, attempt=1, **collaborators):
    """How long an attempt takes, to the return of `run_assignment`: until the child can take another task."""
    supervisor = Supervisor(**collaborators)
    run_task.warm_up()
    began = time.monotonic()
    ending = supervisor.run(job, attempt=attempt)
    assert isinstance(ending, AttemptSucceeded)
    assert supervisor.stages == list(STAGES)
    return time.monotonic() - began


def at(stage, act):
    def on(record):
        if isinstance(record, StageBegan) and record.stage == stage:
            act()

    return {"on": on}


def refused_before_the_work(*_, **__):
    raise ConnectionError("503 Service Unavailable")


def lost_after_the_work(*args, **kwargs):
    run_flow(*args, **kwargs)
    raise ConnectionError("503 Service Unavailable")


run_flow = run_task.run_flow


@pytest.mark.parametrize(("fault", "n_completed"), [(refused_before_the_work, 4), (lost_after_the_work, 5)])
def test_a_stage_whose_run_is_refused_or_lost_is_computed_once_and_the_run_of_its_task_is_not_red(
    job, prefect, monkeypatch, fault, n_completed
):
    def faulty(flow, **kwargs):
        return (fault if flow.name == STAGES[1] else run_flow)(flow, **kwargs)

    monkeypatch.setattr(run_task, "run_flow", faulty)
    supervisor = Supervisor()

    assert isinstance(supervisor.run(job), AttemptSucceeded)
    outer, *stages = runs_of(job)
    assert supervisor.stages == list(STAGES)
    assert outer.state.type == StateType.COMPLETED
    assert [run.state.type.value for run in stages].count("COMPLETED") == n_completed


def test_the_error_of_a_stage_ends_the_attempt_once_and_goes_through_no_file_of_prefect(job, prefect, monkeypatch):
    def fail(self, stage, inputs):
        raise ArithmeticError(f"no {stage}")

    monkeypatch.setattr(run_task.Attempt, "_computed", fail)
    supervisor, stored = Supervisor(), set(prefect.home.rglob("storage/*"))

    ending = supervisor.run(job)

    assert (type(ending), ending.error) == (AttemptFailed, f"ArithmeticError: no {STAGES[0]}")
    outer, stage = runs_of(job)
    assert [run.state.type.value for run in (outer, stage)] == ["FAILED", "FAILED"]
    assert stage.state.message == f"ArithmeticError: no {STAGES[0]}"
    assert set(prefect.home.rglob("storage/*")) == stored


def test_memory_that_cannot_be_had_in_a_stage_is_told_to_nobody_and_leaves_the_process(job, prefect, monkeypatch):
    def fail(self, stage, inputs):
        raise MemoryError

    monkeypatch.setattr(run_task.Attempt, "_computed", fail)
    supervisor = Supervisor()

    with pytest.raises(MemoryError):
        supervisor.run(job)

    assert supervisor.stages == [STAGES[0]]
    assert not [each for each in supervisor.told if isinstance(each, AttemptSucceeded | AttemptFailed)]


def test_a_server_that_was_down_before_costs_the_task_nothing(job, prefect, true_patience):
    prefect.kill()

    assert seconds_of(job) < PATIENCE_SECONDS + NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_dies_during_a_stage_neither_fails_nor_holds_up_the_task(job, prefect, true_patience, stage):
    assert seconds_of(job, **at(stage, prefect.kill)) < PATIENCE_SECONDS + NOISE_SECONDS


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_a_server_that_answers_no_more_neither_fails_nor_holds_up_the_task(job, prefect, true_patience, stage):
    try:
        assert seconds_of(job, **at(stage, lambda: prefect.send(signal.SIGSTOP))) < PATIENCE_SECONDS + NOISE_SECONDS
    finally:
        prefect.send(signal.SIGCONT)
        wait_until(prefect._answers, seconds=60, what="the server answers again")


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_is_full_or_too_busy_holds_up_one_task_for_two_seconds_and_is_then_left_alone(
    job, refusing_server, true_patience, status
):
    server = refusing_server(status)
    with temporary_settings({PREFECT_API_URL: server.url}):
        first = seconds_of(job)
        n_asked = len(server.requests)
        second = seconds_of(job, attempt=2)

    assert first < PATIENCE_SECONDS + NOISE_SECONDS
    assert second < NOISE_SECONDS
    assert 1 <= n_asked == len(server.requests)
