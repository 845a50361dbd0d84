"""What the computing process can't reach for a moment is no fault of its task."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.run_task import run_assignment
from tasks import settings as settings_module
from tasks.records.assignment import Assignment, AttemptReleased


@pytest.fixture
def prefect_block_out_of_reach(monkeypatch):
    monkeypatch.setenv("THOR_GCS_BUCKET_BLOCK", "survey")
    monkeypatch.setenv("THOR_INSTRUMENTATION", "off")
    settings_module.settings_from_environment.cache_clear()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield
    settings_module.settings_from_environment.cache_clear()


def test_a_bucket_block_that_cannot_be_loaded_gives_the_task_back(prefect_block_out_of_reach):
    told = []
    assignment = Assignment(job_id="survey-07", task_id="a", bucket_url="gs://block-bucket", attempt=1, worker="w:1")

    run_assignment(assignment, tell=told.append, await_lease=lambda: None)

    assert [type(record) for record in told] == [AttemptReleased]
    assert "'survey'" in told[0].error
