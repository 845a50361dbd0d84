"""Between the tasks of a job: observations that an earlier task linked with confidence are left out of later ones.

Only where the config says so (`claims.observations`). A task that is about to succeed writes a claim, an object of its
own that never changes; it counts once the task's status says that this very attempt succeeded. A task that begins
notes which claims count, and every attempt at it uses the same ones.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.engines.interface import StageResult, Tables
from tasks.engines.settings import ClaimSettings
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError, TaskInputError
from tasks.records.ids import TaskId
from tasks.records.status import Status, status_from_bytes

USED_CLAIMS = "claims_used.json"
"""The output that says which claims a task used, and how many observations it left out."""

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

logger = logging.getLogger(__name__)


class Claim(BaseModel):
    """What one attempt claims: rows of the job's observations."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    obs_index: tuple[int, ...]
    #: As in the status. The number of an attempt is not enough: an attempt at a job that was deleted may sleep until
    #: another job of that name is there, and write its claim then.
    attempt_id: str | None = None


class UsedClaim(BaseModel):
    """One claim that a task uses."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: TaskId
    attempt: int
    num_obs: int


class UsedClaims(BaseModel):
    """The claims that a task uses: noted by its first attempt, kept by all later ones."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    claims: tuple[UsedClaim, ...]


class Report(UsedClaims):
    """Content of claims_used.json."""

    #: Different observations that these claims hold.
    num_claimed: int
    #: Those of them that lay in the cell of the task's test orbit, and were left out.
    num_left_out: int


@dataclass
class ClaimsCache:
    """Claims that this process has read, of the job that it worked on last: they never change."""

    _job: str = ""
    _rows: dict[str, IntArray] = field(default_factory=dict)

    def of_job(self, bucket: Bucket, job: JobLayout) -> dict[str, IntArray]:
        """Return what is known of a job; another job's is forgotten, and one's that was deleted and made again."""
        name = f"{bucket.url}/{job.observations}#{bucket.generation(job.observations)}"
        if name != self._job:
            self._job, self._rows = name, {}
        return self._rows


@dataclass(frozen=True)
class TaskClaims:
    """What the claims of other tasks, and its own, are to one attempt."""

    bucket: Bucket
    task: TaskLayout
    settings: ClaimSettings
    used: UsedClaims
    #: shape (k,), ascending: rows of the job's observations that are claimed.
    claimed: IntArray

    @property
    def fingerprint(self) -> str:
        """Checksum of what is used: checkpoints made with other claims do not fit."""
        return hashlib.sha256(self.used.model_dump_json().encode()).hexdigest()

    def without_claimed(self, result: StageResult) -> StageResult:
        """Leave the claimed observations out of what range_and_shift gave, and count them."""
        table = result.tables["projected_observations"]
        kept = ~np.isin(table["obs_index"].to_numpy(), self.claimed)
        counts = {**result.counts, "claimed_by_other_tasks": int(len(kept) - kept.sum())}
        tables = {**result.tables, "projected_observations": table.filter(pa.array(kept))}
        return StageResult(tables, counts, result.kept)

    def files(self, counts: Mapping[str, int]) -> Mapping[str, bytes]:
        """Return the output that tells what was left out; `counts` are those of range_and_shift."""
        report = Report(
            claims=self.used.claims,
            num_claimed=len(self.claimed),
            num_left_out=counts.get("claimed_by_other_tasks", 0),
        )
        return {USED_CLAIMS: report.model_dump_json(indent=1).encode()}

    def claim(self, tables: Tables, *, attempt: int, attempt_id: str | None = None) -> None:
        """Write the claim of an attempt whose outputs lie in the bucket. It counts once the task has succeeded.

        Twice: the same. A bucket that does not answer only costs later tasks work that was done already.
        """
        rows = confident_rows(tables["recovered_orbits"], tables["recovered_orbit_members"], self.settings)
        body = Claim(obs_index=tuple(rows.tolist()), attempt_id=attempt_id).model_dump_json().encode()
        try:
            self.bucket.write(self.task.claim(attempt), body, if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            logger.info("The claim of attempt %d was there already; it counts if this attempt wrote it.", attempt)
        except BucketUnavailableError as error:
            logger.warning("Claims no observations, later tasks may link them again: %s", error)


def confident_rows(orbits: pa.Table, members: pa.Table, settings: ClaimSettings) -> IntArray:
    """Return the observations of orbits that leave no doubt, ascending rows of the job's table; without outliers."""
    sure: BoolArray = (
        (orbits["num_obs"].to_numpy() >= settings.min_observations)
        & (orbits["num_sky_nights"].to_numpy() >= settings.min_nights)
        & (orbits["arc_length"].to_numpy() >= settings.min_arc_days)
        & (orbits["rchi2"].to_numpy() <= settings.max_reduced_chi2)
    )
    if not len(members):
        return np.empty(0, np.int64)
    own = sure[members["orbit_index"].to_numpy()] & (members["outlier"].to_numpy() == 0)
    return np.unique(members["obs_index"].to_numpy()[own]).astype(np.int64)


def begin_claims(
    bucket: Bucket, task: TaskLayout, settings: ClaimSettings, *, n_observations: int, cache: ClaimsCache
) -> TaskClaims:
    """Note which claims count now, or read what the first attempt noted, and return them.

    Order: before any stage is computed. Two attempts at once: one note is written, and both use it.

    Raises
    ------
    TaskInputError
        If a claim that the first attempt used is gone, or can't be read.
    BucketUnavailableError
        The task is given back: without the note, attempts could use different claims.
    """
    known = cache.of_job(bucket, task.job)
    note = task.checkpoint("claims", "used.json")
    try:
        used = UsedClaims.model_validate_json(bucket.read(note).body)
    except ObjectNotFoundError:
        used = _claims_that_count(bucket, task, known)
        try:
            bucket.write(note, used.model_dump_json().encode(), if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            used = UsedClaims.model_validate_json(bucket.read(note).body)
    except ValidationError as error:
        raise TaskInputError(f"Cannot read {note} in {bucket.url}: {error}. Delete it and retry the task.") from error
    rows = for_each(used.claims, lambda claim: _rows_of(bucket, task, claim, known))
    claimed = np.unique(np.concatenate([np.empty(0, np.int64), *rows]))
    if claimed.size and not (claimed[0] >= 0 and claimed[-1] < n_observations):
        raise TaskInputError(
            f"Cannot use the claims of job {task.job.job_id!r}: rows {claimed[0]} to {claimed[-1]} are claimed, and "
            f"there are {n_observations} observations. Delete {task.job.claims_prefix} and retry the task."
        )
    logger.info("Uses %d claims of other tasks: %d observations.", len(used.claims), len(claimed))
    return TaskClaims(bucket, task, settings, used, claimed)


def _claims_that_count(bucket: Bucket, task: TaskLayout, known: dict[str, IntArray]) -> UsedClaims:
    """Return the claims of attempts that succeeded, sorted by task; one that can't be read is left out."""
    named = [task.job.claim_from_name(info.name) for info in bucket.list(task.job.claims_prefix)]
    claims = [UsedClaim(task_id=each[0], attempt=each[1], num_obs=0) for each in named if each is not None]
    others = [claim for claim in claims if claim.task_id != task.task_id]
    used: list[UsedClaim] = []
    for claim, rows in zip(others, for_each(others, lambda claim: _rows_if(bucket, task, claim, known)), strict=True):
        if isinstance(rows, Exception):
            name = task.job.task(claim.task_id).claim(claim.attempt)
            logger.warning("Leaves claim %s aside, its observations may be linked again: %s", name, rows)
        elif rows is not None:
            used.append(claim.model_copy(update={"num_obs": len(rows)}))
    return UsedClaims(claims=tuple(used))


def _rows_if(
    bucket: Bucket, task: TaskLayout, claim: UsedClaim, known: dict[str, IntArray]
) -> IntArray | Exception | None:
    """Return the rows of a claim that counts, None if it does not, or why that can't be found out."""
    claimer = task.job.task(claim.task_id)
    name = claimer.claim(claim.attempt)
    if name in known:  # only those that count are
        return known[name]
    try:
        rows, attempt_id = _read_claim(bucket, task, claim)
        status = status_from_bytes(bucket.read(claimer.status).body)
    except (ObjectNotFoundError, ValidationError, TaskInputError) as error:
        return error
    if not claim_counts(status, attempt=claim.attempt, attempt_id=attempt_id):
        return None
    known[name] = rows
    return rows


def claim_counts(status: Status, *, attempt: int, attempt_id: str | None) -> bool:
    """Tell whether the attempt that claims is the one whose results stand: what another claimed is not true. Pure."""
    return status.state == "succeeded" and (status.attempt, status.attempt_id) == (attempt, attempt_id)


def _rows_of(bucket: Bucket, task: TaskLayout, claim: UsedClaim, known: dict[str, IntArray]) -> IntArray:
    name = task.job.task(claim.task_id).claim(claim.attempt)
    if name not in known:
        known[name], _ = _read_claim(bucket, task, claim)
    return known[name]


def _read_claim(bucket: Bucket, task: TaskLayout, claim: UsedClaim) -> tuple[IntArray, str | None]:
    """Return the rows that an attempt claims, and its id."""
    name = task.job.task(claim.task_id).claim(claim.attempt)
    try:
        found = Claim.model_validate_json(bucket.read(name).body)
        return np.array(found.obs_index, dtype=np.int64), found.attempt_id
    except (ObjectNotFoundError, ValidationError, OverflowError) as error:
        raise TaskInputError(
            f"Cannot use claim {name} in {bucket.url}: {error}. Submit the job again under another --job-id."
        ) from error
