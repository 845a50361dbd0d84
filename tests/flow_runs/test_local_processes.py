"""Processes that a command starts for one job: how they are stopped, and that a job needs no Prefect server."""

import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.terminal import local_processes
from flows.terminal.local_processes import LocalWorkers, prefect_server
from tasks.settings import Settings, environment_with
from tests.services.processes import wait_until
from workers.__main__ import COMMAND_LINE

PROJECT = Path(__file__).parents[2]
WORKER = """
import os, signal, time
signals = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: signals.append(1))
os.write(1, b"at work")
while len(signals) < 2:
    time.sleep(0.01)
os.write(1, b", gave its task back")
"""


@pytest.fixture
def worker_at_work(tmp_path, monkeypatch):
    """A worker that needs long for the task of another job, and gives it back at the second signal."""
    monkeypatch.setattr(local_processes, "STOP_SECONDS", 5.0)
    command = [sys.executable, "-c", WORKER]
    workers = LocalWorkers(1, command=command, environment=environment_with(), logs=tmp_path)
    log = tmp_path / "worker-1.log"
    wait_until(lambda: log.read_text() == "at work", seconds=60.0, what="the worker is at work")
    yield workers
    workers.stop()


def test_a_worker_at_the_task_of_another_job_gives_it_back_and_is_not_killed(worker_at_work, tmp_path):
    worker_at_work.stop()

    assert (tmp_path / "worker-1.log").read_text() == "at work, gave its task back"


def test_workers_with_nothing_to_do_stay_as_long_as_the_job(tmp_path, monkeypatch):
    # One that left was replaced at once: beside a job's last tasks the idle ones did nothing but start anew.
    commands = []

    def recorded(count, *, command, **options):
        commands.append(command)
        return LocalWorkers(0, command=command, **options)

    monkeypatch.setattr(local_processes, "LocalWorkers", recorded)
    with local_processes.local_workers(2, Settings(home=tmp_path), "gs://bucket"):
        pass

    assert [COMMAND_LINE.parse(command[3:]).get("idle_timeout") for command in commands] == [None]


COMMAND = """
import sys, time
from pathlib import Path
from flows.terminal.command_line import sigterm_as_interrupt
from flows.terminal.local_processes import LocalWorkers
from tasks.settings import environment_with
with sigterm_as_interrupt():
    workers = LocalWorkers(
        1, command=[sys.executable, "-c", sys.argv[1]], environment=environment_with(), logs=Path(sys.argv[2])
    )
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        workers.stop()
"""


def test_a_command_that_is_asked_to_end_has_its_workers_give_their_tasks_back(tmp_path):
    command = subprocess.Popen([sys.executable, "-c", COMMAND, WORKER, str(tmp_path)], cwd=PROJECT)
    log = tmp_path / "worker-1.log"
    wait_until(lambda: log.exists() and log.read_text() == "at work", seconds=60.0, what="the worker is at work")

    command.terminate()

    assert command.wait(60) == 130
    assert log.read_text() == "at work, gave its task back"


def test_a_prefect_server_that_does_not_start_holds_no_job_up(tmp_path):
    home = tmp_path / "home"
    (home / "prefect").mkdir(parents=True)
    (home / "prefect" / "prefect.db").mkdir()  # a database that no server can open
    said, jobs = [], []

    with (
        temporary_settings(restore_defaults=[PREFECT_API_URL]),
        prefect_server(Settings(home=home), say=said.append) as server,
    ):
        jobs.append(server)

    assert jobs == [None]
    assert "Cannot start a local Prefect server" in said[0]
    assert said[0].endswith("The work goes on unseen.")


def test_an_error_of_the_job_is_not_taken_for_one_of_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(local_processes, "_await_server", lambda server, url: None)
    said = []

    with (
        pytest.raises(local_processes.LocalProcessError, match="worker 1"),
        temporary_settings(restore_defaults=[PREFECT_API_URL]),
        prefect_server(Settings(home=tmp_path), say=said.append),
    ):
        raise local_processes.LocalProcessError("Cannot keep worker 1.")

    assert said == []
