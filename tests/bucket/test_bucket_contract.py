"""What every bucket promises (`tasks.bucket.store.Bucket`): a directory, Google Cloud Storage, and the fake."""

import multiprocessing
import random
import threading

import pytest

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.content import ScratchFile
from tasks.bucket.store import MUST_NOT_EXIST
from tasks.errors import BadInputError, GenerationMismatchError, ObjectNotFoundError
from tests.bucket.conftest import GCS_KIND, SHARED_KINDS

LARGE_BYTES = 20 * 2**20
PROCESSES = 4
INCREMENTS = 25


def names_below(bucket, prefix, **options):
    return [info.name for info in bucket.list(prefix, **options)]


def test_what_was_written_is_read_with_its_generation(bucket):
    generation = bucket.write("a/b.json", b'{"state": "requested"}')

    stored = bucket.read("a/b.json")

    assert (stored.body, stored.generation) == (b'{"state": "requested"}', generation)
    assert bucket.generation("a/b.json") == generation > MUST_NOT_EXIST


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff\r\n\n", "Číslo 小行星 ☄️ \u0000".encode(), bytes(range(256)) * 300],
    ids=["empty", "binary", "unicode", "all bytes"],
)
def test_bytes_come_back_unchanged(bucket, body):
    bucket.write("a/body", body)

    assert bucket.read("a/body").body == body


def test_a_large_object_comes_back_whole(bucket):
    body = random.Random(7).randbytes(LARGE_BYTES)

    generation = bucket.write("a/large.bin", body)

    stored = bucket.read("a/large.bin")
    assert stored.body == body
    assert stored.generation == generation
    assert [info.size for info in bucket.list("a/")] == [LARGE_BYTES]


def test_a_large_object_is_written_from_a_file_and_downloaded_into_one(bucket):
    body = random.Random(8).randbytes(LARGE_BYTES)
    source, target = ScratchFile(), ScratchFile()
    source.write(body)
    target.write(b"what it held before")

    generation = bucket.write("a/large.bin", source)

    assert bucket.download("a/large.bin", target) == generation
    assert (target.size, target.sha256) == (LARGE_BYTES, source.sha256)
    (info,) = bucket.list("a/")
    assert (info.size, info.crc32c) == (LARGE_BYTES, crc32c_from_bytes(body))


def test_a_small_object_may_come_from_a_file_and_go_into_one(bucket):
    source, target = ScratchFile(), ScratchFile()
    source.write(b"small")

    bucket.write("a", source, if_generation=MUST_NOT_EXIST)
    with pytest.raises(GenerationMismatchError):
        bucket.write("a", source, if_generation=MUST_NOT_EXIST)

    bucket.download("a", target)
    assert target.read_at(0, 99) == b"small"


def test_an_absent_object_cannot_be_downloaded(bucket):
    with pytest.raises(ObjectNotFoundError, match="a/nothing"):
        bucket.download("a/nothing", ScratchFile())


def test_an_absent_object_is_not_found_and_has_no_generation(bucket):
    with pytest.raises(ObjectNotFoundError, match="a/nothing"):
        bucket.read("a/nothing")

    assert bucket.generation("a/nothing") == MUST_NOT_EXIST


def test_a_write_without_condition_replaces_the_object_under_a_greater_generation(bucket):
    first = bucket.write("a", b"a longer first body")

    second = bucket.write("a", b"second")

    assert second > first
    assert bucket.read("a").body == b"second"


def test_a_write_with_the_present_generation_goes_through(bucket):
    created = bucket.write("a", b"1", if_generation=MUST_NOT_EXIST)

    replaced = bucket.write("a", b"2", if_generation=created)

    assert replaced > created
    assert bucket.read("a").body == b"2"


@pytest.mark.parametrize("wrong", [1, "former", "next"])
def test_a_write_with_another_generation_is_refused_and_changes_nothing(bucket, wrong):
    former = bucket.write("a", b"1")
    present = bucket.write("a", b"2")
    expected = {"former": former, "next": present + 1}.get(wrong, wrong)

    with pytest.raises(GenerationMismatchError, match="'a'"):
        bucket.write("a", b"3", if_generation=expected)

    assert bucket.read("a").body == b"2"
    assert bucket.generation("a") == present


def test_a_creating_write_is_refused_when_the_object_exists(bucket):
    bucket.write("a", b"1")

    with pytest.raises(GenerationMismatchError):
        bucket.write("a", b"2", if_generation=MUST_NOT_EXIST)

    assert bucket.read("a").body == b"1"


def test_a_replacing_write_is_refused_when_the_object_is_absent(bucket):
    with pytest.raises(GenerationMismatchError):
        bucket.write("a", b"1", if_generation=12345)

    assert bucket.generation("a") == MUST_NOT_EXIST


def test_a_deleted_object_is_gone_and_deleting_again_does_nothing(bucket):
    bucket.write("a/b/c", b"1")

    bucket.delete("a/b/c")
    bucket.delete("a/b/c")

    assert bucket.generation("a/b/c") == MUST_NOT_EXIST
    assert names_below(bucket, "") == []


def test_generations_are_not_used_again_after_a_delete(bucket):
    seen = []
    for _ in range(20):
        seen.append(bucket.write("a", b"same body", if_generation=MUST_NOT_EXIST))
        bucket.delete("a")

    assert seen == sorted(set(seen))
    with pytest.raises(GenerationMismatchError):
        bucket.write("a", b"stale", if_generation=seen[-1])


def test_a_listing_tells_the_summary_of_the_present_generation_or_none(bucket):
    bucket.write("a/status.json", b"{}", summary='{"state": "requested", "error": "Größe — 5 %"}')
    told = [info.summary for info in bucket.list("a/")]
    assert told in ([None], ['{"state": "requested", "error": "Größe — 5 %"}'])

    bucket.write("a/status.json", b"{}")

    assert [info.summary for info in bucket.list("a/")] == [None]


def test_a_listing_has_name_generation_size_and_checksum(bucket):
    generation = bucket.write("a/b.csv", b"orbit_id,x\n1,2\n")

    (info,) = bucket.list("a/")

    assert (info.name, info.generation, info.size) == ("a/b.csv", generation, 15)
    assert info.crc32c == crc32c_from_bytes(b"orbit_id,x\n1,2\n")


NAMES = [
    "jobs-1/manifest.json",
    "jobs-1/tasks/a-b/status.json",
    "jobs-1/tasks/a.b/status.json",
    "jobs-1/tasks/a/outputs/thor.log",
    "jobs-1/tasks/a/status.json",
    "jobs-1/tasks/a0/status.json",
    "jobs-1/tasks/aé/status.json",
    "jobs-10/manifest.json",
    "jobs-2/manifest.json",
]


@pytest.fixture
def filled(bucket):
    for name in random.Random(3).sample(NAMES, len(NAMES)):
        bucket.write(name, name.encode())
    return bucket


@pytest.mark.parametrize(
    "prefix",
    ["", "jobs-1", "jobs-1/", "jobs-1/tasks/a", "jobs-1/tasks/a/", "jobs-1/tasks/a-b/status.json", "jobs-3/", "zzz"],
)
def test_a_listing_has_exactly_the_names_that_begin_with_the_prefix_in_order(filled, prefix):
    assert names_below(filled, prefix) == sorted(name for name in NAMES if name.startswith(prefix))


@pytest.mark.parametrize("ending", ["/status.json", "manifest.json", ".log", "b/status.json", "[x]"])
def test_a_listing_can_be_narrowed_to_an_ending(filled, ending):
    listed = names_below(filled, "jobs-1/", ending=ending)

    assert listed == sorted(name for name in NAMES if name.startswith("jobs-1/") and name.endswith(ending))


@pytest.mark.parametrize("kind", [GCS_KIND], indirect=True)
def test_a_listing_of_more_than_one_page_is_complete(bucket):
    names = [f"tasks/{number:04d}/s" for number in range(1050)]
    for name in names:
        bucket.write(name, b"")

    assert names_below(bucket, "tasks/") == names


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "../outside",
        "a/../../outside",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "a/.thor-bucket/b",
        "a\\b",
        "a\x00b",
        "a\nb",
        "a\x85b",
        "a\ud800b",
        "a/" + "n" * 256,
        "a/" * 600 + "b",
    ],
)
@pytest.mark.parametrize("verb", ["read", "write", "generation", "delete"])
def test_a_name_that_could_leave_the_bucket_or_hide_in_it_is_refused(bucket, verb, name):
    arguments = (name, b"body") if verb == "write" else (name,)

    with pytest.raises(BadInputError, match="object name"):
        getattr(bucket, verb)(*arguments)


@pytest.mark.parametrize("prefix", ["../", "/", "a/../", "a//", ".thor-bucket/", "a\x00"])
def test_a_prefix_that_no_name_has_is_refused(bucket, prefix):
    with pytest.raises(BadInputError, match="Cannot list"):
        next(bucket.list(prefix), None)


def test_unusual_but_allowed_names_work(bucket):
    names = sorted(["incoming/a b+c%2Fd.csv", "incoming/#1?x=[y].csv", "incoming/ž.csv", "incoming/a..b", "n" * 255])
    for name in names:
        bucket.write(name, name.encode())

    assert names_below(bucket, "") == names
    assert [bucket.read(name).body for name in names] == [name.encode() for name in names]


def increment(bucket, times):
    """Add one to the counter `times` times; each refused write is tried again on what is there now."""
    for _ in range(times):
        while True:
            stored = bucket.read("counter")
            try:
                bucket.write("counter", b"%d" % (int(stored.body) + 1), if_generation=stored.generation)
                break
            except GenerationMismatchError:
                continue


def increment_elsewhere(open_bucket_again, times):
    increment(open_bucket_again(), times)


def test_no_update_is_lost_between_threads(bucket):
    bucket.write("counter", b"0")
    threads = [threading.Thread(target=increment, args=(bucket, INCREMENTS)) for _ in range(PROCESSES)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bucket.read("counter").body == b"%d" % (PROCESSES * INCREMENTS)


@pytest.mark.parametrize("kind", SHARED_KINDS, indirect=True)
def test_no_update_is_lost_between_processes(kind):
    kind.bucket.write("counter", b"0")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=increment_elsewhere, args=(kind.open_elsewhere, INCREMENTS)) for _ in range(PROCESSES)
    ]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert kind.bucket.read("counter").body == b"%d" % (PROCESSES * INCREMENTS)


def test_of_many_who_create_an_object_exactly_one_succeeds(bucket):
    gate = threading.Barrier(8)
    won = []

    def create(number):
        gate.wait()
        try:
            bucket.write("lock", b"%d" % number, if_generation=MUST_NOT_EXIST)
            won.append(number)
        except GenerationMismatchError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert bucket.read("lock").body == b"%d" % won[0]
