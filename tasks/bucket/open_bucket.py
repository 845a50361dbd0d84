"""Which bucket a URL means: `gs://NAME` or `file:///PATH`. Google's libraries are loaded for the former only."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.retry import RetryPolicy
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Client


def open_bucket(
    url: str,
    *,
    deadline_seconds: float,
    emulator_host: str | None = None,
    credentials: "Credentials | None" = None,
) -> Bucket:
    """Return the bucket of this URL. Nothing is read or written yet.

    Parameters
    ----------
    url
        `gs://NAME` or `file:///PATH` (an absolute path, percent-encoded where need be).
    deadline_seconds
        How long an operation is tried before it raises `BucketUnavailableError`.
    emulator_host
        URL of a Google Cloud Storage emulator; None for the real one. Of no effect on a directory.
    credentials
        Google credentials; None for the machine's own. Of no effect on a directory.

    Raises
    ------
    BadInputError
        If the URL is neither, or the machine has no Google credentials.
    """
    parts = urlsplit(url)
    if parts.scheme == "gs" and parts.netloc and parts.path in {"", "/"} and not (parts.query or parts.fragment):
        from tasks.bucket.gcs import client_from_settings  # noqa: PLC0415 - 1 s that a local directory need not pay

        client = client_from_settings(emulator_host=emulator_host, credentials=credentials)
        return gcs_bucket_from_client(client, parts.netloc, deadline_seconds=deadline_seconds)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return DirectoryBucket(Path(unquote(parts.path)), deadline_seconds=deadline_seconds)
    raise BadInputError(f"Cannot open the bucket {url!r}: expected gs://NAME or file:///ABSOLUTE/PATH.")


def gcs_bucket_from_client(client: "Client", name: str, *, deadline_seconds: float) -> Bucket:
    """Return the Google Cloud Storage bucket `name` behind a client that a prefect-gcp block, or anybody, has made.

    The client belongs to the bucket from then on: its connections are set up for our use.
    """
    from tasks.bucket import gcs  # noqa: PLC0415 - as above

    return gcs.bucket_from_client(client, name, retry=RetryPolicy(deadline_seconds=deadline_seconds))
