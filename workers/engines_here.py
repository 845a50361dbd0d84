"""Which engines this worker has, and which one a job asks for: a task of another engine is left to other workers.

Asked on the bucket thread, before a claim: a worker that lacks the engine costs the task neither attempt nor time.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.engines.errors import EngineMissingError
from tasks.engines.upstream_process import found_upstream
from tasks.errors import BadInputError
from tasks.jobs.manifest_file import read_manifest_if_there
from tasks.records.ids import JobId

UPSTREAM = "thor"
"""The engine that lives in an interpreter of its own, which not every worker has."""

REMEMBERED_SECONDS = 300.0
"""How long a job's engine is remembered (a job may be deleted, and one of that id submitted anew), and that upstream is
not here (it may be installed). That it is here is remembered for good: a task that then finds it gone comes back."""
MOST_JOBS = 1000
"""Jobs that are remembered at a time."""

logger = logging.getLogger(__name__)


@dataclass
class EnginesHere:
    """What this worker can compute. One for each worker; not for use from two threads at once."""

    #: The interpreter that has upstream THOR; None: none is set.
    thor_python: Path | None = None
    clock: Callable[[], float] = time.monotonic
    #: Returns the versions of what the interpreter has, or raises `EngineMissingError`.
    find: Callable[[Path | None], Mapping[str, object]] = found_upstream
    _engines: dict[JobId, tuple[str | None, float]] = field(default_factory=dict)
    _has_upstream: bool = False
    _looked_at: float | None = None

    def lacks(self, bucket: Bucket, job: JobLayout) -> str | None:
        """Return the name of the engine that the job asks for, if it is not here; None: go on with its tasks.

        Raises
        ------
        BucketUnavailableError
            Nothing is known: look again later.
        """
        engine = self._engine_of(bucket, job)
        return engine if engine == UPSTREAM and not self._upstream_is_here() else None

    def look_anew(self) -> None:
        """Ask again whether upstream is here, when the next of its tasks comes: an attempt may have found it gone."""
        self._has_upstream = False
        self._looked_at = None

    def _engine_of(self, bucket: Bucket, job: JobLayout) -> str | None:
        """Return the engine of the job's manifest; None without one that can be read: its tasks say what is wrong."""
        now = self.clock()
        found, seen_at = self._engines.get(job.job_id, (None, now - REMEMBERED_SECONDS))
        if now - seen_at < REMEMBERED_SECONDS:
            return found
        try:
            manifest = read_manifest_if_there(bucket, job)
        except BadInputError:
            manifest = None
        engine = None if manifest is None else manifest.engine_name
        if len(self._engines) >= MOST_JOBS:
            self._engines.clear()
        self._engines[job.job_id] = (engine, now)
        return engine

    def _upstream_is_here(self) -> bool:
        if self._has_upstream:
            return True
        now = self.clock()
        if self._looked_at is None or now - self._looked_at >= REMEMBERED_SECONDS:
            self._looked_at = now
            try:
                found = self.find(self.thor_python)
                self._has_upstream = True
                logger.info("Has engine %s %s.", UPSTREAM, found.get("thor"))
            except EngineMissingError as error:
                logger.warning("Leaves tasks of engine %s to workers that have it. %s", UPSTREAM, error)
        return self._has_upstream
