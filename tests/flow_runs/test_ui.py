"""The pages of Prefect's UI, as a browser shows them: runs that are linked, and pictures."""

import re

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.states import Running

from flows.run_task import run_assignment
from flows.shown import task_page
from flows.submit import thor_job
from tasks.bucket.directory import DirectoryBucket
from tasks.engines.interface import STAGES
from tasks.jobs.submit import Submission, new_job_id
from tasks.prefect_api import runs
from tasks.records.assignment import Assignment
from tests.support.job_inputs import small_inputs

pytestmark = pytest.mark.slow


@pytest.fixture
def shown(tmp_path, prefect, monkeypatch):
    """The run of a job, and that of a task below it which a worker has done."""
    monkeypatch.setattr(task_page, "PICTURE_AFTER_SECONDS", 0.0)
    bucket = DirectoryBucket(tmp_path / "bucket")
    submission = Submission(bucket=bucket, job_id=new_job_id(None), inputs=small_inputs("Hebe"))
    submission.upload_job_files()
    submission.upload_tasks(0, 1)
    with get_client(sync_client=True) as client:
        job_run = client.create_flow_run(thor_job, parameters={"job_id": "J"}, state=Running(), name="survey-07")
        parent = runs.make_parent(client, job_run.id, name="tasks")
    assignment = Assignment(
        job_id=submission.job_id,
        task_id="Hebe",
        bucket_url=bucket.url,
        attempt=1,
        worker="host:1",
        parent_run_id=str(parent),
        instrumentation="stages",
    )
    run_assignment(assignment, tell=lambda record: None, await_lease=lambda: None)
    with get_client(sync_client=True) as client:
        (task_run,) = runs.subflow_runs(client, job_run.id, list(StateType))
    return job_run, task_run


def artifacts_of(flow_run):
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        return {each.key: each for each in client.read_artifacts(artifact_filter=of_run)}


def test_a_browser_finds_the_job_of_a_task_its_stages_and_its_picture(shown, prefect, chromium, tmp_path):
    job_run, task_run = shown
    ui = prefect.url.removesuffix("/api")
    found = artifacts_of(task_run)

    page = chromium.text_of(f"{ui}/runs/flow-run/{task_run.id}")
    table = chromium.text_of(f"{ui}/artifacts/artifact/{found['thor-task-stages'].id}")
    picture = chromium.text_of(f"{ui}/artifacts/artifact/{found['thor-task-pictures'].id}")
    chromium.screenshot(f"{ui}/runs/flow-run/{job_run.id}", tmp_path / "job.png")

    assert f"/runs/flow-run/{job_run.id}" in page
    assert "survey-07" in page
    assert "Hebe attempt 1" in page
    assert [stage for stage in STAGES if stage not in table] == []
    assert re.search(r'<img[^>]*src="data:image/png;base64,iVBOR', picture)
    assert (tmp_path / "job.png").stat().st_size > 20_000
