"""Which bucket a URL means."""

import pytest
from google.auth.credentials import AnonymousCredentials

from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.open_bucket import gcs_bucket_from_client, open_bucket
from tasks.errors import BadInputError
from tests.bucket.kinds import DEADLINE_SECONDS


def test_a_file_url_is_a_directory(tmp_path):
    path = tmp_path / "with space & #1"

    bucket = open_bucket(path.as_uri(), deadline_seconds=DEADLINE_SECONDS)
    bucket.write("a", b"1")

    assert (path / "a").read_bytes() == b"1"
    assert bucket.url == path.as_uri()
    assert DirectoryBucket(path).read("a").body == b"1"


@pytest.mark.parametrize("url", ["gs://survey-bucket", "gs://survey-bucket/", "gs://survey.example_1"])
def test_a_gs_url_is_a_google_cloud_storage_bucket(url):
    bucket = open_bucket(url, deadline_seconds=DEADLINE_SECONDS, credentials=AnonymousCredentials())

    assert bucket.url == url.rstrip("/")
    bucket.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "/a/path",
        "s3://bucket",
        "gs://",
        "gs://bucket/prefix",
        "gs://bucket?x=1",
        "file://host/path",
        "file:",
    ],
)
def test_any_other_url_is_refused(url):
    with pytest.raises(BadInputError, match=r"expected gs://NAME or file:///"):
        open_bucket(url, deadline_seconds=DEADLINE_SECONDS)


def test_a_machine_without_google_credentials_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)

    with pytest.raises(BadInputError, match="no Google credentials"):
        open_bucket("gs://survey-bucket", deadline_seconds=DEADLINE_SECONDS)


@pytest.mark.gcs
def test_an_emulator_may_be_named_without_a_scheme(fake_gcs):
    name = fake_gcs.make_bucket()
    emulator_host = fake_gcs.url.removeprefix("http://")

    bucket = open_bucket(f"gs://{name}", deadline_seconds=DEADLINE_SECONDS, emulator_host=emulator_host)

    assert bucket.write("a", b"1") == bucket.read("a").generation
    bucket.close()


@pytest.mark.gcs
def test_a_client_that_somebody_else_made_is_used_as_it_is(fake_gcs, monkeypatch):
    from google.cloud import storage  # noqa: PLC0415 - as in the product, only where it is needed

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    client = storage.Client(project="any", credentials=AnonymousCredentials())

    bucket = gcs_bucket_from_client(client, fake_gcs.make_bucket(), deadline_seconds=DEADLINE_SECONDS)

    assert bucket.write("a", b"1", if_generation=0) == bucket.read("a").generation
    client.close()
