"""What only a directory bucket has: files, locks, links, a disk that fills up, and writers that are killed."""

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.bucket import directory
from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.names import is_object_name
from tasks.bucket.store import MUST_NOT_EXIST
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError
from tests.bucket.killed_writers import BLOBS, NEW_BODY
from tests.services.small_disk import small_disk

ROOT = Path(__file__).parents[2]
NAME = "thor_jobs/v1/jobs-1/tasks/a/status.json"
FUTURE_NS = (int(time.time()) + 30 * 86400) * 10**9
STORM_KILLS = 60


@pytest.fixture
def root(tmp_path):
    return tmp_path / "bucket"


@pytest.fixture
def bucket(root):
    return DirectoryBucket(root)


def names(bucket, prefix=""):
    return [info.name for info in bucket.list(prefix)]


def test_an_object_is_a_plain_file_at_its_name(bucket, root):
    bucket.write(NAME, b'{"state": "requested"}')

    assert json.loads((root / NAME).read_text()) == {"state": "requested"}


def test_the_url_names_the_resolved_directory(tmp_path):
    (tmp_path / "real dir").mkdir()
    (tmp_path / "link").symlink_to("real dir")

    assert DirectoryBucket(tmp_path / "link").url == f"file://{tmp_path.resolve()}/real%20dir"


def test_looking_makes_no_directory(bucket, root):
    assert bucket.generation(NAME) == MUST_NOT_EXIST
    assert names(bucket) == []
    with pytest.raises(ObjectNotFoundError):
        bucket.read(NAME)

    assert not root.exists()


def test_side_files_are_never_listed_and_don_t_pile_up(bucket, root):
    for number in range(400):
        bucket.write(f"a/{number}", b"")
    for number in range(400):
        bucket.delete(f"a/{number}")

    assert names(bucket) == []
    assert sum(path.is_file() for path in root.rglob("*")) <= 256
    assert [path.name for path in root.iterdir()] == [".thor-bucket"]


def test_a_delete_leaves_no_empty_directories_but_those_of_others(bucket, root):
    bucket.write("jobs-1/tasks/a/outputs/thor.log", b"")
    bucket.write("jobs-1/manifest.json", b"")

    bucket.delete("jobs-1/tasks/a/outputs/thor.log")

    assert not (root / "jobs-1/tasks").exists()
    assert names(bucket) == ["jobs-1/manifest.json"]


def test_a_hand_edited_file_has_a_new_generation(bucket, root):
    generation = bucket.write(NAME, b"before")
    (root / NAME).write_bytes(b"after!")

    assert bucket.read(NAME).body == b"after!"
    assert bucket.generation(NAME) != generation
    assert [info.crc32c for info in bucket.list("")] == [crc32c_from_bytes(b"after!")]
    with pytest.raises(GenerationMismatchError):
        bucket.write(NAME, b"stale", if_generation=generation)


def test_a_file_that_a_person_puts_there_is_an_object(bucket, root):
    (root / "incoming").mkdir(parents=True)
    (root / "incoming/observations.csv").write_text("obs_id\n")
    os.utime(root / "incoming/observations.csv", ns=(0, 0))

    (info,) = bucket.list("incoming/")

    assert bucket.read("incoming/observations.csv").generation == info.generation > MUST_NOT_EXIST
    assert bucket.write("incoming/observations.csv", b"", if_generation=info.generation) > info.generation


def test_generations_grow_although_the_clock_was_set_back(bucket, root):
    bucket.write(NAME, b"1")
    os.utime(root / NAME, ns=(FUTURE_NS, FUTURE_NS))
    ahead = bucket.generation(NAME)

    written = bucket.write(NAME, b"2")
    bucket.delete(NAME)
    created = bucket.write(NAME, b"3", if_generation=MUST_NOT_EXIST)

    assert ahead < written < created


def test_an_object_below_another_object_is_refused(bucket):
    bucket.write("a", b"1")
    bucket.write("b/c", b"2")

    with pytest.raises(BadInputError, match="below another one"):
        bucket.write("a/b", b"3")
    with pytest.raises(BadInputError, match="below another one"):
        bucket.write("b", b"4")

    assert names(bucket) == ["a", "b/c"]
    assert bucket.generation("b") == bucket.generation("a/b") == MUST_NOT_EXIST


@pytest.fixture
def linked(bucket, root, tmp_path):
    """A bucket with links that lead out of it, and what lies there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    bucket.write("inside", b"1")
    (root / "directory").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "self").symlink_to("self")
    os.mkfifo(root / "fifo")
    return bucket


def test_links_and_other_special_files_are_no_objects(linked):
    assert names(linked) == ["inside"]
    assert names(linked, "directory/") == []
    for name in ("directory/secret", "file", "self", "fifo"):
        assert linked.generation(name) == MUST_NOT_EXIST
        with pytest.raises(ObjectNotFoundError):
            linked.read(name)


def test_nothing_is_written_or_deleted_through_a_link(linked, tmp_path):
    with pytest.raises(BadInputError, match="symbolic link"):
        linked.write("directory/secret", b"changed")
    linked.write("file", b"replaces the link itself")
    linked.delete("directory/secret")

    assert {path.name: path.read_text() for path in (tmp_path / "outside").iterdir()} == {"secret": "secret"}
    assert linked.read("file").body == b"replaces the link itself"


def test_a_listing_goes_on_when_what_it_lists_disappears(bucket):
    for number in range(5):
        bucket.write(f"tasks/{number}/status.json", b"")

    listing = bucket.list("tasks/")
    first = next(listing).name
    for number in range(1, 4):
        bucket.delete(f"tasks/{number}/status.json")

    assert [first, *(info.name for info in listing)] == ["tasks/0/status.json", "tasks/4/status.json"]


def test_a_listing_of_statuses_does_not_judge_every_output_beside_them(bucket, monkeypatch):
    for task_id in "abc":
        bucket.write(f"tasks/{task_id}/status.json", b"{}")
        bucket.write(f"tasks/{task_id}/outputs/thor.log", b"")
    judged = []
    monkeypatch.setattr(directory, "is_object_name", lambda name: judged.append(name) or is_object_name(name))

    listed = [info.name for info in bucket.list("tasks/", ending="/status.json")]

    assert listed == [f"tasks/{task_id}/status.json" for task_id in "abc"]
    assert not any(name.endswith("thor.log") for name in judged)


def test_a_writer_that_is_stopped_with_the_lock_makes_others_give_up_in_time(root):
    bucket = DirectoryBucket(root, deadline_seconds=0.2)
    bucket.write(NAME, b"1")
    (lock,) = (root / ".thor-bucket/locks").iterdir()

    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BucketUnavailableError, match="held the lock file"):
            bucket.write(NAME, b"2")

        assert bucket.read(NAME).body == b"1"
        assert names(bucket) == [NAME]

    bucket.write(NAME, b"3")


LIMITED_WRITE = """
import resource, signal, sys
from pathlib import Path
from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.directory import DirectoryBucket
from tasks.errors import BucketUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    DirectoryBucket(Path(sys.argv[1])).write(sys.argv[2], bytes(1_000_000))
except BucketUnavailableError as error:
    print(error)
"""


@pytest.mark.parametrize("former", [b"former", None], ids=["replacing", "creating"])
def test_a_write_that_the_disk_cuts_short_leaves_everything_as_it_was(bucket, root, former):
    present = MUST_NOT_EXIST if former is None else bucket.write(NAME, former)

    arguments = [sys.executable, "-c", LIMITED_WRITE, str(root), NAME]
    said = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert f"Cannot write object {NAME!r}" in said
    assert "free space" in said
    assert bucket.generation(NAME) == present
    assert names(bucket) == ([] if former is None else [NAME])
    assert list((root / ".thor-bucket/writing").iterdir()) == []


@pytest.fixture
def disk_of_256k(tmp_path):
    with small_disk(tmp_path / "disk", size="256k") as path:
        yield path


def test_a_full_disk_is_bucket_unavailable_and_can_be_emptied(disk_of_256k):
    bucket = DirectoryBucket(disk_of_256k)
    written = {}

    def fill():
        for number in itertools.count():
            written[f"a/{number}"] = bucket.write(f"a/{number}", bytes(10_000))

    with pytest.raises(BucketUnavailableError, match="No space left on device"):
        fill()

    assert {info.name: info.generation for info in bucket.list("")} == written
    for name in written:
        bucket.delete(name)
    assert bucket.write("a/0", bytes(10_000)) > written["a/0"]


def kill_writers(*arguments):
    command = [sys.executable, "-m", "tests.bucket.killed_writers", *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("former", ["former", ""], ids=["replacing", "creating"])
def test_a_writer_killed_before_any_of_its_system_calls_leaves_the_old_object_or_the_new_one(tmp_path, former):
    outcomes = kill_writers("calls", tmp_path, "write", former)

    for seen in outcomes:
        is_old = (seen["generation"], seen["body"]) == (seen["present"], former)
        is_new = seen["generation"] > seen["present"] and seen["body"] == NEW_BODY.decode()
        assert is_old or is_new
        assert seen["listed"] == ([seen["generation"]] if seen["generation"] else [])
        assert seen["later"] > seen["generation"]
    assert [seen["exit_code"] for seen in outcomes] == [-signal.SIGKILL] * (len(outcomes) - 1) + [0]
    assert {seen["body"] for seen in outcomes[:-1]} == {former, NEW_BODY.decode()}


def test_a_deleter_killed_before_any_of_its_system_calls_lets_no_generation_come_back(tmp_path):
    outcomes = kill_writers("calls", tmp_path, "delete", "former")

    for seen in outcomes:
        assert seen["generation"] in (seen["present"], MUST_NOT_EXIST)
        assert seen["later"] > seen["present"]
    assert [seen["exit_code"] for seen in outcomes] == [-signal.SIGKILL] * (len(outcomes) - 1) + [0]
    assert {seen["body"] for seen in outcomes[:-1]} == {"former", ""}


def test_in_a_storm_of_kills_every_object_stays_whole_and_no_success_is_lost(tmp_path):
    counts = kill_writers("storm", tmp_path, STORM_KILLS)

    bucket = DirectoryBucket(tmp_path / "bucket")
    assert counts["successes"] > STORM_KILLS
    assert counts["successes"] <= counts["counter"] <= counts["successes"] + STORM_KILLS + 2
    assert set(names(bucket)) <= {"counter", *BLOBS}
    assert len(list((tmp_path / "bucket/.thor-bucket/writing").iterdir())) <= len(BLOBS) + 1


def test_names_in_one_directory_can_be_written_and_emptied_at_once(bucket):
    """A delete removes the directory that it has emptied, perhaps just before a write puts a file there."""

    def churn(name):
        for _ in range(40):
            bucket.write(name, b"body")
            assert bucket.read(name).body == b"body"
            bucket.delete(name)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(churn, [f"a/b/c/{number}" for number in range(4)]))

    assert names(bucket) == []


def test_a_directory_bucket_loads_nothing_of_google_cloud():
    code = (
        "import sys, tempfile; from pathlib import Path; from tasks.bucket.open_bucket import open_bucket\n"
        "open_bucket(Path(tempfile.gettempdir()).as_uri(), deadline_seconds=1).generation('a')\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()

    assert {"google.cloud", "google.auth", "google.api_core", "requests"} & set(loaded) == set()
