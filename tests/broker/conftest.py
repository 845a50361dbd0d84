"""One fixture: `queue`, every kind of queue in turn, empty and of its own."""

import pytest

from tests.support.queues import queue_under_test


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/queue.sqlite3"


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def queue(request):
    with queue_under_test(request.getfixturevalue(f"{request.param}_url")) as opened:
        yield opened


@pytest.fixture
def sqlite_queue(sqlite_url):
    with queue_under_test(sqlite_url) as opened:
        yield opened


@pytest.fixture
def rabbitmq_queue(rabbitmq_url):
    with queue_under_test(rabbitmq_url) as opened:
        yield opened
