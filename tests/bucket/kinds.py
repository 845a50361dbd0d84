"""The kinds of bucket that keep the contract, and how to open one again in another process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.bucket.directory import DirectoryBucket
from tasks.bucket.open_bucket import open_bucket
from tasks.bucket.store import Bucket

DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Kind:
    """One bucket under test."""

    name: str
    bucket: Bucket
    #: Opens the same bucket in another process; None where only threads can share it.
    open_elsewhere: Callable[[], Bucket] | None


def directory_kind(path: Path) -> Kind:
    return Kind("directory", DirectoryBucket(path), partial(DirectoryBucket, path))


def gcs_kind(emulator_url: str, bucket_name: str) -> Kind:
    reopen = partial(open_bucket, f"gs://{bucket_name}", deadline_seconds=DEADLINE_SECONDS, emulator_host=emulator_url)
    return Kind("gcs", reopen(), reopen)
