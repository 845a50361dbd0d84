"""Uploads in chunks against a session that keeps Google's protocol, which fake-gcs-server does not in all points."""

import json
import random
import re

import pytest
import requests
from google.api_core import exceptions as google_errors
from google.cloud.storage.exceptions import DataCorruption
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.content import BytesContent
from tasks.bucket.gcs_upload import CHUNK_BYTES, ResumableUpload, UploadStuckError

BODY = random.Random(4).randbytes(2 * CHUNK_BYTES + 17)


class Server:
    """One bucket, and its sessions: bytes in order, 308 with how far they go, the condition looked at in the end.

    It stands for the library's bucket, blob, client and transport at once. Each request takes the next fault: "before"
    (nothing is applied), "after" (the answer is lost), "part" (a quarter of the chunk arrives, then 503), "gone".
    """

    def __init__(self, faults=(), *, present=0):
        self.client = self
        self._http = self
        self.faults = list(faults)
        self.present = present
        self.stored = None
        self.sessions = []
        self.asked = []

    def blob(self, name):
        return self

    def create_resumable_upload_session(self, *, size, if_generation_match, **options):
        self.condition = if_generation_match
        self.sessions.append(b"")
        return str(len(self.sessions) - 1)

    def request(self, method, url, *, data, headers, timeout):
        fault = self.faults.pop(0) if self.faults else None
        self.asked.append(headers["Content-Range"].split("/")[0].removeprefix("bytes "))
        if fault == "before":
            raise requests.ConnectionError("reset")
        if fault == "gone":
            return answer(410)
        if fault == "part":
            self.apply(url, data[: len(data) // 4], headers)
            return answer(503)
        found = self.apply(url, data, headers)
        if fault == "after":
            raise requests.ConnectionError("reset")
        return found

    def apply(self, url, data, headers):
        place, total = re.fullmatch(r"bytes ([\d*-]+)/(\d+)", headers["Content-Range"]).groups()
        held = self.sessions[int(url)]
        if place != "*":
            first = int(place.split("-")[0])
            assert first <= len(held), "a gap"
            held += data[len(held) - first :]
            self.sessions[int(url)] = held
        if len(held) < int(total):
            return answer(308, headers={"Range": f"bytes=0-{len(held) - 1}"} if held else {})
        if self.stored is None:
            if self.condition not in {None, self.present}:
                return answer(412)
            self.stored = held
        return answer(200, {"generation": "77", "crc32c": crc32c_from_bytes(self.stored), "size": str(len(held))})


def answer(status, body=None, headers=None):
    made = requests.Response()
    made.status_code = status
    made._content = json.dumps(body).encode() if body else b""
    made.headers.update(headers or {})
    made.request = requests.Request("PUT", "http://storage").prepare()
    return made


def upload(server, *, condition=0, most_failures=20):
    """Upload as the bucket does: a step that fails in passing is taken again."""
    made = ResumableUpload(server, "a", BytesContent(BODY), content_type="text/csv", condition=condition)
    generation, failures = None, 0
    while generation is None:
        try:
            generation = made.step(1.0)
        except (requests.ConnectionError, google_errors.ServiceUnavailable, UploadStuckError, DataCorruption):
            failures += 1
            assert failures < most_failures
    return generation


CHUNKS = [f"0-{CHUNK_BYTES - 1}", f"{CHUNK_BYTES}-{2 * CHUNK_BYTES - 1}", f"{2 * CHUNK_BYTES}-{len(BODY) - 1}"]


def test_chunks_go_one_after_the_other():
    server = Server()

    assert upload(server) == 77
    assert (server.asked, server.stored == BODY) == (CHUNKS, True)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ("before", [CHUNKS[0], CHUNKS[1], "*", CHUNKS[1], CHUNKS[2]]),
        ("after", [CHUNKS[0], CHUNKS[1], "*", CHUNKS[2]]),
        ("gone", [CHUNKS[0], CHUNKS[1], *CHUNKS]),
    ],
)
def test_after_a_fault_it_asks_and_sends_only_what_did_not_arrive(fault, asked):
    server = Server([None, fault])

    assert upload(server) == 77
    assert (server.asked, server.stored == BODY) == (asked, True)


def test_an_end_whose_answer_was_lost_is_known_by_asking_not_refused():
    server = Server([None, None, "after"])

    assert upload(server, condition=0) == 77
    assert server.asked == [*CHUNKS, "*"]


def test_a_condition_that_does_not_hold_is_refused_when_the_upload_ends():
    server = Server(present=5)

    with pytest.raises(google_errors.PreconditionFailed):
        upload(server)

    assert server.stored is None


@settings(max_examples=40)
@given(st.lists(st.sampled_from([None, "before", "after", "part", "gone"]), max_size=12))
def test_any_faults_only_make_it_take_longer(faults):
    server = Server(faults)

    assert upload(server) == 77
    assert server.stored == BODY


def test_a_session_that_takes_nothing_is_no_progress():
    server = Server()
    made = ResumableUpload(server, "a", BytesContent(BODY), content_type="text/csv", condition=None)
    server.apply = lambda url, data, headers: answer(308)

    with pytest.raises(UploadStuckError, match="nothing arrived"):
        made.step(1.0)
