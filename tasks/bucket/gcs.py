"""A bucket of Google Cloud Storage. This module is the only one that talks to it and translates its errors.

Every write carries its condition (`ifGenerationMatch`) with it on every try; the library's own retries are switched
off. Bodies of up to 8 MiB go as one multipart request, longer ones as a resumable upload (`gcs_upload`), whose
condition Google Cloud Storage checks when it ends (fake-gcs-server checks multipart requests only).
"""

import io
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.adapters import HTTPAdapter

from tasks.bucket.content import Body, Content, ScratchFile, bytes_of, content_of
from tasks.bucket.gcs_upload import ResumableUpload
from tasks.bucket.names import checked_object_name, checked_prefix, is_object_name
from tasks.bucket.retry import RetryPolicy, call_with_retries
from tasks.bucket.store import MUST_NOT_EXIST, ObjectInfo, StoredObject
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError

MINIMUM_BYTES_PER_SECOND = 100_000
"""A download that is still slower than this at the deadline counts as stuck; a faster one may take its time."""
LARGEST_MULTIPART_BYTES = 8 << 20
WRITE_PAUSE_SECONDS = 1.0
"""The limit that Google documents: one write a second to the same object name."""
_LISTED_FIELDS = "items(name,generation,size,crc32c,metadata),nextPageToken"
_SUMMARY = "thor-summary"
"""Key of the summary in an object's own metadata."""
_OBJECTS_PER_PAGE = 1000
_CONNECTIONS = 64
_TRANSIENT_CODES = frozenset({408, 429, 500, 502, 503, 504})
_CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "log": "text/plain; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}

Result = TypeVar("Result")


class TransferStuckError(Exception):
    """A download has gone on past the deadline, slower than `MINIMUM_BYTES_PER_SECOND`."""


class GcsBucket:
    """The bucket `name`, by a client that holds the credentials. Safe to use from several threads."""

    def __init__(self, client: storage.Client, name: str, *, retry: RetryPolicy) -> None:
        self._client = client
        self._name = name
        self._bucket = client.bucket(name)
        self._retry = retry

    @property
    def url(self) -> str:
        """`gs://name`."""
        return f"gs://{self._name}"

    @property
    def write_pause_seconds(self) -> float:
        """Google Cloud Storage answers 429 to an object that is written more than once a second."""
        return WRITE_PAUSE_SECONDS

    def read(self, name: str) -> StoredObject:
        """Return the whole object, its CRC-32C checked. Raises `ObjectNotFoundError`."""
        checked_object_name(name)
        until = time.monotonic() + self._retry.deadline_seconds

        def attempt(timeout_seconds: float) -> StoredObject:
            received = io.BytesIO()
            generation = self._receive(name, _Download(received, until), timeout_seconds)
            return StoredObject(received.getvalue(), generation)

        return self._called_to_read(name, attempt)

    def download(self, name: str, into: ScratchFile) -> int:
        """Fill the file with the whole object, its CRC-32C checked. Raises `ObjectNotFoundError`."""
        checked_object_name(name)
        until = time.monotonic() + self._retry.deadline_seconds

        def attempt(timeout_seconds: float) -> int:
            into.empty()
            return self._receive(name, _Download(into, until), timeout_seconds)

        return self._called_to_read(name, attempt)

    def write(self, name: str, body: Body, *, if_generation: int | None = None, summary: str | None = None) -> int:
        """Write the whole object and return its new generation.

        Raises `GenerationMismatchError` when `if_generation` is not the present one. **It may be this very call that
        changed it**: the first try's answer was lost, and the next one met what the first had written. Who must know
        reads the object again and compares its nonce.
        """
        checked_object_name(name)
        if content_of(body).size > LARGEST_MULTIPART_BYTES:
            return self._conditional(name, if_generation, lambda: self._upload(name, content_of(body), if_generation))

        def attempt(timeout_seconds: float) -> int:
            blob = self._bucket.blob(name)
            if summary is not None:
                blob.metadata = {_SUMMARY: summary}
            blob.upload_from_string(
                bytes_of(body),
                content_type=_content_type(name),
                if_generation_match=if_generation,
                checksum="crc32c",
                timeout=timeout_seconds,
                retry=None,
            )
            return int(blob.generation)

        return self._conditional(name, if_generation, lambda: self._call("write", name, attempt))

    def generation(self, name: str) -> int:
        """Return the object's present generation, or `MUST_NOT_EXIST`."""
        checked_object_name(name)
        blob = self._call("look up", name, lambda seconds: self._bucket.get_blob(name, timeout=seconds, retry=None))
        return MUST_NOT_EXIST if blob is None else int(blob.generation)

    def list(self, prefix: str, *, ending: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name begins with `prefix` and ends with `ending`, sorted by name."""
        checked_prefix(prefix)
        page_token: str | None = None
        while True:
            page, page_token = self._page(prefix, ending, page_token)
            for info in page:
                # The server has matched already, but not every emulator does.
                if info.name.endswith(ending) and is_object_name(info.name):
                    yield info
            if not page_token:
                return

    def require_there(self) -> None:
        """Raise `BucketUnavailableError` when there is no such bucket; a read can't tell it from an absent object."""
        self._page(".", "", None)  # below which no object lies

    def delete(self, name: str) -> None:
        """Delete the object; nothing happens when it is not there."""
        checked_object_name(name)
        try:
            self._call("delete", name, lambda seconds: self._bucket.delete_blob(name, timeout=seconds, retry=None))
        except google_errors.NotFound:
            return

    def close(self) -> None:
        """Close the connections; the bucket can't be used any more."""
        self._client.close()

    def _receive(self, name: str, download: "_Download", timeout_seconds: float) -> int:
        # A new blob each time: a used one would insist on the generation that an earlier try began to read.
        blob = self._bucket.blob(name)
        blob.download_to_file(download, checksum="crc32c", timeout=timeout_seconds, retry=None)
        return int(blob.generation)

    def _called_to_read(self, name: str, attempt: Callable[[float], Result]) -> Result:
        try:
            return self._call("read", name, attempt)
        except google_errors.NotFound as error:
            raise ObjectNotFoundError(f"Cannot read object {name!r}: it is not in the bucket {self.url}.") from error

    def _conditional(self, name: str, if_generation: int | None, write: Callable[[], int]) -> int:
        try:
            return write()
        except google_errors.PreconditionFailed as error:
            raise GenerationMismatchError(
                f"Cannot write object {name!r} of {self.url}: its generation is not {if_generation}, as expected. "
                "Another process wrote it first, or an earlier try of this call did; read it again."
            ) from error

    def _upload(self, name: str, content: Content, if_generation: int | None) -> int:
        """Write a large object, chunk by chunk; the deadline begins anew with each chunk that has arrived."""
        upload = ResumableUpload(self._bucket, name, content, content_type=_content_type(name), condition=if_generation)
        while (generation := self._call("write", name, upload.step)) is None:
            pass
        return generation

    def _page(self, prefix: str, ending: str, page_token: str | None) -> tuple[tuple[ObjectInfo, ...], str | None]:
        def attempt(timeout_seconds: float) -> tuple[tuple[ObjectInfo, ...], str | None]:
            pages = self._client.list_blobs(
                self._bucket,
                prefix=prefix,
                match_glob=_glob(ending),
                fields=_LISTED_FIELDS,
                page_size=_OBJECTS_PER_PAGE,
                page_token=page_token,
                timeout=timeout_seconds,
                retry=None,
            )
            page = tuple(
                ObjectInfo(
                    name=blob.name,
                    generation=int(blob.generation),
                    size=int(blob.size),
                    crc32c=blob.crc32c,
                    summary=(blob.metadata or {}).get(_SUMMARY),
                )
                for blob in next(pages.pages, ())
            )
            return page, pages.next_page_token

        return self._call("list objects below", prefix, attempt)

    def _call(self, verb: str, name: str, attempt: Callable[[float], Result]) -> Result:
        """Act with retries; leave the two errors that are answers (404, 412) to the caller, translate all others."""
        try:
            return call_with_retries(attempt, self._retry, is_transient=_is_transient)
        except google_errors.PreconditionFailed:
            raise
        except google_errors.NotFound as error:
            if verb in {"read", "delete"}:
                raise
            raise BucketUnavailableError(
                f"Cannot {verb} {name!r}: there is no bucket {self.url}. Create it, or name another one."
            ) from error
        except Exception as error:
            if not _is_of_google(error):
                raise
            raise BucketUnavailableError(
                f"Cannot {verb} {name!r} of {self.url} within {self._retry.deadline_seconds:g} s: "
                f"{type(error).__name__}: {str(error)[:300]}. {_advice(error)}"
            ) from error


class _Download:
    """Takes what arrives, and gives up past the deadline on what arrives too slowly."""

    def __init__(self, received: io.BytesIO | ScratchFile, until: float) -> None:
        self._until = until
        self._received = received
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if time.monotonic() > self._until + self._size / MINIMUM_BYTES_PER_SECOND:
            raise TransferStuckError(f"only {self._size} bytes had arrived at the deadline")
        self._size += self._received.write(chunk)

    def seek(self, position: int) -> None:  # noqa: ARG002 (it is the beginning)
        """Begin again: the library does so for objects that are stored compressed."""
        self._size = 0
        if isinstance(self._received, ScratchFile):
            self._received.empty()
        else:
            self._received.seek(0)
            self._received.truncate()


def client_from_settings(
    *, emulator_host: str | None = None, credentials: Credentials | None = None, project: str | None = None
) -> storage.Client:
    """Return a client for the emulator (anonymous), or with the credentials given, or with the machine's own.

    Raises `BadInputError` when the machine has no credentials.
    """
    if emulator_host is not None:
        endpoint = emulator_host if "://" in emulator_host else f"http://{emulator_host}"
        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
        return storage.Client(project=project, credentials=anonymous, client_options={"api_endpoint": endpoint})
    try:
        return storage.Client(project=project, credentials=credentials)
    except auth_errors.DefaultCredentialsError as error:
        raise BadInputError(
            "Cannot open a Google Cloud Storage bucket: this machine has no Google credentials. Run 'gcloud auth "
            "application-default login', set GOOGLE_APPLICATION_CREDENTIALS, or name a prefect-gcp block in "
            "THOR_GCS_BUCKET_BLOCK."
        ) from error


def bucket_from_client(client: storage.Client, name: str, *, retry: RetryPolicy) -> GcsBucket:
    """Return the bucket, and fit the client for our use: more connections, and no requests behind our back."""
    # From 3.17 on the client asks for the bucket's own metadata in threads of its own, again after each 404, to
    # label traces: that doubles the requests for absent objects and needs a permission that workers lack.
    client._bucket_metadata_cache = None
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    _read_environment_once(client._http, str(client._connection.API_BASE_URL))
    return GcsBucket(client, name, retry=retry)


def _read_environment_once(session: requests.Session, url: str) -> None:
    """Take proxies and certificates from the environment now: requests does so at every request."""
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify = dict(found["proxies"]), found["verify"]
    session.trust_env = False


def _content_type(name: str) -> str:
    return _CONTENT_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def _glob(ending: str) -> str | None:
    """Return a pattern for the server, or None for an ending that would have to be escaped."""
    return None if not ending or set(ending) & set("*?[]{}\\") else f"**{ending}"


def _is_transient(error: Exception) -> bool:
    if isinstance(error, google_errors.GoogleAPICallError):
        return error.code in _TRANSIENT_CODES
    if isinstance(error, auth_errors.GoogleAuthError):
        return isinstance(error, auth_errors.TransportError) or bool(error.retryable)
    return isinstance(error, (requests.RequestException, DataCorruption, ConnectionError))


def _is_of_google(error: Exception) -> bool:
    known = (google_errors.GoogleAPIError, auth_errors.GoogleAuthError, requests.RequestException)
    return isinstance(error, (*known, DataCorruption, InvalidResponse, ConnectionError, TransferStuckError))


def _advice(error: Exception) -> str:
    if isinstance(error, (google_errors.Unauthorized, google_errors.Forbidden, auth_errors.GoogleAuthError)):
        return "Look at the credentials: they need to read, create, delete and list objects of this bucket."
    if _is_transient(error):
        return "Look at the network and at the service's state; trying again is safe."
    return "This is no passing fault: look at the bucket's settings."
