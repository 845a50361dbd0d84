"""`python -m workers`: options, a fleet of processes, log lines without passwords."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tasks.settings import Settings
from tests.services.processes import wait_until
from workers.__main__ import CHILD_COMMAND, habits_from_settings, main, parse_arguments
from workers.logs import about, log_to_stderr, redacted
from workers.shutdown import Shutdown

PROJECT = Path(__file__).parents[2]
MEMBER = r"""
import os, signal, sys, time
from workers.mortality import die_with
die_with(int(sys.argv[-1].partition("=")[2]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
os.write(1, b"serving\n")
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("arguments", [["--processes", "0"], ["--idle-timeout", "-1"], ["--nonsense"]])
def test_wrong_options_end_with_exit_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as ending:
        parse_arguments(arguments)

    assert ending.value.code == 2
    assert "usage: python -m workers" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--queue", "ftp://nowhere"], ["--bucket", "ftp://nowhere"]])
def test_a_queue_or_bucket_that_is_none_ends_with_exit_code_two(arguments, capsys, restored_logging):
    assert main(arguments) == 2
    assert "ftp://nowhere" in capsys.readouterr().err


def test_a_password_with_an_unescaped_slash_is_not_logged_before_the_url_is_refused(tmp_path):
    bucket = (tmp_path / "bucket").as_uri()
    command = [sys.executable, "-m", "workers", "--queue", "amqp://guest:pa/ss@host/", "--bucket", bucket]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=120)

    assert ended.returncode == 2
    assert "Serving queue amqp://guest:***@host/" in ended.stderr
    assert "pa/ss" not in ended.stderr


def test_habits_come_from_the_settings():
    settings = Settings(lease_renew_seconds=7.0, task_time_limit_seconds=60.0, tasks_per_child=9)

    habits = habits_from_settings(settings, "amqp://broker", worker="here:1", idle_timeout_seconds=5.0)

    assert (habits.rhythm.renew_seconds, habits.rhythm.time_limit_seconds) == (7.0, 60.0)
    assert (habits.tasks_per_child, habits.idle_timeout_seconds, habits.worker) == (9, 5.0, "here:1")
    assert habits.child_command == CHILD_COMMAND


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://guest:secret@host:5672/%2F", "amqp://guest:***@host:5672/%2F"),
        ("two: amqps://a:p1@x and amqp://b:p2@y/", "two: amqps://a:***@x and amqp://b:***@y/"),
        ("amqp://guest:pa/ss@host/v", "amqp://guest:***@host/v"),
        ("amqp://guest:p@ss@host", "amqp://guest:***@host"),
        ("amqp://host:5672/", "amqp://host:5672/"),
        ("sqlite:////tmp/queue.sqlite3", "sqlite:////tmp/queue.sqlite3"),
        ("http://h:80/a", "http://h:80/a"),
    ],
)
def test_passwords_of_urls_are_hidden(text, shown):
    assert redacted(text) == shown


@pytest.fixture
def restored_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_log_line_names_worker_job_task_and_attempt_and_hides_passwords(capsys, restored_logging):
    log_to_stderr("here:1")

    with about(job_id="job", task_id="orbit"), about(job_id="job", task_id="orbit", attempt=2):
        logging.getLogger("workers").info("Lost %s.", "amqp://guest:secret@host/")
    logging.getLogger("workers").info("Idle.")

    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO worker=here:1 job=job task=orbit attempt=2 Lost amqp://guest:***@host/.")
    assert second.endswith("INFO worker=here:1 Idle.")


def test_leaving_becomes_urgent_with_the_second_request_or_after_the_drain_limit():
    patient, limited = Shutdown(drain_seconds=None), Shutdown(drain_seconds=1e-9)
    assert (patient.is_requested, patient.is_urgent, limited.is_urgent) == (False, False, False)

    patient.request()
    limited.request()
    assert (patient.is_requested, patient.is_urgent, limited.is_urgent) == (True, False, True)

    patient.request()
    assert patient.is_urgent


@pytest.fixture
def fleet():
    fleets = []

    def fleet(code=0, size=2):
        member = [sys.executable, "-c", MEMBER.format(code=code)]
        script = f"import sys; from workers.fleet import Fleet; sys.exit(Fleet(command={member!r}, size={size}).run())"
        fleets.append(
            subprocess.Popen(
                [sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True
            )
        )
        for _ in range(size):
            assert fleets[-1].stdout.readline() == b"serving\n"
        return fleets[-1]

    yield fleet
    for process in fleets:
        process.kill()
        process.wait()
        process.stdout.close()


def members(fleet):
    return psutil.Process(fleet.pid).children()


def test_a_fleet_passes_sigterm_on_and_leaves_with_its_members(fleet):
    process = fleet()
    workers = members(process)

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    assert [worker for worker in workers if worker.is_running()] == []


def test_a_fleet_tells_when_a_member_could_not_work(fleet):
    process = fleet(code=1)

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 1


def test_a_member_that_was_killed_is_replaced(fleet):
    process = fleet()
    first, second = members(process)

    first.kill()

    assert process.stdout.readline() == b"serving\n"
    assert {worker.pid for worker in members(process)} > {second.pid}


def test_the_members_die_with_a_fleet_that_is_killed(fleet):
    process = fleet()
    workers = members(process)

    os.kill(process.pid, signal.SIGKILL)

    wait_until(lambda: not any(map(psutil.Process.is_running, workers)), seconds=10, what="the members are gone")
