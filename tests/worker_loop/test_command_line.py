"""`python -m workers`: options, a fleet of processes, log lines without passwords."""

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tasks.broker.urls import redacted
from tasks.settings import Settings, settings_from_environment
from tests.services.processes import wait_until
from workers.__main__ import CHILD_COMMAND, habits_from_settings, main, warn_of_short_patience
from workers.logs import ChildLines, about, at_stage, log_to_stderr
from workers.shutdown import Shutdown

PROJECT = Path(__file__).parents[2]
COUNTING_MEMBER = r"""
import os, signal, sys, time
from workers.mortality import die_with
both = {{signal.SIGTERM, signal.SIGINT}}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
die_with(int(sys.argv[-1].partition("=")[2]))
os.write(1, b"serving\n")
while signal.sigpending() != both:
    time.sleep(0.01)
sys.exit({code})
"""
DEAF_MEMBER = r"""
import os, sys, time
from workers.mortality import die_with
die_with(int(sys.argv[-1].partition("=")[2]))
os.write(1, b"serving\n")
time.sleep(60)
sys.exit({code})
"""
"""Has not taken over its signals yet."""
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
    assert main(arguments) == 2
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


@pytest.fixture
def environment(monkeypatch, tmp_path, restored_logging):
    """The environment of a process that has not yet read it."""
    monkeypatch.setenv("THOR_BUCKET", (tmp_path / "bucket").as_uri())
    monkeypatch.delenv("THOR_QUEUE", raising=False)
    settings_from_environment.cache_clear()
    yield monkeypatch
    settings_from_environment.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value"), [("THOR_QUEUE_FILE", "/nowhere/queue-url"), ("THOR_TASKS_PER_CHILD", "many")]
)
def test_an_environment_that_cannot_be_used_is_named_and_ends_with_exit_code_two(variable, value, environment, capsys):
    environment.setenv(variable, value)

    assert main([]) == 2
    told = capsys.readouterr().err
    assert variable in told
    assert "Traceback" not in told


@pytest.mark.parametrize(("idle_timeout_seconds", "n_warnings"), [(None, 0), (19.9, 1), (20.0, 0)])
def test_who_leaves_before_a_lost_task_can_come_back_is_warned(idle_timeout_seconds, n_warnings, caplog):
    warn_of_short_patience(idle_timeout_seconds, delay_seconds=20.0)

    assert len(caplog.records) == n_warnings
    assert all("THOR_TAKEOVER_DELAY_SECONDS" in record.getMessage() for record in caplog.records)


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


def test_a_log_line_names_worker_job_task_and_attempt_and_hides_passwords(capsys, restored_logging):
    log_to_stderr("here:1")

    with about(job_id="job", task_id="orbit"), about(job_id="job", task_id="orbit", attempt=2):
        logging.getLogger("workers").info("Lost %s.", "amqp://guest:secret@host/")
    logging.getLogger("workers").info("Idle.")

    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO worker=here:1 job=job task=orbit attempt=2 Lost amqp://guest:***@host/.")
    assert second.endswith("INFO worker=here:1 Idle.")


def test_a_json_line_has_the_same_in_fields(capsys, restored_logging):
    log_to_stderr("here:1", as_json=True)

    with about(job_id="job", task_id="orbit", attempt=2):
        logging.getLogger("workers").warning("Lost %s.", "amqp://guest:secret@host/")
        at_stage("range_and_shift")
        logging.getLogger("workers").info("On it.")
    logging.getLogger("workers").info("Idle.")

    lost, on_it, idle = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    about_task = {"worker": "here:1", "job": "job", "task": "orbit", "attempt": 2}
    assert (lost["message"], lost["level"]) == ("Lost amqp://guest:***@host/.", "WARNING")
    assert about_task.items() <= lost.items()
    assert {**about_task, "stage": "range_and_shift"}.items() <= on_it.items()
    assert "stage" not in lost
    assert not {"job", "stage"} & set(idle)
    assert datetime.fromisoformat(lost["time"]).utcoffset() == timedelta(0)


def printed_by_child(code):
    """What a process prints that logs as a child does."""
    setup = "import logging, sys; from workers.logs import log_to_supervisor; log_to_supervisor()\n"
    return subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=True).stderr


def test_records_of_a_child_are_logged_with_their_level_logger_and_fields(capsys, restored_logging):
    fields = {"stage": "cluster_and_link", "seconds": 0.25, "counts": {"clusters": 3}}
    printed = printed_by_child(
        f"logging.getLogger('tasks.jobs').info('Computed %s.', 1, extra={{'fields': {fields!r}}})\n"
        "logging.getLogger('other').info('unheard')\n"
        "logging.getLogger('other').warning('amqp://guest:secret@host/')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('tasks').exception('It broke')\n"
    )
    log_to_stderr("here:1", as_json=True)

    with about(job_id="job", task_id="orbit"):
        ChildLines()(printed)

    computed, other, broke = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (computed["message"], computed["level"], computed["logger"]) == ("Computed 1.", "INFO", "tasks.jobs")
    assert fields.items() <= computed.items()
    assert (other["message"], other["level"]) == ("amqp://guest:***@host/", "WARNING")
    assert broke["message"].startswith("It broke\nTraceback")
    assert broke["message"].endswith("ZeroDivisionError: division by zero")
    assert all(line["job"] == "job" for line in (computed, other, broke))


def test_what_a_child_prints_and_is_no_record_is_one_record_a_piece(capsys, restored_logging):
    log_to_stderr("here:1", as_json=True)
    lines = ChildLines()

    lines("Fatal Python error: Segmentation fault\n  File 'a.py'\nto amqp://guest:secret@host/\n")
    lines("\n")

    (record,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert record["message"] == "Fatal Python error: Segmentation fault\n  File 'a.py'\nto amqp://guest:***@host/"
    assert (record["level"], record["logger"]) == ("INFO", "workers.child")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_record_that_comes_in_pieces_is_logged_once(size, capsys, restored_logging):
    printed = printed_by_child("logging.getLogger('tasks').warning('Whole.')") + "before\n"
    log_to_stderr("here:1")
    lines = ChildLines()

    for start in range(0, len(printed), size):
        lines(printed[start : start + size])

    told = capsys.readouterr().err
    assert told.count("WARNING worker=here:1 Whole.") == 1


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

    def fleet(code=0, size=2, script=MEMBER):
        member = [sys.executable, "-c", script.format(code=code)]
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


def test_a_second_request_reaches_members_that_have_not_yet_looked_at_the_first(fleet):
    process = fleet(script=COUNTING_MEMBER)

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 0


def test_members_that_are_asked_to_leave_before_they_listen_have_left_in_order(fleet):
    process = fleet(script=DEAF_MEMBER)

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0


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
