"""Writers of a directory bucket that are killed. Run as a program, so that forking is quick and no thread is about.

`python -m tests.bucket.killed_writers storm ROOT KILLS` kills writers at random instants;
`python -m tests.bucket.killed_writers calls ROOT write|delete FORMER` kills one before each of its system calls in turn
(FORMER: what the object holds before; empty: it is absent). Both print what they saw as JSON.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import GenerationMismatchError, ObjectNotFoundError

BLOBS = [f"jobs-1/tasks/{number}/blob" for number in range(4)]
NAME = "jobs-1/status.json"
NEW_BODY = b"new" * 1000
SYSTEM_CALLS = ("open", "close", "mkdir", "rmdir", "unlink", "rename", "utime", "fsync", "setxattr", "fstat", "stat")
MOST_CALLS = 300


def main(arguments: list[str]) -> None:
    if arguments[0] == "storm":
        outcome: object = storm(Path(arguments[1]), int(arguments[2]))
    else:
        outcome = kill_before_each_call(Path(arguments[1]), arguments[2], arguments[3].encode())
    print(json.dumps(outcome))


def storm(directory: Path, kills: int) -> dict[str, int]:
    """Kill one of two writers again and again; after each kill every object must be whole."""
    bucket, source, acknowledged = DirectoryBucket(directory / "bucket"), random.Random(11), directory / "acknowledged"
    bucket.write("counter", b"0")
    acknowledged.touch()
    greatest: dict[str, int] = {}
    writers = [forked(write_until_killed, bucket, acknowledged, seed) for seed in range(2)]
    for turn in range(kills):
        # A random instant is what is wanted here, not a condition.
        time.sleep(source.uniform(0.0, 0.05))
        end(writers[turn % 2])
        require_whole(bucket, greatest)
        writers[turn % 2] = forked(write_until_killed, bucket, acknowledged, 2 + turn)
    for writer in writers:
        end(writer)
    return {"successes": acknowledged.stat().st_size, "counter": int(bucket.read("counter").body)}


def kill_before_each_call(directory: Path, verb: str, former: bytes) -> list[dict[str, object]]:
    """Let a writer or deleter die before its first, second, ... system call, until one lives to its end."""
    outcomes: list[dict[str, object]] = []
    for call in range(MOST_CALLS):
        bucket = DirectoryBucket(directory / str(call))
        present = prepare(bucket, directory / str(call) / NAME, former)
        pid = forked(act_and_die, bucket, verb, call)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        generation = bucket.generation(NAME)
        outcomes.append(
            {
                "exit_code": exit_code,
                "present": present,
                "generation": generation,
                "body": bucket.read(NAME).body.decode() if generation else "",
                "listed": [info.generation for info in bucket.list("")],
                "later": bucket.write(NAME, b"later", if_generation=generation),
            }
        )
        if exit_code == 0:
            break
    return outcomes


def prepare(bucket: Bucket, path: Path, former: bytes) -> int:
    """Put the former object there, dated by a clock that was a month ahead; return its generation."""
    if not former:
        return MUST_NOT_EXIST
    bucket.write(NAME, former)
    ahead = time.time_ns() + 30 * 86400 * 10**9
    os.utime(path, ns=(ahead, ahead))
    return bucket.generation(NAME)


def forked(target: Callable[..., None], *arguments: object) -> int:
    """Run `target` in a child process that ends with it; return the child's pid."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            target(*arguments)
            os._exit(0)
        os._exit(1)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert exit_code == -signal.SIGKILL, f"a writer ended by itself with exit code {exit_code}"


def self_checking_body(source: random.Random) -> bytes:
    content = source.randbytes(source.choice([0, 10, 5_000, 300_000]))
    return hashlib.sha256(content).digest() + content


def is_whole(body: bytes) -> bool:
    return hashlib.sha256(body[32:]).digest() == body[:32]


def write_until_killed(bucket: Bucket, acknowledged: Path, seed: int) -> None:
    """Count up in one object by compare-and-swap, put down each success, write and delete others meanwhile."""
    source = random.Random(seed)
    with acknowledged.open("ab", buffering=0) as file:
        while True:
            with contextlib.suppress(GenerationMismatchError):
                stored = bucket.read("counter")
                bucket.write("counter", b"%d" % (int(stored.body) + 1), if_generation=stored.generation)
                file.write(b".")
            bucket.write(source.choice(BLOBS), self_checking_body(source))
            if source.random() < 0.2:
                bucket.delete(source.choice(BLOBS))


def require_whole(bucket: Bucket, greatest: dict[str, int]) -> None:
    """Read every blob: each is whole, and no generation is smaller than the greatest that was seen of its name."""
    for name in BLOBS:
        with contextlib.suppress(ObjectNotFoundError):
            stored = bucket.read(name)
            assert is_whole(stored.body), f"{name} is torn"
            assert stored.generation >= greatest.get(name, MUST_NOT_EXIST), f"{name} went back"
            greatest[name] = stored.generation


def act_and_die(bucket: Bucket, verb: str, call: int) -> None:
    """Write or delete the object, and be killed before the `call`-th system call of it."""
    remaining = call

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def counting(*arguments: object, **options: object) -> object:
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return counting

    for name in SYSTEM_CALLS:
        setattr(os, name, counted(getattr(os, name)))
    if verb == "write":
        bucket.write(NAME, NEW_BODY)
    else:
        bucket.delete(NAME)


if __name__ == "__main__":
    main(sys.argv[1:])
