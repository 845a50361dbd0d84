"""prefect.yaml against a real server: every deployment is made, and names a flow that can be loaded."""

import importlib
import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.server.api import collections

from flows.retry import retry
from flows.setup import main as setup
from tasks.prefect_api.setup import POOLS
from tests.support.commands import run_command
from tests.support.deployed import deploy_all

ROOT = Path(__file__).parents[2]
CONFIGURATION = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = CONFIGURATION["deployments"]
PLACES = [each for each in CONFIGURATION["definitions"].values() if "work_pool" in each]


def worker_types():
    """What each type of work pool takes, as Prefect ships it."""
    shipped = Path(collections.__file__).parent / "collections_data" / "views" / "aggregate-worker-metadata.json"
    return {kind: about for group in json.loads(shipped.read_text()).values() for kind, about in group.items()}


def entrypoint_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_each_entrypoint_is_a_flow_with_a_description(deployment):
    flow = entrypoint_of(deployment)

    assert isinstance(flow, Flow)
    assert flow.description
    assert "description" not in deployment, "the flow says it"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_each_form_explains_every_field_and_hides_the_queue(deployment):
    form = entrypoint_of(deployment).parameters.properties

    assert [name for name, field in form.items() if not field.get("description")] == []
    assert "queue" not in form or form["queue"]["anyOf"][0]["format"] == "password"


def test_a_choice_is_a_list_to_choose_from():
    kind = retry.parameters.properties["kind"]

    assert "crashed" in kind["anyOf"][0]["enum"]


def test_no_schedule_runs_before_somebody_switches_it_on():
    schedules = [each for deployment in DEPLOYMENTS for each in deployment.get("schedules", ())]

    assert schedules
    assert [each["active"] for each in schedules] == [False] * len(schedules)


@pytest.mark.parametrize("where", PLACES, ids=lambda each: each["work_pool"]["name"])
def test_each_place_to_run_is_a_pool_of_the_set_up_and_sets_only_what_such_a_pool_has(where):
    pool = next(pool for pool in POOLS if pool.name == where["work_pool"]["name"])
    template = worker_types()[pool.kind]["default_base_job_configuration"]["variables"]
    variables = where["work_pool"].get("job_variables", {})

    assert set(variables) <= set(template["properties"])
    jsonschema.validate(variables, {**template, "required": []})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_is_deployed_without_a_question_once_the_server_is_set_up(prefect):
    assert run_command(setup, "--json").code == 0

    outcome = deploy_all(prefect)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    with get_client(sync_client=True) as client:
        found = {each.name: each for each in client.read_deployments()}
    assert {each["name"] for each in DEPLOYMENTS} <= set(found)
    assert found["submit"].entrypoint == "flows.submit.thor_job"
    assert found["submit"].description.startswith("Submit a linking job")
    schedules = {name: found[name].schedules[0].schedule for name in ("submit-incoming", "repair")}
    assert schedules["submit-incoming"].cron == "0 12 * * *"
    assert schedules["repair"].interval == timedelta(minutes=15)
    assert not any(schedule.active for each in DEPLOYMENTS for schedule in found[each["name"]].schedules)
    assert found["repair"].concurrency_options.collision_strategy == "CANCEL_NEW"
    assert {found[each["name"]].work_pool_name for each in DEPLOYMENTS} <= {pool.name for pool in POOLS}
    form = found["submit"].parameter_openapi_schema["properties"]
    assert [name for name, field in form.items() if not field.get("description")] == []
