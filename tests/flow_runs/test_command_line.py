import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr
from rich.console import Console

from flows import repair
from flows.doctor import look_at_prefect
from flows.terminal import command_line
from tasks.errors import BadInputError, BucketUnavailableError, EngineUnavailableError
from tasks.prefect_api import instrument
from tests.services.processes import free_port
from tests.support.commands import run_command
from tests.support.jobs import FRESH, make_job


@flow(name="says-whether-it-is-shown")
def is_shown() -> bool:
    return instrument.is_in_run()


class HealthyOnly(BaseHTTPRequestHandler):
    """A Prefect API that says it is well, and fails at everything else."""

    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 500)
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def failing_prefect_api():
    with ThreadingHTTPServer(("127.0.0.1", 0), HealthyOnly) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            yield
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prefect_api(tmp_path_factory):
    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings({PREFECT_API_URL: PREFECT_API_URL.value()}),
    ):
        yield PREFECT_API_URL.value()


def test_without_a_prefect_api_the_plain_function_is_called_and_no_server_started():
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert not command_line.show_run(is_shown)


def test_a_prefect_api_that_is_gone_is_no_hindrance():
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert not command_line.show_run(is_shown)
        assert look_at_prefect().verdict == "warning"


def test_a_prefect_api_that_fails_half_way_is_done_without(failing_prefect_api, caplog):
    assert instrument.prefect_answers()

    assert not command_line.show_run(is_shown)
    assert "Prefect does not show this run, the work goes on" in caplog.text


@pytest.mark.slow
def test_with_a_prefect_api_the_run_is_shown(prefect_api):
    assert command_line.show_run(is_shown)
    assert look_at_prefect().found == f"{prefect_api} answers"


@pytest.mark.slow
def test_an_error_of_our_own_in_a_shown_run_comes_out_as_it_is(prefect_api):
    @flow(name="refuses")
    def refuses() -> None:
        raise BadInputError("There is no such job.")

    with pytest.raises(BadInputError, match="There is no such job"):
        command_line.show_run(refuses)


@pytest.mark.slow
def test_a_secret_does_not_come_to_prefect(prefect_api):
    seen = []

    @flow(name="has-a-secret")
    def has_a_secret(queue: SecretStr) -> str:
        from prefect.context import FlowRunContext  # noqa: PLC0415

        seen.append(json.dumps(FlowRunContext.get().flow_run.parameters, default=str))
        return queue.get_secret_value()

    assert command_line.show_run(has_a_secret, SecretStr("amqp://u:hidden@h/")) == "amqp://u:hidden@h/"
    assert len(seen) == 1
    assert "hidden" not in seen[0]


@pytest.mark.slow
def test_a_password_comes_to_no_run_no_log_and_no_artifact_of_prefect(prefect_api, place):
    make_job(place.bucket, {"a": FRESH})
    queue = f"amqp://survey:hidden-one@127.0.0.1:{free_port()}/"

    ended = run_command(repair.main, "survey-07", *place.bucket_option, "--queue", queue)

    instrument.flush()
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters.get("job_id") == "survey-07"]
        shown = [each.model_dump_json() for each in (*runs, *client.read_logs(), *client.read_artifacts())]
    assert (ended.code, len(runs)) == (1, 1)
    assert "Cannot reach the queue amqp://survey:***@" in runs[0].state.message
    assert [text for text in (*shown, ended.out, ended.err) if "hidden-one" in text] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("No such job."), 2),
        (EngineUnavailableError("Install it."), 2),
        (BucketUnavailableError("It is away."), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_a_sentence_and_an_exit_code(capsys, error, code):
    def fail():
        raise error

    assert command_line.exit_code_of(fail) == code
    told = capsys.readouterr()
    assert (told.out, "Traceback" in told.err) == ("", False)
    assert str(error) in told.err
    assert told.err


def test_an_error_nobody_expected_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        command_line.exit_code_of(lambda: 1 // 0)


def test_a_table_that_is_not_on_a_terminal_is_plain_lines_with_aligned_columns(capsys):
    command_line.print_table(("task", "state"), [("a-long-name", "failed"), ("b", None)])

    assert capsys.readouterr().out.splitlines() == ["task         state", "a-long-name  failed", "b            -"]


def test_a_table_on_a_terminal_shows_brackets_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(command_line, "Console", lambda: Console(file=sys.stdout, force_terminal=True, width=60))

    command_line.print_table(("task", "why"), [("[red]a[/red]", "list index [0] out of range")])

    shown = capsys.readouterr().out
    assert "[red]a[/red]" in shown
    assert "[0]" in shown
