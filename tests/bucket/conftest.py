"""One fixture: `kind`, every kind of bucket in turn, empty."""

import pytest

from tests.bucket.kinds import Kind, directory_kind, gcs_kind
from tests.support.buckets import FakeBucket

GCS_KIND = pytest.param("gcs", marks=pytest.mark.gcs)
SHARED_KINDS = ["directory", GCS_KIND]
"""Kinds that several processes can use; the fake lives in one."""


@pytest.fixture(params=[*SHARED_KINDS, "fake"])
def kind(request, tmp_path):
    if request.param == "directory":
        yield directory_kind(tmp_path / "bucket")
    elif request.param == "fake":
        yield Kind("fake", FakeBucket(), None)
    else:
        server = request.getfixturevalue("fake_gcs")
        made = gcs_kind(server.url, server.make_bucket())
        yield made
        made.bucket.close()


@pytest.fixture
def bucket(kind):
    return kind.bucket
