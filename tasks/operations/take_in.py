"""A table that came in becomes a job, exactly once: whichever process does it, however often, and wherever one ends.

Order: the intake (create-only; the table is taken from here on), the job (as any submission), the mark `submitted`
(create-only), then the error of an earlier look goes. The job's id follows from the table's name and generation, so a
second process works on the same job; the mark outlives the job, so one that was deleted is not made again.
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from tasks.broker.protocol import Publisher
from tasks.bucket.content import ScratchFile
from tasks.bucket.layout import (
    INCOMING_PREFIX,
    INTAKES_PREFIX,
    IntakeLayout,
    JobLayout,
    error_of_table,
    job_id_from_taken_name,
)
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import (
    BadInputError,
    BucketUnavailableError,
    GenerationMismatchError,
    ObjectNotFoundError,
    ThorQueueError,
    TransientTaskError,
)
from tasks.inputs.job_inputs import JobInputs
from tasks.jobs.submit import Steps, Submission, submit_job
from tasks.operations.incoming_tables import IncomingTable, TableChangedError, find_tables, read_inputs
from tasks.records.ids import JobId, job_id_from_object
from tasks.records.intake import Intake, intake_from_bytes

MOST_POSTPONED = 3
"""After this many tables that bucket or queue did not let through, the others wait for the next run, too."""

Outcome = Literal["submitted", "refused", "changed", "postponed"]
"""refused: something is wrong with it, and the error lies beside it. changed: it is being replaced just now, or has
taken it away. postponed: bucket or queue did not let it through. All but the first are tried again by the next run."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arrival:
    """What became of one table in this run."""

    table: str
    job_id: JobId
    outcome: Outcome
    n_tasks: int = 0
    fault: str | None = None


def intake_from_inputs(table: IncomingTable, job_id: JobId, inputs: JobInputs) -> Intake:
    """Return what is put down about a table whose inputs are good."""
    return Intake(
        job_id=job_id,
        table=table.name,
        generation=table.generation,
        orbits=table.orbits,
        config=table.config,
        taken_at=datetime.now(UTC),
        config_csv=inputs.config_csv.decode(),
        task_ids=inputs.task_ids,
        orbit_ids=inputs.orbit_ids,
        orbit_csvs=tuple(body.decode() for body in inputs.orbit_csvs),
        n_observations=inputs.n_observations,
        engine_name=inputs.engine_name,
        engine_version=inputs.engine_version,
        notes=inputs.notes,
    )


def inputs_from_intake(intake: Intake, observations: ScratchFile) -> JobInputs:
    """Return the inputs of the job: those that were put down, with its observations."""
    return JobInputs(
        observations=observations,
        config_csv=intake.config_csv.encode(),
        task_ids=intake.task_ids,
        orbit_ids=intake.orbit_ids,
        orbit_csvs=tuple(text.encode() for text in intake.orbit_csvs),
        n_observations=intake.n_observations,
        engine_name=intake.engine_name,
        engine_version=intake.engine_version,
        notes=intake.notes,
    )


class TakeIn:
    """One run over everything below `incoming/`. Safe to run twice, also at the same time."""

    def __init__(self, bucket: Bucket, open_publisher: Callable[[], Publisher], steps: Steps | None = None) -> None:
        self._bucket = bucket
        self._open_publisher = open_publisher
        self._steps = steps or Steps()

    def run(self) -> Iterator[Arrival]:
        """Submit what was not submitted yet, and yield what became of it. What was left half-done comes first.

        Raises
        ------
        BucketUnavailableError
            If the bucket can't be listed.
        """
        n_postponed = 0
        for arrival in self._arrivals():
            yield arrival
            n_postponed += arrival.outcome == "postponed"
            if n_postponed >= MOST_POSTPONED:
                return

    def _arrivals(self) -> Iterator[Arrival]:
        # Tables first, intakes second: who takes a table meanwhile is then seen, and it is not taken for new.
        tables = find_tables(list(self._bucket.list(INCOMING_PREFIX)))
        listed = {info.name for info in self._bucket.list(INTAKES_PREFIX)}
        taken = {job_id for name in listed if (job_id := job_id_from_taken_name(name)) is not None}
        for job_id in sorted(taken):
            if IntakeLayout(job_id).submitted not in listed:
                arrival = self._tried(IntakeLayout(job_id).taken, job_id, self._complete)
                if arrival is None:
                    taken.remove(job_id)
                else:
                    yield arrival
        for table in tables:
            job_id = job_id_from_object(table.name.removeprefix(INCOMING_PREFIX), table.generation)
            if job_id not in taken and IntakeLayout(job_id).submitted not in listed:
                arrival = self._tried(table.name, job_id, functools.partial(self._take, table))
                if arrival is not None:
                    yield arrival

    def _tried(self, name: str, job_id: JobId, act: Callable[[JobId], Arrival | None]) -> Arrival | None:
        """Let nothing that is wrong with one table stop the others."""
        try:
            return act(job_id)
        except TableChangedError as error:
            return Arrival(name, job_id, "changed", fault=str(error))
        except TransientTaskError as error:
            logger.warning("Could not submit %s, the next run tries again: %s", name, error)
            return Arrival(name, job_id, "postponed", fault=str(error))
        except ThorQueueError as error:
            fault = str(error)
        except Exception as error:
            logger.exception("Could not submit %s.", name)
            fault = f"{type(error).__name__}: {error}"
        logger.warning("Refused %s: %s", name, fault)
        self._put_error_beside(name, fault)
        return Arrival(name, job_id, "refused", fault=fault)

    def _take(self, table: IncomingTable, job_id: JobId) -> Arrival:
        """Put the intake of a new table down, once it is found good, and make its job."""
        inputs = read_inputs(self._bucket, table)
        intake = intake_from_inputs(table, job_id, inputs)
        try:
            self._bucket.write(IntakeLayout(job_id).taken, intake.to_bytes(), if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            try:
                intake = self._read_intake(job_id)
            except ObjectNotFoundError as error:
                raise TableChangedError(f"{table.name} is being taken by another run at this moment.") from error
        return self._submit(intake, inputs.observations)

    def _complete(self, job_id: JobId) -> Arrival | None:
        """Make the job of a table that was taken by a process that ended; None: nothing of it was begun.

        Then the intake goes, if another run has not taken it away, and the table, if it is still there, is taken anew.
        """
        try:
            intake = self._read_intake(job_id)
        except ObjectNotFoundError:
            return None
        observations = ScratchFile()
        try:
            self._bucket.download(JobLayout(job_id).observations, observations)
        except ObjectNotFoundError:
            self._bucket.delete(IntakeLayout(job_id).taken)
            return None
        return self._submit(intake, observations)

    def _submit(self, intake: Intake, observations: ScratchFile) -> Arrival:
        inputs = inputs_from_intake(intake, observations)
        submission = Submission(bucket=self._bucket, job_id=intake.job_id, inputs=inputs)
        submit_job(submission, self._open_publisher, self._steps)
        with contextlib.suppress(GenerationMismatchError):  # somebody else, or ourselves with an answer that was lost
            self._bucket.write(IntakeLayout(intake.job_id).submitted, b"{}", if_generation=MUST_NOT_EXIST)
        if (beside := error_of_table(intake.table)) is not None:
            self._bucket.delete(beside)
        logger.info("Submitted %s as job %s with %d tasks.", intake.table, intake.job_id, len(inputs.task_ids))
        return Arrival(intake.table, intake.job_id, "submitted", n_tasks=len(inputs.task_ids))

    def _read_intake(self, job_id: JobId) -> Intake:
        name = IntakeLayout(job_id).taken
        try:
            intake = intake_from_bytes(self._bucket.read(name).body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BadInputError(
                f"Cannot read {name}: {where}: {first['msg']}. Delete it, and its table is taken anew."
            ) from error
        if intake.job_id != job_id:
            raise BadInputError(f"Cannot use {name}: it is of job {intake.job_id!r}. Delete it.")
        return intake

    def _put_error_beside(self, name: str, fault: str) -> None:
        """Write why a table was refused, unless that lies there already or has no room; the run's report has it too."""
        beside = error_of_table(name)
        if beside is None:
            return
        body = f"{fault}\nPut a corrected table in its place; every run looks at it again.\n".encode()
        try:
            is_there = self._bucket.read(beside).body == body
        except ObjectNotFoundError:
            is_there = False
        except BucketUnavailableError:
            return
        if not is_there:
            with contextlib.suppress(BucketUnavailableError, BadInputError):
                self._bucket.write(beside, body)
