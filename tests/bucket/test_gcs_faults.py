"""Google Cloud Storage's faults, by a proxy before a real fake-gcs-server: nothing is lost or waits for ever."""

import itertools
import json
import random
import threading
import time
import urllib.parse
import uuid

import pytest

from tasks.bucket.content import ScratchFile
from tasks.bucket.gcs import bucket_from_client, client_from_settings
from tasks.bucket.gcs_upload import CHUNK_BYTES
from tasks.bucket.retry import RetryPolicy
from tasks.bucket.store import MUST_NOT_EXIST
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError
from tests.services.faults import AMBIGUOUS, WITHOUT_EFFECT, Fault, running_fault_proxy

pytestmark = pytest.mark.gcs

PATIENT = RetryPolicy(deadline_seconds=60, request_seconds=1, first_pause_seconds=0.01, longest_pause_seconds=0.05)
IMPATIENT = RetryPolicy(deadline_seconds=1.5, request_seconds=1, first_pause_seconds=0.01, longest_pause_seconds=0.05)
SPOILT_ANSWERS = (Fault.TRUNCATED, Fault.CORRUPTED)
JUST_ABOVE_MULTIPART = 8 * 2**20 + 1


@pytest.fixture
def faults(fake_gcs):
    with running_fault_proxy(fake_gcs.url) as running:
        yield running


@pytest.fixture
def bucket_name(fake_gcs):
    return fake_gcs.make_bucket()


@pytest.fixture
def opened(faults, bucket_name):
    """Opens the bucket behind the proxy with a retry policy; closes all of them at the end."""
    made = []

    def open_with(policy):
        made.append(bucket_from_client(client_from_settings(emulator_host=faults.url), bucket_name, retry=policy))
        return made[-1]

    yield open_with
    for bucket in made:
        bucket.close()


@pytest.fixture
def bucket(opened):
    return opened(PATIENT)


@pytest.mark.parametrize("fault", [*WITHOUT_EFFECT, *AMBIGUOUS, *SPOILT_ANSWERS], ids=lambda fault: fault.name)
def test_a_read_survives_every_fault(bucket, faults, fault):
    generation = bucket.write("a", b"the whole body")

    faults.plan(fault, fault, method="GET")
    stored = bucket.read("a")

    assert (stored.body, stored.generation) == (b"the whole body", generation)
    assert faults.injected == [fault, fault]


@pytest.mark.parametrize("fault", [*WITHOUT_EFFECT, *AMBIGUOUS, Fault.TRUNCATED], ids=lambda fault: fault.name)
def test_looking_up_listing_and_deleting_survive_every_fault(bucket, faults, fault):
    generation = bucket.write("a", b"body")

    faults.plan(fault, method="GET")
    assert bucket.generation("a") == generation
    faults.plan(fault, method="GET")
    assert [info.generation for info in bucket.list("a")] == [generation]
    faults.plan(fault, method="DELETE")
    bucket.delete("a")

    assert bucket.generation("a") == MUST_NOT_EXIST
    assert faults.injected == [fault] * 3


@pytest.mark.parametrize("fault", WITHOUT_EFFECT, ids=lambda fault: fault.name)
def test_a_conditional_write_survives_a_fault_that_had_no_effect(bucket, faults, fault):
    present = bucket.write("a", b"1")

    faults.plan(fault, fault, method="POST")
    generation = bucket.write("a", b"2", if_generation=present)

    assert bucket.generation("a") == generation > present
    assert bucket.read("a").body == b"2"


@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.TRUNCATED], ids=lambda fault: fault.name)
def test_a_conditional_write_whose_answer_was_lost_is_refused_and_can_be_told_by_its_nonce(bucket, faults, fault):
    present = bucket.write("status.json", b'{"nonce": "theirs"}')

    faults.plan(fault, method="POST")
    with pytest.raises(GenerationMismatchError, match="an earlier try of this call"):
        bucket.write("status.json", b'{"nonce": "ours"}', if_generation=present)

    assert faults.injected == [fault]
    assert json.loads(bucket.read("status.json").body)["nonce"] == "ours"


@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.TRUNCATED], ids=lambda fault: fault.name)
def test_a_write_without_condition_whose_answer_was_lost_is_written_again(bucket, faults, fault):
    faults.plan(fault, method="POST")
    generation = bucket.write("a", b"body")

    assert bucket.generation("a") == generation
    assert bucket.read("a").body == b"body"


def test_every_try_of_a_conditional_write_carries_its_condition(bucket, faults):
    faults.plan(*WITHOUT_EFFECT, method="POST")
    bucket.write("a", b"1", if_generation=MUST_NOT_EXIST)

    posts = [path for method, path in faults.requests if method == "POST"]
    assert len(posts) == len(WITHOUT_EFFECT) + 1
    assert all("ifGenerationMatch=0" in path for path in posts)


def test_a_read_that_is_tried_again_asks_for_the_newest_generation(bucket, faults):
    bucket.write("a", b"body")

    faults.plan(Fault.TRUNCATED, method="GET")
    bucket.read("a")

    gets = [urllib.parse.urlsplit(path).query for method, path in faults.requests if method == "GET"]
    assert gets == ["alt=media", "alt=media"]


@pytest.mark.parametrize("fault", [*WITHOUT_EFFECT, *AMBIGUOUS], ids=lambda fault: fault.name)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_object_beyond_one_multipart_request_survives_every_fault(bucket, faults, fault, method):
    body = random.Random(1).randbytes(JUST_ABOVE_MULTIPART)

    faults.plan(fault, method=method)
    bucket.write("large.bin", body)

    assert bucket.read("large.bin").body == body
    assert faults.injected == [fault]


@pytest.mark.parametrize(
    "fault", [*WITHOUT_EFFECT, *AMBIGUOUS, Fault.TRUNCATED, Fault.CORRUPTED], ids=lambda fault: fault.name
)
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_an_upload_in_chunks_survives_every_fault_at_any_chunk(bucket, faults, fault, chunk):
    body = random.Random(2).randbytes(2 * CHUNK_BYTES + 5)
    content = ScratchFile()
    content.write(body)

    faults.plan(*[None] * chunk, fault, method="PUT")
    generation = bucket.write("large.bin", content)

    assert generation == bucket.generation("large.bin")
    assert bucket.read("large.bin").body == body


def test_a_download_into_a_file_that_breaks_off_begins_again(bucket, faults):
    content, again = ScratchFile(), ScratchFile()
    content.write(random.Random(2).randbytes(CHUNK_BYTES))
    bucket.write("large.bin", content)

    faults.plan(Fault.TRUNCATED, Fault.CORRUPTED, method="GET")
    bucket.download("large.bin", again)

    assert again.sha256 == content.sha256


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE_BEFORE, Fault.RESET_BEFORE, Fault.SILENT_AFTER, Fault.CORRUPTED])
def test_an_outage_longer_than_the_deadline_is_bucket_unavailable_soon_after_it(opened, faults, fault):
    bucket = opened(IMPATIENT)
    bucket.write("a", b"body")
    faults.at_random(seed=1, failing=1.0, kinds=(fault,))

    began = time.monotonic()
    with pytest.raises(BucketUnavailableError, match=r"Cannot read 'a' of gs://.* within 1\.5 s"):
        bucket.read("a")

    assert time.monotonic() - began < IMPATIENT.deadline_seconds + 2 * IMPATIENT.request_seconds


def test_a_download_that_trickles_past_the_deadline_is_bucket_unavailable(opened, faults):
    bucket = opened(IMPATIENT)
    bucket.write("a", bytes(400_000))
    faults.slow_pause_seconds = 0.2
    faults.plan(Fault.SLOW, method="GET")

    began = time.monotonic()
    with pytest.raises(BucketUnavailableError, match="TransferStuckError"):
        bucket.read("a")

    assert time.monotonic() - began < 10


def test_a_slow_download_may_go_on_past_the_deadline_as_long_as_it_gets_on(opened, faults):
    bucket = opened(IMPATIENT)
    body = random.Random(2).randbytes(1_000_000)
    bucket.write("a", body)
    faults.slow_pause_seconds = 0.01
    faults.plan(Fault.SLOW, method="GET")

    began = time.monotonic()
    stored = bucket.read("a")

    assert stored.body == body
    assert time.monotonic() - began > IMPATIENT.deadline_seconds


def test_a_missing_bucket_is_said_at_once(opened, faults, fake_gcs):
    client = client_from_settings(emulator_host=faults.url)
    bucket = bucket_from_client(client, "no-such-bucket", retry=PATIENT)

    with pytest.raises(BucketUnavailableError, match="there is no bucket gs://no-such-bucket"):
        bucket.write("a", b"body")
    with pytest.raises(BucketUnavailableError, match="there is no bucket gs://no-such-bucket"):
        next(bucket.list(""))

    assert len(faults.requests) == 2
    bucket.close()


def test_an_absent_object_costs_one_request(bucket, faults):
    bucket.write("a", b"body")
    bucket.read("a")
    before = len(faults.requests)

    for _ in range(5):
        with pytest.raises(ObjectNotFoundError):
            bucket.read("absent")

    assert len(faults.requests) - before == 5


def add_nonce(bucket, nonce):
    """Append the nonce to the list in the object, exactly once, whatever the bucket answers."""
    while True:
        try:
            stored = bucket.read("nonces")
            nonces = json.loads(stored.body)
            if nonce in nonces:
                return
            body = json.dumps([*nonces, nonce]).encode()
            bucket.write("nonces", body, if_generation=stored.generation)
        except (GenerationMismatchError, BucketUnavailableError):
            continue


def test_in_a_storm_of_faults_every_update_lands_exactly_once(opened, faults):
    opened(PATIENT).write("nonces", b"[]")
    storm = tuple(set(Fault) - {Fault.CORRUPTED, Fault.SILENT_AFTER})
    faults.at_random(seed=20, failing=0.3, kinds=storm)
    wanted = [[uuid.UUID(int=8 * writer + number).hex for number in range(8)] for writer in range(4)]

    def write_all(nonces, bucket):
        for nonce in nonces:
            add_nonce(bucket, nonce)

    threads = [threading.Thread(target=write_all, args=(nonces, opened(PATIENT))) for nonces in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    faults.stop()
    assert sorted(json.loads(opened(PATIENT).read("nonces").body)) == sorted(itertools.chain(*wanted))
    assert len(faults.injected) > 20
