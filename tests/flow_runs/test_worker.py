"""A worker as a flow run: signals reach it, and the flow run ends after it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.worker import WorkerFailedError, outlive, run_worker
from tasks.settings import settings_from_environment
from tests.services.processes import wait_until

ROOT = Path(__file__).parents[2]

FLOW_RUN = """
import signal, subprocess, sys
from flows.worker import outlive
class Asked(BaseException): pass
def ask(*_): raise Asked
signal.signal(signal.SIGTERM, ask)
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], start_new_session=True)
try:
    outlive(worker)
except Asked:
    sys.exit(0 if worker.poll() == 7 else 3)
"""
"""Stands for Prefect's process of a flow run, which raises on SIGTERM."""

WORKER = """
import pathlib, signal, sys, time
log, asked = pathlib.Path(sys.argv[1]), []
def note(*_): asked.append(1); log.write_text("asked " * len(asked))
signal.signal(signal.SIGTERM, note)
log.write_text("ready")
while len(asked) < 2: time.sleep(0.01)
sys.exit(7)
"""


def test_every_signal_to_the_flow_run_reaches_the_worker_and_the_flow_run_ends_last(tmp_path):
    log = tmp_path / "log"
    flow_run = subprocess.Popen([sys.executable, "-c", FLOW_RUN, WORKER, str(log)], cwd=ROOT)
    wait_until(lambda: log.exists() and log.read_text() == "ready", seconds=60, what="the worker is ready")

    flow_run.send_signal(signal.SIGTERM)
    wait_until(lambda: log.read_text() == "asked ", seconds=60, what="the worker hears of it")
    assert flow_run.poll() is None
    flow_run.send_signal(signal.SIGTERM)

    assert flow_run.wait(60) == 0
    assert log.read_text() == "asked asked "


@pytest.mark.parametrize("code", [0, 5])
def test_the_exit_code_is_the_workers(code):
    assert outlive(subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])) == code


@pytest.fixture
def embedded(place, monkeypatch):
    """The environment of a process that names the place."""
    changes = {"THOR_BUCKET": place.bucket.url, "THOR_QUEUE": f"sqlite:///{place.queue}", "THOR_HOME": str(place.path)}
    for name, value in changes.items():
        monkeypatch.setitem(os.environ, name, value)
    settings_from_environment.cache_clear()
    yield place
    settings_from_environment.cache_clear()


def test_a_worker_that_cannot_work_fails_its_flow_run(embedded, monkeypatch):
    monkeypatch.setitem(os.environ, "THOR_QUEUE", "kafka://x")

    with pytest.raises(WorkerFailedError, match="exit code 2, expected 0"):
        run_worker(idle_seconds=0.0, drain_seconds=1.0)
