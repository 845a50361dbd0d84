"""One attempt at a task: download, five stages, upload. Knows nothing of Prefect; who shows it calls it stage by stage.

The attempt never writes the status: it tells the supervisor, who owns the lease, how it ended.
"""

import contextlib
import dataclasses
import io
import logging
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import Bucket
from tasks.engines.errors import EngineError, EngineInputError
from tasks.engines.interface import STAGES, MapBlocks, Stage, StageResult, map_blocks_in_turn
from tasks.errors import BucketUnavailableError, PermanentTaskError, TaskInputError, TransientTaskError
from tasks.jobs.attempt_log import logging_to
from tasks.jobs.checkpoints import CheckpointUnusableError, load_checkpoint, save_checkpoint
from tasks.jobs.claims import ClaimsCache, TaskClaims, begin_claims
from tasks.jobs.finish import ERROR_MESSAGE
from tasks.jobs.out_of_memory import is_out_of_memory
from tasks.jobs.output_files import files_from_tables
from tasks.jobs.task_inputs import SurveyCache, TaskInputs, download_inputs
from tasks.jobs.upload_outputs import OutputPrefix
from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    StageBegan,
    Tell,
)
from tasks.records.status import ErrorKind, OutputObject

THOR_LOG = "thor.log"
LONGEST_ERROR = 2000
"""Characters of an error that stand in the status; error_message.txt has it all."""

UPLOAD_TRIES = 5
"""How often the outputs of hours of work are uploaded before the task is given back. Waiting for the lease in between
takes as long as the bucket is away, so this bounds only a bucket that renews leases and refuses outputs."""

CHECKPOINT_SECONDS = 10.0
"""A stage that took less is computed again by a later attempt: a checkpoint would cost every task several requests, and
spare the few that meet a crash less than the time until they are taken up again."""

Ending = AttemptSucceeded | AttemptFailed | AttemptReleased

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageReport:
    """How one stage went."""

    stage: Stage
    counts: Mapping[str, int]
    seconds: float
    #: Whether a former attempt computed it.
    resumed: bool
    #: What the process had needed at most when the stage was over.
    memory_bytes: int


def peak_memory_bytes() -> int:
    """Return what this process has needed at most so far, resident. getrusage's figure begins with the parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


class Attempt:
    """One attempt. `run` may be called again after it was interrupted by something else than the task: it goes on."""

    def __init__(  # noqa: PLR0913 (collaborators)
        self,
        assignment: Assignment,
        *,
        bucket: Bucket,
        tell: Tell,
        await_lease: Callable[[], None],
        surveys: SurveyCache,
        claims: ClaimsCache | None = None,
        map_blocks: MapBlocks = map_blocks_in_turn,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.assignment = assignment
        self.task: TaskLayout = JobLayout(assignment.job_id).task(assignment.task_id)
        #: How it ended, once it has been told; None: it goes on.
        self.ending: Ending | None = None
        #: What the task itself did wrong; never a fault of the bucket, the queue or Prefect.
        self.error: Exception | None = None
        self.reports: dict[Stage, StageReport] = {}
        self._bucket = bucket
        self._tell = tell
        self._await_lease = await_lease
        self._surveys = surveys
        self._claims_cache = claims or ClaimsCache()
        #: What other tasks claim; None: the config does not ask for it.
        self._claims: TaskClaims | None = None
        self._map_blocks = map_blocks
        self._checkpoint_seconds = checkpoint_seconds
        self._outputs: OutputPrefix | None = None
        self._inputs: TaskInputs | None = None
        self._tables: dict[str, pa.Table] = {}
        self._may_resume = assignment.attempt > 1
        #: Whether something may lie in the bucket that the task needs no more once it has succeeded.
        self._has_leftovers = assignment.attempt > 1
        self._log = io.StringIO()

    def run(self, run_stages: Callable[[], None] | None = None) -> None:
        """Do what is left of the attempt and tell how it ended; `run_stages` may call `run_stage` for each stage.

        Raises only what is not the task's: MemoryError, a shutdown, and whatever `run_stages` raises by itself.
        """
        with logging_to(self._log):
            try:
                self._compute(run_stages)
                self._end(self._uploaded_success())
            except MemoryError:
                raise
            except TransientTaskError as error:
                logger.warning("Gives the task back, it will be tried again: %s", error)
                self._end(AttemptReleased(error=str(error)[:LONGEST_ERROR]))
            except Exception as error:
                if error is not self.error:
                    raise
                if is_out_of_memory(error):
                    raise MemoryError(str(error)) from error
                self._end(self._uploaded_failure(error))

    def run_stage(self, stage: Stage) -> None:
        """Compute one stage, or take it from the checkpoint of a former attempt. Once, however often it is called.

        A stage that is done already is left as it is; what has failed raises the same error again.
        """
        if self.error is not None:
            raise self.error
        if stage in self.reports:
            return
        with self._own_errors():
            inputs = self._require_inputs()
            self._tell(StageBegan(stage=stage, engine=inputs.engine_title))
            result, seconds, resumed = self._from_checkpoint(stage) or self._computed(stage, inputs)
            if resumed:
                inputs.problem.kept[stage] = result.kept
            self._tables |= result.tables
            self.reports[stage] = StageReport(stage, result.counts, seconds, resumed, peak_memory_bytes())
            counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
            done = "Took from its checkpoint" if resumed else "Computed"
            told = {"stage": stage, "seconds": round(seconds, 3), "counts": dict(result.counts)}
            words = counts or "no counts"
            logger.info("%s %s in %.3f s: %s.", done, stage, seconds, words, extra={"fields": told})

    @property
    def tables(self) -> Mapping[str, pa.Table]:
        """What the stages have given so far."""
        return self._tables

    def _compute(self, run_stages: Callable[[], None] | None) -> None:
        self._require_inputs()
        if run_stages is not None:
            run_stages()
        for stage in STAGES:
            self.run_stage(stage)

    def _download(self) -> TaskInputs:
        assignment = self.assignment
        logger.info(
            "Begins attempt %d at task %s of job %s on %s.",
            assignment.attempt,
            assignment.task_id,
            assignment.job_id,
            platform.node(),
        )
        with self._own_errors():
            self._require_outputs()
            inputs = download_inputs(self._bucket, self.task, surveys=self._surveys, map_blocks=self._map_blocks)
            inputs = self._with_claims(inputs)
        logger.info("Engine %s on %d observations.", inputs.engine_title, inputs.n_observations)
        return inputs

    def _with_claims(self, inputs: TaskInputs) -> TaskInputs:
        """Find out what other tasks claim, where the config asks for it; checkpoints depend on it."""
        settings = inputs.problem.settings.claims
        if not settings.observations:
            return inputs
        self._claims = begin_claims(
            self._bucket, self.task, settings, n_observations=inputs.n_observations, cache=self._claims_cache
        )
        return dataclasses.replace(inputs, fingerprint=f"{inputs.fingerprint}-{self._claims.fingerprint}")

    def _from_checkpoint(self, stage: Stage) -> tuple[StageResult, float, bool] | None:
        if not self._may_resume:
            return None
        try:
            found = load_checkpoint(self._bucket, self.task, stage, fingerprint=self._require_inputs().fingerprint)
        except CheckpointUnusableError as error:
            logger.warning("Computes %s anew, and what follows: %s", stage, error)
            # A later stage may have been computed from tables that can't be read any more: compute it from ours.
            self._may_resume = False
            return None
        return None if found is None else (*found, True)

    def _computed(self, stage: Stage, inputs: TaskInputs) -> tuple[StageResult, float, bool]:
        began = time.perf_counter()
        result: StageResult = getattr(inputs.engine, stage)(inputs.problem, self._tables)
        seconds = time.perf_counter() - began
        if self._claims is not None and stage == "range_and_shift":
            result = self._claims.without_claimed(result)
        if stage != STAGES[-1] and seconds >= self._checkpoint_seconds:
            self._has_leftovers = True
            try:
                save_checkpoint(
                    self._bucket, self.task, stage, result=result, fingerprint=inputs.fingerprint, seconds=seconds
                )
            except BucketUnavailableError as error:
                # It only spares a later attempt some work; the tables are here.
                logger.warning("Goes on without a checkpoint of %s, a later attempt computes it anew: %s", stage, error)
        return result, seconds, False

    def _uploaded_success(self) -> AttemptSucceeded:
        files = {**files_from_tables(self._tables), THOR_LOG: self._log.getvalue().encode()}
        if self._claims is None:
            return AttemptSucceeded(outputs=self._uploaded(files), has_leftovers=self._has_leftovers)
        # Outputs before the claim, the claim before the status, which alone makes it count.
        outputs = self._uploaded({**files, **self._claims.files(self.reports["range_and_shift"].counts)})
        self._claims.claim(self._tables, attempt=self.assignment.attempt, attempt_id=self.assignment.attempt_id)
        return AttemptSucceeded(outputs=outputs)

    def _uploaded(self, files: Mapping[str, bytes]) -> tuple[OutputObject, ...]:
        """Upload; when the bucket does not answer, again, since each time the lease is confirmed before."""
        for _ in range(UPLOAD_TRIES - 1):
            try:
                return self._require_outputs().upload(files, await_lease=self._await_lease)
            except BucketUnavailableError as error:
                logger.warning("Could not upload the outputs, trying again as long as the task is ours: %s", error)
        return self._require_outputs().upload(files, await_lease=self._await_lease)

    def _uploaded_failure(self, error: Exception) -> AttemptFailed | AttemptReleased:
        """Upload what there is and why there is no more."""
        told = "".join(traceback.format_exception(error))
        logger.error("The task failed.\n%s", told)
        kind: ErrorKind = "bad_input" if isinstance(error, (TaskInputError, EngineInputError)) else "task_error"
        on_purpose = isinstance(error, (PermanentTaskError, EngineError))
        message = str(error) if on_purpose else f"{type(error).__name__}: {error}"
        log = self._log.getvalue()
        try:
            files = {**files_from_tables(self._tables), ERROR_MESSAGE: told.encode(), THOR_LOG: log.encode()}
            outputs = self._uploaded(files)
        except TransientTaskError as unavailable:
            return AttemptReleased(error=str(unavailable)[:LONGEST_ERROR])
        return AttemptFailed(error_kind=kind, error=message[:LONGEST_ERROR], outputs=outputs)

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        if self._inputs is not None:
            self._inputs.problem.at_end.close()
        self._tell(ending)

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Mark an exception that leaves the block as the attempt's own."""
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def _require_inputs(self) -> TaskInputs:
        if self._inputs is None:
            self._inputs = self._download()
        return self._inputs

    def _require_outputs(self) -> OutputPrefix:
        if self._outputs is None:
            self._outputs = OutputPrefix(self._bucket, self.task, is_first=self.assignment.attempt == 1)
        return self._outputs
