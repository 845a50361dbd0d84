"""The switch of a Prefect server, as a table: what happened, and whether it is asked afterwards."""

import logging

import pytest

from tasks.prefect_api.switch import REST_SECONDS, Switch

SOON, LATER = REST_SECONDS / 2, REST_SECONDS + 1.0


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.mark.parametrize(
    ("events", "may_ask"),
    [
        ([], True),
        (["answered"], True),
        (["failed"], False),
        (["answered", "failed"], False),
        (["failed", SOON], False),
        (["failed", LATER], True),
        (["failed", LATER, "failed"], False),
        (["failed", LATER, "failed", SOON], False),
        (["failed", LATER, "answered"], True),
        (["failed", LATER, "answered", "failed"], False),
        (["failed", "answered"], True),  # by a request that was on its way
    ],
)
def test_a_server_that_failed_is_asked_nothing_for_a_minute(events, may_ask):
    clock = Clock()
    switch = Switch("here", clock=clock)

    for event in events:
        match event:
            case "answered":
                switch.answered()
            case "failed":
                switch.failed("503 Service Unavailable")
            case seconds:
                clock.seconds += seconds

    assert switch.may_ask() == may_ask


def test_a_failure_is_told_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    switch = Switch("http://here/api")

    for _ in range(3):
        switch.failed("ReadTimeout")
    for _ in range(3):
        switch.answered()

    failure, recovery = (record.getMessage() for record in caplog.records)
    assert failure.startswith("Prefect at http://here/api fails (ReadTimeout): the work goes on")
    assert recovery == "Prefect at http://here/api answers again: what is done from now on is shown."
