"""The embedded bucket and queue of one test, as objects and as the options that name them."""

from dataclasses import dataclass
from pathlib import Path

from tasks.bucket.directory import DirectoryBucket


@dataclass(frozen=True)
class Place:
    """A directory with a bucket and a queue."""

    path: Path

    @property
    def bucket(self) -> DirectoryBucket:
        return DirectoryBucket(self.path / "bucket")

    @property
    def queue(self) -> Path:
        return self.path / "queue.sqlite3"

    @property
    def bucket_option(self) -> tuple[str, str]:
        return ("--bucket", self.bucket.url)

    @property
    def options(self) -> tuple[str, ...]:
        return (*self.bucket_option, "--queue", f"sqlite:///{self.queue}")
