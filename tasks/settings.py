"""The environment, read in this one place: every `THOR_*` variable, its default and what it is for."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.errors import BadInputError

Instrumentation = Literal["auto", "stages", "task", "off"]


RENEWALS_IN_A_DELAY = 5.0
"""By default: a renewal that comes late, or two that are missed, cost nobody the task."""
FEWEST_RENEWALS_IN_A_DELAY = 3.0
"""With fewer a healthy owner looks dead when one renewal is late; workers refuse it."""


class Settings(BaseSettings):
    """What this machine and process are set to. Command-line options win over it."""

    model_config = SettingsConfigDict(env_prefix="THOR_", frozen=True, extra="ignore")

    home: Annotated[Path, Field(description="where the embedded bucket and queue lie")] = (
        Path.home() / ".local" / "share" / "thor-taskqueue"
    )
    bucket: Annotated[str | None, Field(description="gs://NAME or file:///PATH; default: a directory in THOR_HOME")] = (
        None
    )
    queue: Annotated[
        str | None, Field(description="amqp://... or sqlite:///PATH; default: a file in THOR_HOME for each bucket")
    ] = None
    queue_file: Annotated[Path | None, Field(description="a file that holds the queue's URL, for secrets")] = None
    queue_ca_file: Annotated[Path | None, Field(description="CA certificates for amqps://")] = None
    gcs_bucket_block: Annotated[str | None, Field(description="a prefect-gcp GcsBucket block to use as bucket")] = None

    instrumentation: Annotated[
        Instrumentation,
        Field(
            description="what Prefect shows: each task with its stages; each task; off: nothing; auto: stages for jobs "
            "of up to 300 tasks, else task"
        ),
    ] = "auto"
    thor_python: Annotated[
        Path | None,
        Field(description="interpreter that has upstream THOR, for engine thor", validation_alias="THOR_PYTHON"),
    ] = None
    dask_threads: Annotated[
        PositiveInt | None,
        Field(description="threads of range_and_shift; default: all cores, shared equally by workers started together"),
    ] = None
    dask_scheduler_address: Annotated[
        str | None,
        Field(
            description="a dask cluster for range_and_shift; default: threads",
            validation_alias=AliasChoices("DASK_SCHEDULER_ADDRESS", "THOR_DASK_SCHEDULER_ADDRESS"),
        ),
    ] = None
    storage_emulator_host: Annotated[
        str | None, Field(description="a Google Cloud Storage emulator", validation_alias="STORAGE_EMULATOR_HOST")
    ] = None

    lease_renew_seconds: Annotated[
        PositiveFloat | None,
        Field(description="how often a worker renews its lease; default: a fifth of the takeover delay, at most 60"),
    ] = None
    takeover_delay_seconds: Annotated[
        PositiveFloat | None,
        Field(
            description="seconds after which a lease that does not move is lost; default: 300, or 20 on a sqlite queue"
        ),
    ] = None
    bucket_deadline_seconds: Annotated[
        PositiveFloat, Field(description="how long a bucket operation is tried before it counts as unavailable")
    ] = 120.0
    task_time_limit_seconds: Annotated[
        PositiveFloat | None, Field(description="a child that computes longer on one task is killed; default: none")
    ] = None
    drain_seconds: Annotated[
        PositiveFloat | None, Field(description="seconds that a task may go on after SIGTERM; default: to its end")
    ] = None
    prefect_patience_seconds: Annotated[
        PositiveFloat | None,
        Field(
            description="seconds without an answer of Prefect after which work goes on, for a minute, without showing "
            "it; default: 2"
        ),
    ] = None
    out_of_reach_seconds: Annotated[
        PositiveFloat,
        Field(
            description="seconds without an answer of queue or bucket after which a worker with --idle-timeout leaves"
        ),
    ] = 1800.0
    child_memory_bytes: Annotated[
        PositiveInt | None, Field(description="address space of the child, RLIMIT_AS; default: none")
    ] = None
    tasks_per_child: Annotated[
        PositiveInt,
        Field(description="tasks after which a child is replaced: showing stages, it grows by 0.2 MB a task"),
    ] = 500
    survey_cache_bytes: Annotated[
        PositiveInt, Field(description="prepared observations kept in memory between tasks of one job")
    ] = 512 * 2**20

    @property
    def bucket_url(self) -> str:
        """The bucket to use when no option names one."""
        return self.bucket or (self.home / "bucket").resolve().as_uri()

    @property
    def queue_url(self) -> str:
        """The queue to use when no option names one.

        An embedded one belongs to one bucket: workers refuse messages of every other, so two must not share a file.

        Raises
        ------
        BadInputError
            If THOR_QUEUE_FILE can't be read, or is empty.
        """
        if self.queue is None and self.queue_file is not None:
            return _url_from_file(self.queue_file)
        return self.queue or f"sqlite:///{self.home.resolve()}/queues/{_name_from_bucket(self.bucket_url)}.sqlite3"

    def with_bucket(self, url: str) -> Self:
        """Return these settings for that bucket: call it with the URL of the bucket that was opened."""
        return self.model_copy(update={"bucket": url})

    def renew_seconds(self, queue_url: str) -> float:
        """How often a lease is renewed on that queue, seconds."""
        return self.lease_renew_seconds or min(60.0, self.delay_seconds(queue_url) / RENEWALS_IN_A_DELAY)

    def delay_seconds(self, queue_url: str) -> float:
        """How long a message waits in the delay queue, seconds."""
        return self.takeover_delay_seconds or (20.0 if queue_url.startswith("sqlite:") else 300.0)

    def keeps_leases(self, queue_url: str) -> bool:
        """Whether owners renew often enough that no task is taken over from one that lives."""
        return self.delay_seconds(queue_url) >= FEWEST_RENEWALS_IN_A_DELAY * self.renew_seconds(queue_url)


def _name_from_bucket(url: str) -> str:
    """Return a file name for a bucket, the same for every spelling of its URL."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path)).resolve().as_uri() if parts.scheme == "file" else url.rstrip("/")
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def _url_from_file(path: Path) -> str:
    try:
        url = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInputError(
            f"Cannot read the queue's URL from {str(path)!r}: {why}. Correct THOR_QUEUE_FILE, or unset it."
        ) from error
    if not url:
        raise BadInputError(f"Cannot read the queue's URL from {str(path)!r}: it is empty, expected amqp://... .")
    return url


@lru_cache(maxsize=1)
def settings_from_environment() -> Settings:
    """Return the settings of this process, read once.

    Raises
    ------
    BadInputError
        If a variable has a value that it can't have. The error does not repeat the value: it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{_variable_name(fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise BadInputError(f"Cannot use the environment: {faults}. Correct it; see tasks/settings.py.") from None


def _variable_name(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return f"THOR_{name.upper()}" if name in Settings.model_fields else name


def environment_with(**changes: str) -> dict[str, str]:
    """Return the variables of this process with some changed: for a process that it starts, unseen in process lists."""
    return {**os.environ, **changes}
