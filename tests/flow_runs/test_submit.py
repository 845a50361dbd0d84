"""`python -m flows.submit`: what a person is told, and with which exit code."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.csv as pc
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from pydantic import SecretStr

from flows import submit
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.manifest_file import read_manifest
from tasks.operations.find_jobs import find_jobs
from tasks.records.ids import JobId
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey
from tests.flow_runs.places import Place
from tests.support.job_inputs import observations_of, orbits_of
from tests.support.jobs import enqueued_for, states_of


@pytest.fixture
def files(tmp_path):
    """Options that name good inputs: three test orbits."""
    objects = ("Hebe", "Eros", "Edlu")
    (tmp_path / "observations.csv").write_bytes(csv_from_table(observations_of(objects)))
    (tmp_path / "orbits.csv").write_bytes(csv_from_table(orbits_of(objects)))
    return ("--observations", str(tmp_path / "observations.csv"), "--orbits", str(tmp_path / "orbits.csv"))


def run(*arguments):
    return submit.command_line.exit_code_of(lambda: submit.main(arguments))


@pytest.fixture
def unseen():
    """Prefect is configured, and is not there: the job runs unseen and no server is started."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield


def test_a_job_that_is_not_waited_for_is_on_the_queue(place: Place, files, unseen, capsys):
    code = run(*files, *place.options, "--job-id", "J1", "--no-wait")

    assert code == 0
    assert "python -m flows.collect J1" in capsys.readouterr().out
    assert states_of(place.bucket, JobLayout(JobId("J1"))) == dict.fromkeys(("Edlu", "Eros", "Hebe"), "requested")
    assert sorted(enqueued_for(place.queue)) == ["Edlu", "Eros", "Hebe"]


def test_a_form_that_leaves_the_job_id_empty_gets_a_new_one_everywhere(place: Place, files, caplog):
    caplog.set_level("INFO")
    _, observations, _, orbits = files

    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        submit.thor_job.fn(
            "",
            observations=Path(observations),
            orbits=Path(orbits),
            bucket=place.bucket.url,
            queue=SecretStr(f"sqlite:///{place.queue}"),
            wait=False,
        )

    (job,) = find_jobs(place.bucket)
    assert f"Job {job.job_id}: 3 tasks on the queue" in caplog.text


def test_bad_input_ends_with_2_and_leaves_nothing_anywhere(place: Place, files, unseen, capsys, tmp_path):
    orbits = tmp_path / "orbits.csv"
    orbits.write_text(orbits.read_text().replace("Eros", "Hebe"))

    code = run(*files, *place.options)

    assert code == 2
    assert "column 'orbit_id', row" in capsys.readouterr().err
    assert not (place.path / "bucket").exists()
    assert not place.queue.exists()


def test_an_output_that_cannot_be_written_to_is_refused_before_the_job_is_computed(place: Place, files, unseen, capsys):
    in_the_way = place.path / "found"
    in_the_way.write_bytes(b"a file")

    code = run(*files, *place.options, "--output", str(in_the_way))

    assert code == 2
    assert f"Cannot write results to {in_the_way}: File exists. Choose another --output." in capsys.readouterr().err
    assert not (place.path / "bucket").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--observations", "a.csv"), "belong together"),
        (("--orbits", "a.csv"), "belong together"),
        (("--workers", "-1"), "expected 0 or more"),
        (("--no-wait", "--workers", "2"), "python -m workers"),
        (("--no-wait", "--output", "found"), "python -m flows.collect"),
        (("--no-wait", "--catalogue", "known.csv"), "python -m flows.collect"),
        (("--job-id", "../x", "--no-wait"), "Choose another id"),
        (("--job-id", "", "--no-wait"), "--job-id is empty"),
        (("--bucket", "s3://x", "--no-wait"), "gs://NAME"),
        (("--queue", "redis://u:secret@h", "--no-wait"), "amqp://"),
    ],
)
def test_wrong_options_end_with_2_and_say_what_is_right(place: Place, unseen, capsys, arguments, words):
    defaults = [] if "--bucket" in arguments else [*place.bucket_option]
    try:
        code = run(*defaults, *arguments)
    except SystemExit as end:
        code = end.code

    told = capsys.readouterr().err
    assert code == 2
    assert words in told
    assert "secret" not in told


@pytest.mark.parametrize("queue", ["http://x", "amqp://u:secret@h:port", "sqlite://host/x"])
def test_a_wrong_queue_is_refused_before_prefect_is_started_and_anything_uploaded(
    place: Place, capsys, queue, monkeypatch
):
    monkeypatch.setattr(submit, "prefect_server", lambda *_, **__: pytest.fail("a Prefect server was started"))

    code = run(*place.bucket_option, "--queue", queue)

    told = capsys.readouterr().err
    assert (code, "Cannot use queue URL" in told, "secret" in told) == (2, True, False)
    assert not (place.path / "bucket").exists()


def test_a_flow_run_with_a_wrong_queue_uploads_nothing(place: Place):
    with pytest.raises(BadInputError, match="Cannot use queue URL"):
        submit.thor_job.fn("J1", bucket=place.bucket.url, queue=SecretStr("http://x"), wait=False)

    assert not (place.path / "bucket").exists()


def test_a_broker_out_of_reach_is_told_with_how_to_go_on(place: Place, files, unseen, capsys):
    options = (*files, *place.bucket_option, "--job-id", "J1", "--no-wait")

    code = run(*options, "--queue", "amqp://guest:guest@127.0.0.1:1")

    told = capsys.readouterr().err
    assert code == 1
    assert told.index("The job goes on with the same command and --job-id J1") < told.index("Cannot reach the queue")
    assert "Traceback" not in told
    assert run(*options, *place.options[2:]) == 0
    assert sorted(enqueued_for(place.queue)) == ["Edlu", "Eros", "Hebe"]


def test_the_same_job_id_with_other_inputs_ends_with_2(place: Place, files, unseen, capsys, tmp_path):
    run(*files, *place.options, "--job-id", "J1", "--no-wait")
    (tmp_path / "orbits.csv").write_bytes(csv_from_table(orbits_of(("Hebe",))))

    code = run(*files, *place.options, "--job-id", "J1", "--no-wait")

    assert code == 2
    assert "other inputs" in capsys.readouterr().err


def test_test_orbits_are_chosen_and_an_interrupted_job_gets_the_same_again(place: Place, unseen, capsys, tmp_path):
    survey = generate_survey(replace(CASES["20k"], name="small", orbits=60, detections=3000), seed=4)
    files = ("--observations", str(tmp_path / "observations.csv"), "--orbits", "auto", "--number", "2")
    (tmp_path / "observations.csv").write_bytes(csv_from_table(survey.observations))
    layout = JobLayout(JobId("J1"))

    code = run(*files, *place.options, "--job-id", "J1", "--no-wait")

    told = capsys.readouterr()
    assert code == 0
    assert "Chose test orbits (2); expected coverage" in told.out + told.err
    chosen = states_of(place.bucket, layout)
    assert [task_id[:5] for task_id in sorted(chosen)] == ["t001-", "t002-"]
    place.bucket.delete(layout.manifest)
    (tmp_path / "observations.csv").touch()  # so that it is read, and chosen for, anew
    assert run(*files, *place.options, "--job-id", "J1", "--no-wait") == 0
    assert states_of(place.bucket, layout) == chosen
    expected = {group.group: group for group in read_manifest(place.bucket, layout).expected}
    assert expected["main_belt"].objects > 10 * expected["neo"].objects
    assert 0.5 < expected["main_belt"].coverage <= 1.0


@pytest.mark.parametrize(
    ("number", "words"), [("0", "--number is 0: expected 1 or more"), ("2", "with orbits 'auto' only")]
)
def test_a_number_belongs_to_orbits_that_are_chosen(place: Place, files, unseen, capsys, number, words):
    orbits = ("--orbits", "auto") if number == "0" else ()

    assert run(*files, *orbits, "--number", number, *place.options) == 2
    assert words in capsys.readouterr().err


def test_claiming_observations_is_a_setting_of_the_job(place: Place, files, unseen):
    assert run(*files, *place.options, "--job-id", "J1", "--no-wait", "--claim-observations") == 0
    assert run(*files, *place.options, "--job-id", "J2", "--no-wait") == 0

    asked, not_asked = (place.bucket.read(JobLayout(JobId(job)).config).body.decode() for job in ("J1", "J2"))
    assert "claims.observations,True\n" in asked
    assert "claims.observations,False\n" in not_asked


def test_the_demo_claims_nothing(place: Place, unseen, capsys):
    assert run("--claim-observations", *place.options) == 2
    assert "Cannot claim observations of the demo" in capsys.readouterr().err


def test_workers_of_this_machine_are_not_started_for_an_engine_that_it_lacks(place: Place, files, unseen, capsys):
    config = place.path / "thor.csv"
    config.write_text("key,value\nengine,thor\n")

    code = run(*files, "--config", str(config), *place.options, "--workers", "1")

    assert code == 2
    assert "THOR_PYTHON is not set" in capsys.readouterr().err
    assert list(place.bucket.list("")) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_with_a_task_that_fails_ends_with_1_and_brings_the_rest_home(
    place: Place, files, unseen, capsys, tmp_path
):
    run(*files, *place.options, "--job-id", "J1", "--no-wait")
    capsys.readouterr()
    place.bucket.write(JobLayout(JobId("J1")).task("Eros").orbits, b"orbit_id\nEros\n")

    code = run(*files, *place.options, "--job-id", "J1", "--workers", "1", "--json", "--output", str(tmp_path / "out"))

    report = json.loads(capsys.readouterr().out)
    assert code == 1
    assert {task["task_id"]: task["state"] for task in report["tasks"]} == {
        "Hebe": "succeeded",
        "Eros": "failed",
        "Edlu": "succeeded",
    }
    assert "'epoch' is missing" in (tmp_path / "out/tasks/Eros/outputs/error_message.txt").read_text()
    assert report["totals"]["recovered_orbits"] == 2


def test_known_objects_are_left_out_and_only_the_rest_is_linked(place: Place, files, unseen, capsys, tmp_path):
    catalogue = tmp_path / "known.csv"
    catalogue.write_bytes(csv_from_table(orbits_of(("Hebe", "Eros"))))
    known = ("--catalogue", str(catalogue), "--leave-out-known")
    output = tmp_path / "found"

    code = run(*files, *place.options, *known, "--job-id", "J1", "--workers", "1", "--output", str(output))

    assert code == 0
    told = capsys.readouterr()
    assert "Left out 43 of 128 observations: of 2 known objects; the catalogue has 2 orbits." in told.err
    left = pc.read_csv(output / "known_observations.csv")
    assert set(left["known_object"].to_pylist()) == {"Hebe", "Eros"}
    assert set(left["left_out"].to_pylist()) == {True}
    assert pc.read_csv(output / "recovered_orbits.csv")["found_by"].to_pylist() == ["Edlu"]


def test_leaving_known_objects_out_needs_a_catalogue(place: Place, files, unseen, capsys):
    assert run(*files, *place.options, "--leave-out-known") == 2
    assert "give the catalogue that knows them (--catalogue FILE)" in capsys.readouterr().err
    assert not (place.path / "bucket").exists()
