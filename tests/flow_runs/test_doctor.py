import pytest

from flows import doctor
from flows.doctor import look_at_prefect, main
from tasks.bucket.directory import DirectoryBucket
from tasks.settings import Settings
from tests.services.processes import free_port
from tests.support.commands import run_command


def test_an_embedded_place_is_fine(place):
    ended = run_command(main, *place.options)

    assert ended.code == 0, ended.out
    assert f"ok       bucket: {place.bucket.url} answers, and can be written" in ended.out.splitlines()
    assert "problem" not in ended.out


def test_programs_get_one_json_document(place):
    findings = run_command(main, "--json", *place.options).json

    about = [finding["about"] for finding in findings]
    wanted = {"bucket", "conditional writes", "bucket listing", "dead queue", "Prefect API", "engine", "kernel cache"}
    assert wanted | {"disk space", "clock"} <= set(about)
    assert all(finding["advice"] for finding in findings if finding["verdict"] != "ok")


def test_what_is_wrong_in_one_place_holds_up_no_other_look(place):
    (place.path / "bucket").write_text("a file is no directory")

    ended = run_command(main, *place.bucket_option, "--queue", f"amqp://thor:secret@127.0.0.1:{free_port()}/")

    assert ended.code == 1
    assert [line.split(":")[0].split(maxsplit=1) for line in ended.out.splitlines() if line.startswith("problem")] == [
        ["problem", "bucket"],
        ["problem", "broker"],
    ]
    assert ended.out.count("What to do:") >= 2
    assert "secret" not in ended.out + ended.err
    assert "ok       clock" in ended.out


@pytest.mark.parametrize("options", [("--bucket", "s3://x"), ("--queue", "kafka://x")])
def test_a_url_that_means_nothing_is_a_finding(place, options):
    ended = run_command(main, *place.options, *options)

    assert ended.code == 1
    assert "expected" in ended.out


def test_an_unexpected_argument_ends_with_2():
    assert run_command(main, "survey-07").code == 2


def test_without_a_prefect_api_nothing_is_wrong():
    assert look_at_prefect().verdict == "ok"


def test_the_embedded_queue_that_is_looked_at_is_the_one_of_the_bucket_that_a_block_names(monkeypatch, tmp_path):
    named = DirectoryBucket(tmp_path / "named-by-a-block")
    monkeypatch.setattr(doctor, "open_bucket_from_settings", lambda settings, url: named)
    settings = Settings(home=tmp_path / "home", gcs_bucket_block="survey", queue=None, queue_file=None, bucket=None)

    _, settings = doctor.look_at_bucket(settings)
    findings = doctor.look_at_queue(settings)

    queue = Settings(home=tmp_path / "home").with_bucket(named.url).queue_url
    assert findings[0].about == f"queue file {queue.removeprefix('sqlite:///')}"
