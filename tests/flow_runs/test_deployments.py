"""prefect.yaml against a real server: every deployment is made, and names a flow that can be loaded."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def entrypoint_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_each_entrypoint_is_a_flow_with_a_description(deployment):
    flow = entrypoint_of(deployment)

    assert isinstance(flow, Flow)
    assert flow.description
    assert deployment["description"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_is_deployed_without_a_question(prefect):
    def run(*arguments):
        environment = {**os.environ, "PREFECT_API_URL": prefect.url, "PREFECT_HOME": str(prefect.home)}
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    run("work-pool", "create", "thor", "--type", "process")

    outcome = run("deploy", "--all")

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    with get_client(sync_client=True) as client:
        found = {each.name: each for each in client.read_deployments()}
    assert {each["name"] for each in DEPLOYMENTS} <= set(found)
    assert found["submit"].entrypoint == "flows.submit.thor_job"
    properties = found["submit"].parameter_openapi_schema["properties"]
    assert properties["queue"]["anyOf"][0]["format"] == "password"
    assert all(each.get("description") for each in properties.values())
