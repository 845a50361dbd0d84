"""Without a queue named, bucket and queue always belong together: what one command sends, the other's workers find."""

from contextlib import closing

import pytest

from flows import drain_dead, repair, retry
from flows.terminal import local_processes
from tasks import settings as settings_module
from tasks.bootstrap import open_consumer_from_settings
from tasks.settings import Settings
from tests.support.commands import run_command
from tests.support.jobs import FRESH, failed, make_job


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("THOR_BUCKET", "THOR_QUEUE", "THOR_QUEUE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THOR_HOME", str(tmp_path / "home"))
    settings_module.settings_from_environment.cache_clear()
    yield tmp_path / "home"
    settings_module.settings_from_environment.cache_clear()


def received_by_workers_of(bucket_url, home):
    settings = Settings(home=home).with_bucket(bucket_url)
    with closing(open_consumer_from_settings(settings)) as consumer:
        consumer.start()
        count = 0
        while (delivery := consumer.wait(0)) is not None:
            count += consumer.ack(delivery)
        return count


@pytest.mark.parametrize("verb", [repair, retry])
def test_messages_go_to_the_queue_of_the_bucket_that_was_named(place, home, verb):
    make_job(place.bucket, {"a": FRESH if verb is repair else failed("crashed")})

    assert run_command(verb.main, "survey-07", *place.bucket_option).code == 0

    assert received_by_workers_of("file:///another/bucket", home) == 0
    assert received_by_workers_of(place.bucket.url, home) == 1


def test_the_dead_queue_that_is_drained_is_the_buckets_own(place, home):
    make_job(place.bucket, {"a": FRESH})
    run_command(repair.main, "survey-07", *place.bucket_option)
    settings = Settings(home=home).with_bucket(place.bucket.url)
    with closing(open_consumer_from_settings(settings)) as consumer:
        consumer.start()
        consumer.dead_letter(consumer.wait(1.0), "tired of life")

    ended = run_command(drain_dead.main, *place.bucket_option)

    assert "tired of life" in ended.out


def test_local_workers_serve_the_queue_of_their_bucket(place, home, monkeypatch):
    seen = {}

    class Workers:
        def __init__(self, count, *, command, environment, logs):
            seen.update(environment)

        def stop(self):
            pass

    monkeypatch.setattr(local_processes, "LocalWorkers", Workers)
    settings = Settings(home=home)

    with local_processes.local_workers(1, settings, place.bucket.url):
        pass

    assert seen["THOR_QUEUE"] == settings.with_bucket(place.bucket.url).queue_url != settings.queue_url
