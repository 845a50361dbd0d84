import gc
import warnings
from functools import partial

import pytest

from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.urls import redacted_url, scheme_of, sqlite_path
from tasks.errors import BadInputError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:secret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("amqps://user:s%40cret@host/%2F", "amqps://user:***@host/%2F"),
        ("amqp://user:sec@ret@host/", "amqp://user:***@host/"),
        ("amqp://user@host/", "amqp://user@host/"),
        ("amqp://host/", "amqp://host/"),
        ("amqp://u:secret@host/v?password=secret", "amqp://u:***@host/v"),
        ("amqp://user:se/c?ret@host/", "amqp://user:***@host/"),
        ("amqp://host/v?password=secret@x", "amqp://host/v@x"),
        ("user:secret@host", "***"),
        ("sqlite:////var/queue.sqlite3", "sqlite:////var/queue.sqlite3"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert redacted_url(url) == shown


def test_three_and_four_slashes_name_the_same_file():
    assert sqlite_path("sqlite:///a/b.sqlite3") == sqlite_path("sqlite:////a/b.sqlite3")
    assert str(sqlite_path("sqlite:///a/b%20c.sqlite3")) == "/a/b c.sqlite3"


@pytest.mark.parametrize("url", ["sqlite://host/path", "sqlite:path", "sqlite://", "sqlite:///"])
def test_a_sqlite_url_without_a_path_is_refused(url):
    with pytest.raises(BadInputError, match="queue URL"):
        open_publisher(url)


@pytest.mark.parametrize("url", ["redis://host/", "queue", "", "amqp:host", "http://u:secret@host/"])
def test_a_url_of_no_queue_is_refused_without_telling_its_password(url):
    with pytest.raises(BadInputError, match="Cannot use queue URL") as caught:
        open_consumer(url, delay_seconds=1)

    assert "secret" not in str(caught.value)


def test_a_url_that_pika_does_not_understand_is_refused_without_telling_its_password():
    with pytest.raises(BadInputError, match="Cannot use queue URL") as caught:
        open_publisher("amqp://user:secret@host:port/")

    assert "secret" not in str(caught.value)


def test_a_missing_ca_file_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"nowhere\.pem"):
        open_publisher("amqps://user:secret@host/", ca_file=tmp_path / "nowhere.pem")


def test_schemes_are_told_apart():
    assert [scheme_of(url) for url in ("AMQP://h/", "amqps://h/", "sqlite:///q")] == ["amqp", "amqps", "sqlite"]


def test_a_url_that_is_refused_leaves_no_socket_open():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for open_client in (open_publisher, partial(open_consumer, delay_seconds=1)):
            with pytest.raises(BadInputError):
                open_client("amqp://user:secret@host:port/")
        gc.collect()

    assert [str(each.message) for each in warned if each.category is ResourceWarning] == []
