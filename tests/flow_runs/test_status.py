import pytest

from flows.status import main
from tasks.operations.task_report import report_job
from tasks.records.status import LeftToOthers
from tasks.settings import Settings
from tests.support.commands import run_command
from tests.support.jobs import CANCELLED, CLAIMED, FRESH, SUCCEEDED, failed, make_job


def test_the_table_has_one_line_for_each_task_and_the_counts_below(place):
    make_job(place.bucket, {"a": FRESH, "b": CLAIMED, "c": failed("lost", "The worker vanished.\nTwice.")})

    ended = run_command(main, "survey-07", *place.bucket_option)

    assert [line.split(maxsplit=6) for line in ended.out.splitlines()[:-1]] == [
        ["task", "state", "stage", "attempt", "worker", "unmoved", "why"],
        ["a", "requested", "-", "0", "-", "-"],
        ["b", "in_progress", "-", "1", "host:1", "-"],
        ["c", "failed", "-", "1", "host:1", "-", "lost: The worker vanished."],
    ]
    assert ended.out.splitlines()[-1] == ("Job survey-07: 3 tasks; 1 requested, 1 in progress, 0 succeeded, 1 failed.")


@pytest.mark.parametrize(
    ("events", "code"), [(FRESH, 0), (CLAIMED, 0), (SUCCEEDED, 0), (failed("lost"), 1), (CANCELLED, 1)]
)
def test_the_exit_code_says_whether_somebody_should_look(place, events, code):
    make_job(place.bucket, {"a": events})

    assert run_command(main, "survey-07", *place.bucket_option).code == code


def test_a_task_that_waits_for_an_engine_says_so(place):
    make_job(place.bucket, {"a": (LeftToOthers(engine="thor"),), "b": FRESH}, engine="thor")

    ended = run_command(main, "survey-07", *place.bucket_option)

    assert ended.code == 0
    assert ended.out.splitlines()[1].endswith("waits for a worker with engine thor")
    assert "Waiting for a worker with engine thor: 1 task." in ended.out


def test_a_watch_names_the_tasks_that_stall(place, monkeypatch):
    make_job(place.bucket, {"a": CLAIMED, "b": SUCCEEDED})
    monkeypatch.setattr("flows.terminal.places.settings_from_environment", lambda: Settings(lease_renew_seconds=0.1))

    ended = run_command(main, "survey-07", "--watch", *place.bucket_option)

    assert ended.code == 1
    assert "No worker seems to work on: a." in ended.out
    assert "`python -m flows.repair survey-07`" in ended.out
    assert "Watches the tasks in progress for up to 0.25 s." in ended.err


def test_the_queue_tells_the_rhythm_where_a_status_does_not(place, monkeypatch):
    make_job(place.bucket, {"a": CLAIMED})
    seen = []
    monkeypatch.setattr("flows.status.report_job", lambda *given: seen.append(given[-1]) or report_job(*given))
    for queue in ("amqps://u:p@broker/", "sqlite:///queue"):
        assert run_command(main, "survey-07", "--queue", queue, *place.bucket_option).code == 0

    assert [observer.renew_seconds for observer in seen] == [60.0, 4.0]
    assert run_command(main, "survey-07", "--queue", "http://x", *place.bucket_option).code == 2


def test_programs_get_one_json_document(place):
    make_job(place.bucket, {"a": CLAIMED})

    report = run_command(main, "survey-07", "--json", *place.bucket_option).json

    assert (report["job_id"], report["is_cancelled"], report["progress"]["in_progress"]) == ("survey-07", False, 1)
    assert (report["tasks"][0]["worker"], report["tasks"][0]["is_stalled"]) == ("host:1", False)


def test_only_the_states_asked_for_are_listed_and_all_are_counted(place):
    make_job(place.bucket, {"a": FRESH, "b": CLAIMED, "c": SUCCEEDED})

    lines = run_command(
        main, "survey-07", "--state", "requested", "--state", "succeeded", *place.bucket_option
    ).out.splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == ["a", "c"]
    assert lines[-1].startswith("Job survey-07: 3 tasks;")


@pytest.mark.parametrize(
    "arguments", [["nobody"], [], ["survey-07", "--watch-seconds", "0"], ["survey-07", "--state", "x"]]
)
def test_wrong_input_ends_with_2(place, arguments):
    make_job(place.bucket, {"a": FRESH})

    ended = run_command(main, *arguments, *place.bucket_option)

    assert (ended.code, ended.out) == (2, "")
