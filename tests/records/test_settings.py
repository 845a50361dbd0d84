"""Which queue goes with which bucket when nobody names one, and the times that a lease keeps."""

import pytest

from tasks.bootstrap import open_consumer_from_settings
from tasks.errors import BadInputError
from tasks.settings import Settings, settings_from_environment


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """Settings of a machine on which no variable is set."""
    for name in ("THOR_BUCKET", "THOR_QUEUE", "THOR_QUEUE_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Settings(home=tmp_path)


def test_every_bucket_has_an_embedded_queue_of_its_own(unset, tmp_path):
    urls = ["file:///data/x", "file:///data/y", "gs://survey"]

    queues = {url: unset.with_bucket(url).queue_url for url in urls}

    assert len({unset.queue_url, *queues.values()}) == 4
    assert all(queue.startswith(f"sqlite:///{tmp_path}/queues/") for queue in queues.values())


@pytest.mark.parametrize(
    ("first", "second"),
    [("file:///data/x", "file:///data/y/../x/"), ("file:///a%20b", "file:///a b"), ("gs://survey", "gs://survey/")],
)
def test_however_a_bucket_is_spelt_its_queue_is_the_same(unset, first, second):
    assert unset.with_bucket(first).queue_url == unset.with_bucket(second).queue_url


def test_a_queue_that_somebody_named_serves_whatever_bucket(unset, tmp_path):
    (tmp_path / "queue_url").write_text("amqp://user:password@broker/\n")
    named = unset.model_copy(update={"queue": "sqlite:////q"}).with_bucket("file:///data/x")
    from_file = unset.model_copy(update={"queue_file": tmp_path / "queue_url"}).with_bucket("file:///data/x")

    assert named.queue_url == "sqlite:////q"
    assert from_file.queue_url == "amqp://user:password@broker/"


AMQP, SQLITE = "amqp://broker", "sqlite:////q"


@pytest.mark.parametrize(
    ("changes", "queue", "renew", "delay"),
    [
        ({}, AMQP, 60.0, 300.0),
        ({}, SQLITE, 4.0, 20.0),
        ({"takeover_delay_seconds": 30.0}, AMQP, 6.0, 30.0),
        ({"takeover_delay_seconds": 3600.0}, AMQP, 60.0, 3600.0),
        ({"lease_renew_seconds": 5.0}, SQLITE, 5.0, 20.0),
    ],
)
def test_a_lease_is_renewed_several_times_in_a_takeover_delay(unset, changes, queue, renew, delay):
    settings = unset.model_copy(update=changes)

    assert (settings.renew_seconds(queue), settings.delay_seconds(queue)) == (renew, delay)
    assert settings.keeps_leases(queue)


@pytest.mark.parametrize(
    ("changes", "queue"),
    [
        ({"lease_renew_seconds": 30.0}, SQLITE),
        ({"lease_renew_seconds": 60.0, "takeover_delay_seconds": 179.0}, AMQP),
    ],
)
def test_a_takeover_delay_in_which_owners_that_live_look_dead_is_refused(unset, changes, queue):
    with pytest.raises(BadInputError, match="THOR_LEASE_RENEW_SECONDS"):
        open_consumer_from_settings(unset.model_copy(update=changes), queue)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff\xfe", "not text")]
)
def test_a_queue_file_that_names_no_queue_is_a_persons_mistake(unset, tmp_path, content, words):
    path = tmp_path / "queue_url"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(BadInputError, match=f"{path}.*{words}"):
        _ = unset.model_copy(update={"queue_file": path}).queue_url


def test_a_variable_with_an_impossible_value_is_named_and_its_value_not_repeated(monkeypatch):
    monkeypatch.setenv("THOR_DRAIN_SECONDS", "secret")
    settings_from_environment.cache_clear()
    try:
        with pytest.raises(BadInputError, match="THOR_DRAIN_SECONDS") as caught:
            settings_from_environment()
    finally:
        settings_from_environment.cache_clear()

    assert "secret" not in str(caught.value)
