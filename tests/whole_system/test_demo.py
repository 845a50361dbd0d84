"""The demo job, from the command line to its table: embedded, and through RabbitMQ and Google Cloud Storage."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 840
"""Warm and alone on two cores the demo takes a minute; a machine of continuous integration is neither."""

OUTPUTS = {"clusterandlink.csv", "clusters.csv", "projected_observations.csv", "recovered_orbits.csv", "thor.log"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def submit(*arguments, home, **environment):
    """Run the command; return its exit code, the report and what it told meanwhile."""
    outcome = subprocess.run(
        [sys.executable, "-m", "flows.submit", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "THOR_HOME": str(home), "DO_NOT_TRACK": "1", **environment},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    assert outcome.stdout.startswith("{"), outcome.stderr
    return outcome.returncode, json.loads(outcome.stdout), outcome.stderr


def processes_of(home):
    """Processes that were started with this home in their environment and are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("THOR_HOME") == str(home) and process.pid != os.getpid():
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def assert_recovered(report, output):
    totals = report["totals"]
    assert (totals["tasks"], totals["succeeded"]) == (28, 28)
    assert totals["recovered_objects"] >= 26
    assert totals["purity"] == 1.0
    assert totals["observation_completeness"] > 0.92
    assert len((output / "recovered_orbits.csv").read_text().splitlines()) == totals["recovered_orbits"] + 1
    for task in report["tasks"]:
        names = {path.name for path in (output / "tasks" / task["task_id"] / "outputs").iterdir()}
        assert names >= OUTPUTS


def test_the_demo_runs_on_this_machine_alone_and_leaves_nothing_running(tmp_path):
    home, output = tmp_path / "home", tmp_path / "output"
    environment = {"PREFECT_HOME": str(tmp_path / "prefect-of-the-user")}

    code, report, told = submit("--output", str(output), home=home, **environment)

    assert code == 0, told
    assert_recovered(report, output)
    assert "28 of 28 tasks done" in told
    until = time.monotonic() + 20
    while processes_of(home) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_of(home) == []
    assert not (tmp_path / "prefect-of-the-user" / "prefect.db").exists()


@pytest.mark.rabbitmq
@pytest.mark.gcs
def test_the_demo_runs_through_rabbitmq_and_google_cloud_storage(tmp_path, rabbitmq_url, fake_gcs, prefect_process):
    output, bucket = tmp_path / "output", f"gs://{fake_gcs.make_bucket()}"

    code, report, told = submit(
        "--bucket",
        bucket,
        "--workers",
        "2",
        "--output",
        str(output),
        home=tmp_path / "home",
        THOR_QUEUE=rabbitmq_url,
        STORAGE_EMULATOR_HOST=fake_gcs.url,
        PREFECT_API_URL=prefect_process.url,
        THOR_INSTRUMENTATION="task",  # runs of stages cost their time, and the other test has them
    )

    assert code == 0, told
    assert report["bucket"] == bucket
    assert_recovered(report, output)
