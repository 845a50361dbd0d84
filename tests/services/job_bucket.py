"""Fixtures of the operator's verbs: `bucket` (a directory, and Google Cloud Storage), `queue`, a `publisher` on it."""

import pytest

from tests.bucket.kinds import directory_kind, gcs_kind
from tests.support.jobs import closing_publisher


@pytest.fixture(params=["directory", pytest.param("gcs", marks=pytest.mark.gcs)])
def bucket(request, tmp_path):
    if request.param == "directory":
        yield directory_kind(tmp_path / "bucket").bucket
    else:
        server = request.getfixturevalue("fake_gcs")
        kind = gcs_kind(server.url, server.make_bucket())
        yield kind.bucket
        kind.bucket.close()


@pytest.fixture
def queue(tmp_path):
    return tmp_path / "queue.sqlite3"


@pytest.fixture
def publisher(queue):
    with closing_publisher(queue) as opened:
        yield opened
