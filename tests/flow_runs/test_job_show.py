"""What people see of a job while it goes on, and can do to it in the UI; a server that is gone does no harm."""

from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running

from flows.monitor import monitor_job
from flows.run_task import thor_task
from flows.shown import job_show
from flows.shown.cancelled_run import cancel_job_of_run
from flows.shown.job_show import JobShow, settle, settled_state
from flows.submit import thor_job
from tasks import instrument, linked_runs
from tasks.jobs.monitor import JobWatch
from tasks.records.ids import JobId
from tasks.records.status import Released, Retried
from tasks.settings import Settings
from tests.services.processes import wait_until
from tests.support.buckets import FakeBucket
from tests.support.jobs import CANCELLED, CLAIMED, FRESH, SUCCEEDED, failed, make_job, states_of, status_after


@pytest.fixture
def bucket():
    return FakeBucket()


def in_job_run(act, *, settings=None, n_tasks=3):
    """Do something inside the run of a job, with the parent of its tasks' runs; return the job's flow run."""
    seen = []

    @flow(name="thor-job")
    def job_run():
        parent = job_show.make_parent(settings or Settings(), JobId("survey-07"), n_tasks=n_tasks)
        seen.append(instrument.flow_run_id())
        act(parent)

    with instrument.little_patience():
        job_run()
    return seen[0]


def children(job_run_id):
    with get_client(sync_client=True) as client:
        found = linked_runs.subflow_runs(client, job_run_id, list(StateType))
    return {run.name: run.state.name for run in found}


def children_of(job_run_id):
    """Name and state of every run below a job's: two of one name where a task was retried before any attempt."""
    with get_client(sync_client=True) as client:
        found = linked_runs.subflow_runs(client, job_run_id, list(StateType))
    return [(run.name, run.state.name) for run in found]


def watch_of(bucket, tasks):
    watch = JobWatch(bucket, make_job(bucket, tasks), list(tasks))
    watch.look()
    return watch


def follow_a_while(watch, parent, *, queued):
    """Follow until so many queued runs are seen."""
    run_id = instrument.flow_run_id()
    with JobShow(watch, parent_id=parent):
        wait_until(lambda: len(children(run_id)) == queued, seconds=60, what="queued tasks are seen")


def follow_until(watch, parent, is_enough):
    with JobShow(watch, parent_id=parent) as show:
        wait_until(lambda: show.act() or is_enough(), seconds=60, what="people's wish is seen")
    return show


def test_tasks_that_wait_for_a_worker_are_seen_below_the_job_and_the_bar_moves(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    run_id = in_job_run(lambda parent: follow_a_while(watch, parent, queued=1))

    assert children(run_id) == {"a attempt 1": "Queued"}
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        (bar,) = client.read_artifacts(artifact_filter=of_run)
    assert (bar.key, bar.type) == ("thor-job-survey-07", "progress")
    assert bar.data == pytest.approx(100 / 3)


def test_at_the_end_every_run_is_given_what_became_of_its_task(bucket, prefect):
    tasks = dict.fromkeys("abcd", FRESH)
    watch = watch_of(bucket, tasks)

    def act(parent):
        follow_a_while(watch, parent, queued=4)
        ends = {"a": SUCCEEDED, "b": failed("task_error"), "c": CANCELLED, "d": CLAIMED}
        watch.statuses = {task_id: status_after(events) for task_id, events in ends.items()}
        settle(watch, parent)

    assert children(in_job_run(act)) == {
        "a attempt 1": "Completed",
        "b attempt 1": "Failed",
        "c attempt 1": "Cancelled",
        "d attempt 1": "Queued",
    }


@pytest.mark.parametrize("events", [(), (*CANCELLED, Retried())], ids=["first try", "retried"])
def test_runs_that_stand_alone_have_an_end_too_when_their_job_has_one(place, prefect, monkeypatch, events):
    # As those of jobs of many tasks, and of jobs that were submitted and left: a worker that died ends none.
    monkeypatch.setattr(job_show, "SHOWING_SECONDS", 1.0)
    job_id = JobId(f"survey-{len(events)}")
    make_job(place.bucket, {"a": (*events, *failed("crashed")), "b": SUCCEEDED}, job_id=job_id)
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job_id, "task_id": "a", "attempt": 1}
        tags = linked_runs.tags_of(job_id, "a")
        lost = client.create_flow_run(thor_task, parameters=parameters, tags=tags, state=Running())
        other = client.create_flow_run(thor_task, parameters=parameters, tags=["job:other", "task:a"], state=Running())

    assert monitor_job(job_id, bucket=place.bucket.url)["failed"] == 1

    with get_client(sync_client=True) as client:
        assert client.read_flow_run(lost.id).state.name == "Failed"
        assert client.read_flow_run(other.id).state.name == "Running"


def test_a_task_whose_run_nobody_made_has_one_at_the_end_all_the_same(bucket, prefect):
    watch = watch_of(bucket, {"a": SUCCEEDED, "b": failed("task_error"), "c": CLAIMED})

    assert children(in_job_run(lambda parent: settle(watch, parent))) == {
        "a attempt 1": "Completed",
        "b attempt 1": "Failed",
    }


def test_runs_that_somebody_is_showing_are_waited_for_longer():
    def run(state):
        return FlowRun(flow_id=uuid4(), state=state)

    assert job_show.patience_with([run(Pending()), run(Running())]) > job_show.patience_with([run(Pending())])


def test_an_attempt_that_another_came_after_has_crashed():
    assert settled_state(1, status_after(CLAIMED).model_copy(update={"attempt": 2}))["type"] == "CRASHED"


def test_a_queued_run_of_an_attempt_that_never_began_ends_as_its_task_does():
    claimed_and_given_back = (*CLAIMED, Released())
    assert settled_state(2, status_after((*claimed_and_given_back, *CANCELLED)))["type"] == "CANCELLED"


def test_a_run_from_before_a_retry_tells_nothing_of_what_came_after_it():
    status = status_after((*CANCELLED, Retried(), *SUCCEEDED))

    assert settled_state(1, status, retries=0)["type"] == "CANCELLED"
    assert settled_state(1, status, retries=1)["type"] == "COMPLETED"


def test_cancelling_the_run_of_a_job_cancels_the_job(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH, "b": CLAIMED})

    def act(parent):
        with get_client(sync_client=True) as client:
            state = linked_runs.state_of(StateType.CANCELLING)
            linked_runs.set_state(client, instrument.flow_run_id(), state)
        follow_until(watch, parent, lambda: states_of(bucket, watch.layout)["a"] == "failed")

    in_job_run(act)

    assert states_of(bucket, watch.layout) == {"a": "failed", "b": "in_progress"}
    assert watch.layout.cancel in bucket_names(bucket)


def bucket_names(bucket):
    return {info.name for info in bucket.list("")}


def test_a_run_that_was_cancelled_before_its_task_was_retried_does_not_cancel_it_again(bucket, prefect):
    again = (*CANCELLED, Retried())
    watch = watch_of(bucket, {"a": again, "b": FRESH})
    queued = []

    def act(parent):
        with get_client(sync_client=True) as client:
            for task_id in ("a", "b"):
                run = linked_runs.make_attempt_run(
                    client, parent, job_id=JobId("survey-07"), task_id=task_id, attempt=1, state_name="Queued"
                )
                linked_runs.set_state(client, run.id, linked_runs.state_of(StateType.CANCELLED))
        follow_until(watch, parent, lambda: states_of(bucket, watch.layout)["b"] == "failed")
        run_id = instrument.flow_run_id()
        with JobShow(watch, parent_id=parent) as show:
            wait_until(lambda: show.act() or len(children_of(run_id)) == 3, seconds=60, what="a's new run is seen")
        queued.extend(children_of(run_id))

    in_job_run(act)

    assert states_of(bucket, watch.layout) == {"a": "requested", "b": "failed"}
    assert sorted(queued) == [("a attempt 1", "Cancelled"), ("a attempt 1", "Queued"), ("b attempt 1", "Cancelled")]


def test_cancelling_the_run_of_a_queued_task_cancels_that_task(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH, "b": FRESH})

    def act(parent):
        with get_client(sync_client=True) as client:
            queued = linked_runs.make_attempt_run(
                client, parent, job_id=JobId("survey-07"), task_id="b", attempt=1, state_name="Queued"
            )
            linked_runs.set_state(client, queued.id, linked_runs.state_of(StateType.CANCELLING))
        follow_until(watch, parent, lambda: states_of(bucket, watch.layout)["b"] == "failed")

    in_job_run(act)

    assert states_of(bucket, watch.layout) == {"a": "requested", "b": "failed"}


@pytest.mark.parametrize("named_by", ["parameter", "tag"])
def test_a_run_that_prefect_itself_ended_cancels_its_job_and_the_runs_of_its_tasks(place, prefect, named_by):
    job = make_job(place.bucket, {"a": FRESH, "b": SUCCEEDED})
    given = {"parameter": {"job_id": job.job_id}, "tag": {"job_id": ""}}[named_by]
    with get_client(sync_client=True) as client:
        parameters = {**given, "bucket": place.bucket.url}
        run = client.create_flow_run(thor_job, parameters=parameters, tags=[f"job:{job.job_id}"], state=Running())
        parent = linked_runs.make_parent(client, run.id, name="tasks")
        for task_id in ("a", "b"):
            linked_runs.make_attempt_run(
                client, parent, job_id=job.job_id, task_id=task_id, attempt=1, state_name="Queued"
            )

    cancel_job_of_run(thor_job, run, run.state)

    assert states_of(place.bucket, job) == {"a": "failed", "b": "succeeded"}
    assert children(run.id) == {"a attempt 1": "Cancelled", "b attempt 1": "Completed"}
    with get_client(sync_client=True) as client:
        assert client.read_task_run(parent).state.is_final()


def test_a_run_that_was_cancelled_before_it_had_submitted_anything_needs_nothing(place, prefect):
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(thor_job, parameters={"job_id": "J", "bucket": place.bucket.url})

    cancel_job_of_run(thor_job, run, run.state)

    assert list(place.bucket.list("")) == []


def test_a_run_that_was_started_without_an_id_is_named_after_the_job(prefect):
    run_id = in_job_run(lambda parent: job_show.name_run(JobId("survey-08")))

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
    assert (run.name, run.tags) == ("survey-08", ["job:survey-08"])
    assert job_show.job_of_run(run) == "survey-08"


def test_a_job_of_more_tasks_than_are_linked_says_where_their_runs_are(prefect):
    parents = []

    run_id = in_job_run(parents.append, settings=Settings(linked_runs=2))

    assert parents == [None]
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        (page,) = client.read_artifacts(artifact_filter=of_run)
    assert "tag `job:survey-07`" in page.data


def test_nothing_is_linked_when_nothing_is_to_be_shown(prefect):
    parents = []

    in_job_run(parents.append, settings=Settings(instrumentation="off"))

    assert parents == [None]


def test_without_prefect_a_job_is_followed_all_the_same(bucket):
    watch = watch_of(bucket, {"a": FRESH})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert job_show.make_parent(Settings(), JobId("survey-07"), n_tasks=1) is None
        with JobShow(watch, parent_id=None) as show:
            show.act()
        settle(watch, None)

    assert not show.has_cancelled


def test_a_server_that_is_gone_meanwhile_neither_fails_nor_holds_up_the_job(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH})

    def act(parent):
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
            with JobShow(watch, parent_id=parent) as show:
                show.act()
            settle(watch, parent)

    in_job_run(act)
