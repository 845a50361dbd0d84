"""`python -m flows.night`: a survey's nights by real workers, and what a person is told."""

import json
import time

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import night
from flows.terminal import command_line
from tasks.records.survey import NightRecord
from tests.flow_runs.places import Place
from tests.support.night_survey import LAYOUT, put_night, put_settings, tables_by_night


@pytest.fixture
def unseen():
    """Prefect is configured, and is not there."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield


def run(*arguments):
    return command_line.exit_code_of(lambda: night.main(arguments))


def records_of(bucket):
    names = [info.name for info in bucket.list(f"{LAYOUT.prefix}nights/", ending="/night.json")]
    return [NightRecord.from_bytes(bucket.read(name).body) for name in names]


def put_nights(bucket, count):
    """Put the first nights of the survey where tables come in, with its settings; return their numbers."""
    put_settings(bucket)
    nights = list(tables_by_night())[:count]
    for each in nights:
        put_night(bucket, each)
    return nights


def test_nights_are_linked_by_workers_and_what_is_new_is_told(place: Place, unseen, capsys):
    nights = put_nights(place.bucket, 4)

    assert run("S1", *place.options, "--workers", "1") == 0

    told = capsys.readouterr().out
    assert "4 nights computed by this run." in told
    assert "Report 1: " in told
    assert [record.night for record in records_of(place.bucket)] == nights
    assert run("S1", *place.options, "--workers", "1") == 0
    assert "0 nights computed by this run." in capsys.readouterr().out


def test_a_job_that_nobody_waits_for_is_left_to_the_next_run(place: Place, unseen, capsys):
    put_nights(place.bucket, 3)

    assert run("S1", *place.options, "--no-wait") == 0

    assert "The next night's job is not complete: run this again." in capsys.readouterr().out
    assert len(records_of(place.bucket)) == 2


def test_a_table_that_is_refused_makes_the_exit_code_1(place: Place, unseen, capsys):
    put_settings(place.bucket)
    place.bucket.write(f"{LAYOUT.incoming}bad.csv", b"obs_id,mjd_utc\na,1\n")

    assert run("S1", *place.options, "--no-wait") == 1

    assert f"Refused {LAYOUT.incoming}bad.csv: " in capsys.readouterr().out


def test_a_name_that_is_none_is_refused_before_anything_is_done(place: Place, unseen, capsys):
    assert run("../S1", *place.options) == 2
    assert "job id '../S1'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_has_the_table_of_nights_and_an_event_for_each(place: Place, prefect, capsys):
    nights = put_nights(place.bucket, 4)

    assert run("S1", *place.options, "--workers", "1") == 0

    capsys.readouterr()
    with get_client(sync_client=True) as client:
        (table,) = [each for each in client.read_artifacts() if each.key == "thor-survey-s1"]
    dates = ["2020-12-19", "2020-12-20", "2020-12-21", "2020-12-22"]
    assert [row["night"] for row in json.loads(table.data)] == dates
    events = events_of(prefect.url, "thor.survey.", at_least=len(nights) + 1)
    assert {each["resource"]["prefect.resource.id"] for each in events} == {"thor.survey.S1"}
    told = [each["payload"]["night"] for each in events if each["event"] == "thor.survey.night"]
    assert sorted(told) == sorted(nights)
    assert "thor.survey.reported" in {each["event"] for each in events}


def events_of(url, prefix, *, at_least, patience_seconds=30.0):
    """Return the events whose names begin so, when the server has written as many: it does so a moment later."""
    until = time.monotonic() + patience_seconds
    while True:
        asked = httpx.post(f"{url}/events/filter", json={"filter": {"event": {"prefix": [prefix]}}}, timeout=30)
        events = asked.raise_for_status().json()["events"]
        if len(events) >= at_least or time.monotonic() > until:
            return events
        time.sleep(0.2)
