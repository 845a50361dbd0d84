"""`python -m flows.setup` against a real Prefect server, and what it decides without one."""

import json

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.setup import main
from tasks.prefect_api.setup import (
    BUCKET_BLOCK,
    POOLS,
    QUEUE_BLOCK,
    Wanted,
    environment_of_runs,
    template_with_environment,
    zombie_automation,
)
from tests.services.processes import free_port
from tests.support.commands import run_command

QUEUE = "amqp://thor:secret@broker/"
KEY = {"type": "service_account", "project_id": "survey", "client_email": "thor@survey", "private_key": "pem"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), {}),
        (Wanted(bucket_url="file:///data"), {"THOR_BUCKET": "file:///data", "THOR_GCS_BUCKET_BLOCK": None}),
        (Wanted(bucket_url="gs://b"), {"THOR_BUCKET": "gs://b"}),
        (Wanted(queue_url=QUEUE), {"THOR_QUEUE": "{{ prefect.blocks.secret.thor-queue }}"}),
        (
            Wanted(bucket_url="gs://b", service_account=KEY),
            {"THOR_BUCKET": "gs://b", "THOR_GCS_BUCKET_BLOCK": "thor-bucket"},
        ),
        (Wanted(most_workers=3), {}),
    ],
)
def test_runs_get_what_was_set_up_and_the_password_stays_in_its_block(wanted, expected):
    assert environment_of_runs(wanted) == expected


def test_a_pool_keeps_the_variables_that_people_gave_it():
    before = {"A": "1", "THOR_BUCKET": "x", "THOR_GCS_BUCKET_BLOCK": "thor-bucket"}
    template = {"variables": {"properties": {"env": {"default": before}}}}

    changed = template_with_environment(template, {"THOR_BUCKET": "y", "THOR_GCS_BUCKET_BLOCK": None})

    assert changed["variables"]["properties"]["env"]["default"] == {"A": "1", "THOR_BUCKET": "y"}
    assert before["THOR_BUCKET"] == "x"


def test_only_our_own_flow_runs_are_marked_as_crashed():
    trigger = zombie_automation().trigger

    assert trigger.match_related["prefect.resource.id"] == ["prefect.tag.thor"]
    assert "prefect.flow-run.Completed" in trigger.expect


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bucket", "s3://b"),
        ("--bucket", "gs://"),
        ("--queue", "kafka://b"),
        ("--most-workers", "0"),
        ("--bucket", "gs://b", "--service-account-file", "nowhere.json"),
        (),
    ],
)
def test_wrong_input_and_a_missing_server_end_with_2(arguments):
    ended = run_command(main, *arguments)

    assert ended.code == 2
    assert "xpected" in ended.err or "Start one (`prefect server start`)" in ended.err


def test_a_server_that_does_not_answer_ends_with_1():
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        ended = run_command(main)

    assert ended.code == 1
    assert "does not answer" in ended.err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_setting_up_twice_changes_nothing_and_other_wishes_change_only_what_differs(prefect, tmp_path):
    key = tmp_path / "key.json"
    key.write_text(json.dumps(KEY))
    wishes = ("--json", "--bucket", "gs://survey", "--queue", QUEUE, "--service-account-file", key)

    first = run_command(main, *wishes).json
    second = run_command(main, *wishes).json
    third = run_command(main, "--json", "--queue", "amqp://thor:other@broker/", "--most-workers", "3").json

    assert [step["name"] for step in first][-5:] == [*(pool.name for pool in POOLS), zombie_automation().name]
    assert {step["verdict"] for step in second} == {"as it was"}
    assert {step["name"]: step["verdict"] for step in third if step["verdict"] != "as it was"} == {
        QUEUE_BLOCK: "changed",
        **{pool.name: "changed" for pool in POOLS[1:]},
    }
    with get_client(sync_client=True) as client:
        queue = client.read_block_document_by_name(QUEUE_BLOCK, "secret", include_secrets=True)
        pools = {pool.name: pool for pool in client.read_work_pools()}
        bucket = client.read_block_document_by_name(BUCKET_BLOCK, "gcs-bucket", include_secrets=True)
        automations = client.read_automations_by_name(zombie_automation().name)
    assert [(pools[pool.name].type, pools[pool.name].concurrency_limit) for pool in POOLS] == [
        ("process", None),
        ("process", 3),
        ("kubernetes", 3),
        ("cloud-run-v2", 3),
    ]
    for pool in POOLS:
        variables = pools[pool.name].base_job_template["variables"]["properties"]
        assert variables["env"]["default"]["THOR_BUCKET"] == "gs://survey"
    assert queue.data["value"] == "amqp://thor:other@broker/"
    assert bucket.data["bucket"] == "survey"
    assert bucket.data["gcp_credentials"]["service_account_info"] == KEY
    assert len(automations) == 1
