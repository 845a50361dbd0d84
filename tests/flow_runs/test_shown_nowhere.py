"""Outside a Prefect run nothing is shown, and nothing comes of it."""

import io
import logging

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from tasks.errors import BrokerUnavailableError
from tasks.prefect_api import instrument


def test_outside_a_run_whatever_is_to_be_shown_does_nothing():
    instrument.show_table("thor-job-survey-07-tasks", [{"task": "a"}], "Tasks")
    instrument.show_text("thor-job-survey-07-runs", "Text", "Runs")
    instrument.show_pictures("thor-job-survey-07-results", "Orbits", [("a", b"png")])
    instrument.tell_event("thor.task.succeeded", subject="thor.job.survey-07.task.a")

    assert not instrument.is_in_run()


@pytest.fixture
def console():
    """What Prefect's console shows of a flow run."""
    stream = io.StringIO()
    handler = PrefectConsoleHandler(stream=stream)
    logging.getLogger("prefect.runs_of_a_test").addHandler(handler)
    yield stream
    logging.getLogger("prefect.runs_of_a_test").removeHandler(handler)


@pytest.mark.parametrize(("error", "is_shown"), [(BrokerUnavailableError("no queue"), False), (KeyError("a"), True)])
def test_a_quiet_console_shows_the_tracebacks_of_errors_that_are_not_ours(console, error, is_shown):
    with instrument.quiet_console():
        logging.getLogger("prefect.runs_of_a_test").error("Encountered exception during execution", exc_info=error)
        logging.getLogger("prefect.runs_of_a_test").error("Finished in state Failed(...)")

    assert ("Encountered exception" in console.getvalue()) == is_shown
    assert "Finished in state" not in console.getvalue()
