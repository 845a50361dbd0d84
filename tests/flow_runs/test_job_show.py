"""What people see of a job while it goes on, and can do to it in the UI; a server that is gone does no harm."""

from uuid import UUID

import pyarrow.parquet as pq
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending, Running
from pydantic import SecretStr

from flows.cancel import cancel
from flows.monitor import monitor_job
from flows.run_task import thor_task
from flows.shown import job_show
from flows.shown.cancelled_run import cancel_job_of_run
from flows.shown.job_show import JobShow, end_of_lost, end_runs
from flows.submit import thor_job
from tasks.bucket.layout import JobLayout
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.prefect_api import instrument, runs
from tasks.records.ids import JobId
from tests.services.processes import wait_until
from tests.support.buckets import FakeBucket
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.jobs import CANCELLED, CLAIMED, FRESH, SUCCEEDED, failed, make_job, states_of, status_after


@pytest.fixture
def bucket():
    return FakeBucket()


def in_job_run(act, *, level="stages"):
    """Do something inside the run of a job, with the parent of its tasks' runs; return the job's flow run."""
    seen = []

    @flow(name="thor-job")
    def job_run():
        parent = job_show.make_parent(level)
        seen.append(instrument.flow_run_id())
        act(parent)

    with instrument.little_patience():
        job_run()
    return seen[0]


def children(job_run_id):
    with get_client(sync_client=True) as client:
        found = runs.subflow_runs(client, job_run_id, list(StateType))
    return {run.name: run.state.name for run in found}


def run_of(job, task_id, *, parent=None, state=None, attempt=1, tags=None):
    """Make the run of an attempt, as a worker does."""
    with get_client(sync_client=True) as client:
        parameters = {"job_id": job.job_id, "task_id": task_id, "attempt": attempt}
        tags = tags or runs.tags_of(job.job_id, task_id)
        run = runs.make_run(
            client, thor_task, name=f"{task_id} attempt {attempt}", parameters=parameters, parent_id=parent, tags=tags
        )
        if state is not None:
            client.set_flow_run_state(run.id, state, force=True)
        return run


def watch_of(bucket, tasks):
    watch = JobWatch(bucket, make_job(bucket, tasks), list(tasks))
    watch.look()
    return watch


def follow_until(watch, is_enough):
    show = JobShow(watch)
    wait_until(lambda: show.look() or is_enough(), seconds=60, what="people's wish is seen")
    return show


def artifacts_of(run_id):
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        return client.read_artifacts(artifact_filter=of_run)


def test_a_bar_shows_how_far_the_job_is(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    run_id = in_job_run(lambda _: JobShow(watch).look())

    (bar,) = artifacts_of(run_id)
    assert (bar.key, bar.type) == ("thor-job-survey-07", "progress")
    assert bar.data == pytest.approx(100 / 3)


def test_when_the_job_is_over_no_run_of_its_tasks_stays_running_and_nobody_is_waited_for(bucket, prefect):
    tasks = {"a": SUCCEEDED, "b": failed("task_error"), "c": CANCELLED, "d": CLAIMED}
    watch = watch_of(bucket, tasks)
    unseen = []

    def act(parent):
        for task_id in "abcd":
            run_of(watch.layout, task_id, parent=parent, state=Running())
        unseen.extend(end_runs(watch, parent))

    assert children(in_job_run(act)) == {
        "a attempt 1": "Completed",
        "b attempt 1": "Failed",
        "c attempt 1": "Cancelled",
        "d attempt 1": "Running",
    }
    assert unseen == []


def test_of_a_job_that_is_not_waited_for_nothing_stays_running(place, prefect, tmp_path):
    pq.write_table(observations_of(("Hebe",)), tmp_path / "observations.parquet")
    pq.write_table(orbits_of(("Hebe",)), tmp_path / "orbits.parquet")

    state = thor_job(
        "J1",
        observations=tmp_path / "observations.parquet",
        orbits=tmp_path / "orbits.parquet",
        bucket=place.bucket.url,
        queue=SecretStr(f"sqlite:///{place.queue}"),
        wait=False,
        return_state=True,
    )

    manifest = read_manifest(place.bucket, JobLayout(JobId("J1")))
    parent = UUID(manifest.prefect_parent_run_id)
    with get_client(sync_client=True) as client:
        assert (state.name, client.read_task_run(parent).state.name) == ("Completed", "Completed")
        lost = run_of(JobLayout(JobId("J1")), "Hebe", parent=parent, state=Running())
        assert client.read_task_run(parent).state.name == "Running"  # as its task is

        cancel("J1", bucket=place.bucket.url)
        monitor_job("J1", bucket=place.bucket.url)

        assert client.read_flow_run(lost.id).state.name == "Cancelled"
        assert client.read_task_run(parent).state.name == "Completed"


def test_runs_that_stand_alone_have_an_end_too_when_their_job_has_one(place, prefect):
    job = make_job(place.bucket, {"a": failed("crashed"), "b": SUCCEEDED}, job_id=JobId("survey-08"))
    lost = run_of(job, "a", state=Running())
    other = run_of(job, "a", state=Running(), tags=["job:other", "task:a"])

    assert monitor_job(job.job_id, bucket=place.bucket.url)["failed"] == 1

    with get_client(sync_client=True) as client:
        assert client.read_flow_run(lost.id).state.name == "Failed"
        assert client.read_flow_run(other.id).state.name == "Running"


def test_tasks_without_a_run_are_counted_and_named(bucket, prefect):
    job = make_job(bucket, dict.fromkeys("abcdefgh", SUCCEEDED), job_id=JobId("survey-unseen"))
    watch = JobWatch(bucket, job, list("abcdefgh"))
    watch.look()
    told = []

    def act(parent):
        run_of(watch.layout, "a", parent=parent, state=Running())
        told.extend(end_runs(watch, parent))

    in_job_run(act)

    (sentence,) = told
    assert sentence.startswith("7 tasks without a run in Prefect (b, c, d, e, f, ...): it did not answer their workers")


def test_an_attempt_that_another_came_after_has_crashed():
    assert end_of_lost(1, status_after(CLAIMED).model_copy(update={"attempt": 2})).type == StateType.CRASHED


def test_cancelling_the_run_of_a_job_cancels_the_job(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH, "b": CLAIMED})
    at_work = []

    def act(parent):
        at_work.append(run_of(watch.layout, "b", parent=parent, state=Running()))
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(instrument.flow_run_id(), Cancelling(), force=True)
        follow_until(watch, lambda: states_of(bucket, watch.layout)["a"] == "failed")

    in_job_run(act)

    assert states_of(bucket, watch.layout) == {"a": "failed", "b": "in_progress"}
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(at_work[0].id).state.type == StateType.CANCELLING  # its worker sees it and ends it
    assert watch.layout.cancel in bucket_names(bucket)


def bucket_names(bucket):
    return {info.name for info in bucket.list("")}


@pytest.mark.parametrize("named_by", ["parameter", "tag"])
def test_a_run_that_prefect_itself_ended_cancels_its_job_and_the_runs_of_its_tasks(place, prefect, named_by):
    job = make_job(place.bucket, {"a": FRESH, "b": SUCCEEDED})
    given = {"parameter": {"job_id": job.job_id}, "tag": {"job_id": ""}}[named_by]
    with get_client(sync_client=True) as client:
        parameters = {**given, "bucket": place.bucket.url}
        run = client.create_flow_run(thor_job, parameters=parameters, tags=[f"job:{job.job_id}"], state=Running())
        parent = runs.make_parent(client, run.id, name="tasks")
    for task_id in ("a", "b"):
        run_of(job, task_id, parent=parent, state=Pending())

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


def test_nothing_is_linked_when_nothing_is_to_be_shown(prefect):
    parents = []

    in_job_run(parents.append, level="off")

    assert parents == [None]


def test_without_prefect_a_job_is_followed_all_the_same(bucket):
    watch = watch_of(bucket, {"a": FRESH})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert job_show.make_parent("stages") is None
        show = JobShow(watch)
        show.look()
        assert end_runs(watch, None) == []

    assert not show.has_cancelled


def test_a_server_that_is_gone_meanwhile_neither_fails_nor_holds_up_the_job(bucket, prefect):
    watch = watch_of(bucket, {"a": FRESH})

    def act(parent):
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
            JobShow(watch).look()
            end_runs(watch, parent)

    in_job_run(act)
