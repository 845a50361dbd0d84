"""A large object on its way to Google Cloud Storage, chunk by chunk.

The protocol is that of resumable uploads of the JSON API: a session's URL takes chunks; when an answer is lost, the
session is asked how far it has come, and goes on from there. Nothing is to be seen of the object before the last chunk.
"""

import re
from http import HTTPStatus

import requests
from google.api_core import exceptions as google_errors
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from tasks.bucket.checksum import crc32c_from_blocks
from tasks.bucket.content import Content, blocks_of

CHUNK_BYTES = 8 << 20
"""A multiple of 256 KiB, as the protocol asks for."""

_RANGE = re.compile(r"bytes=0-(\d+)")
_LOST = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class UploadStuckError(ConnectionError):
    """The session is gone, or took nothing of a chunk: it may do better the next time."""


class ResumableUpload:
    """One upload. Call `step` until it gives a generation; after an error that may pass, call it again."""

    def __init__(
        self, bucket: storage.Bucket, name: str, content: Content, *, content_type: str, condition: int | None
    ) -> None:
        self._blob = bucket.blob(name)
        self._transport = bucket.client._http
        self._content = content
        self._content_type = content_type
        self._condition = condition
        self._checksum = crc32c_from_blocks(blocks_of(content))
        self._session: str | None = None
        self._arrived = 0
        #: Whether `_arrived` is what the session has.
        self._is_sure = False

    def step(self, timeout_seconds: float) -> int | None:
        """Send the next chunk, or find out how far the upload has come; return the generation when it is whole."""
        if self._session is None:
            self._session = self._opened(timeout_seconds)
            self._arrived, self._is_sure = 0, True
        if self._is_sure:
            chunk = self._content.read_at(self._arrived, CHUNK_BYTES)
            last = self._arrived + len(chunk) - 1
            return self._put(self._session, chunk, f"{self._arrived}-{last}", timeout_seconds)
        return self._put(self._session, b"", "*", timeout_seconds)

    def _opened(self, timeout_seconds: float) -> str:
        # Google refuses what arrives with another checksum.
        self._blob.crc32c = self._checksum
        session: str = self._blob.create_resumable_upload_session(
            content_type=self._content_type,
            size=self._content.size,
            if_generation_match=self._condition,
            checksum=None,
            timeout=timeout_seconds,
            retry=None,
        )
        return session

    def _put(self, session: str, chunk: bytes, place: str, timeout_seconds: float) -> int | None:
        self._is_sure = False
        headers = {"Content-Range": f"bytes {place}/{self._content.size}", "Content-Type": self._content_type}
        answer = self._transport.request("PUT", session, data=chunk, headers=headers, timeout=timeout_seconds)
        if answer.status_code in {HTTPStatus.OK, HTTPStatus.CREATED}:
            return self._generation(answer)
        if answer.status_code == HTTPStatus.PERMANENT_REDIRECT:
            self._take(answer, is_chunk=bool(chunk))
            return None
        if answer.status_code in _LOST:
            self._session = None
            raise UploadStuckError(f"the upload's session is gone ({answer.status_code})")
        failure: Exception = google_errors.from_http_response(answer)  # type: ignore[no-untyped-call]
        raise failure

    def _take(self, answer: requests.Response, *, is_chunk: bool) -> None:
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        arrived = int(found[1]) + 1 if found else 0
        if is_chunk and arrived <= self._arrived:
            raise UploadStuckError(f"nothing arrived beyond {arrived} bytes")
        self._arrived, self._is_sure = arrived, True

    def _generation(self, answer: requests.Response) -> int:
        """Return the generation of what was written; an answer that was damaged is none, and is asked for again."""
        try:
            stored = answer.json()
            generation, checksum, size = int(stored["generation"]), stored["crc32c"], int(stored["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise requests.exceptions.ContentDecodingError(f"the answer is no object: {error}") from error
        if (checksum, size) != (self._checksum, self._content.size):
            self._session = None  # fake-gcs-server takes a question for the end of an upload
            raise DataCorruption(answer, f"an object of {size} bytes, CRC-32C {checksum}, is not what was sent")
        return generation
