"""Watching one attempt: what the child tells, the lease, the time limit, a cancelled job, a request to leave."""

import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass

from tasks.errors import BucketUnavailableError, GenerationMismatchError
from tasks.jobs.claim import is_cancelled
from tasks.jobs.status_file import StatusFile
from tasks.metrics import WorkerMetrics
from tasks.records.assignment import (
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    CancelAsked,
    FlowRunStarted,
    FromChild,
    LeaseRenewed,
    ReadyToUpload,
    StageBegan,
)
from tasks.records.status import Renewed
from workers.bucket_thread import BucketThread
from workers.child_process import ChildProcess
from workers.disposition import (
    AskedToLeave,
    ChildDied,
    ChildFailed,
    ChildReleased,
    ChildSucceeded,
    Ending,
    Fenced,
    JobCancelled,
    TaskCancelled,
)
from workers.logs import at_stage
from workers.shutdown import Shutdown

NEWS_SECONDS = 2.0
"""A stage or flow run that began is written to the status so much later: a short task writes no status for it, and no
object is written twice within a second, which Google Cloud Storage refuses."""
RETRY_SECONDS = 1.0
"""Pause after a renewal that the bucket did not answer."""
LONGEST_TURN_SECONDS = 0.5
"""Most seconds between two times that the queue's connection is served."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """The times that an attempt keeps, seconds."""

    renew_seconds: float
    time_limit_seconds: float | None = None


class AttemptWatch:
    """One attempt, from its assignment to its ending. Call `step` whenever something may have happened."""

    def __init__(
        self,
        *,
        child: ChildProcess,
        file: StatusFile,
        bucket_thread: BucketThread,
        rhythm: Rhythm,
        shutdown: Shutdown,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._child = child
        self._file = file
        self._bucket_thread = bucket_thread
        self._rhythm = rhythm
        self._shutdown = shutdown
        self._metrics = metrics or WorkerMetrics()
        #: What the child has told, for the next write of the status.
        self.news = Renewed()
        self._renewal: Future[bool] | None = None
        self._renewal_is_for_upload = False
        self._child_awaits_lease = False
        self._has_computed = False
        now = time.monotonic()
        self._began_at = now
        self._renew_at = now + rhythm.renew_seconds

    @property
    def pause_seconds(self) -> float:
        """How long nothing will happen by time alone."""
        due = self._renew_at - time.monotonic() if self._renewal is None else LONGEST_TURN_SECONDS
        return min(max(due, 0.0), LONGEST_TURN_SECONDS)

    def step(self) -> Ending | None:
        """Act on what happened; return how the attempt ended, or None while it goes on.

        A child that could go on working on a task that is no more ours is dead when this returns.
        """
        if (ending := self._told()) is not None:
            return ending
        if self._child.is_dead:
            # What it told between our last look and its death counts.
            died = ChildDied(f"The computation ended without a result: {self._child.cause_of_death}")
            return self._told() or died
        ending = self._lease() or self._limits()
        if ending is not None:
            self._child.kill("its attempt was ended")
        return ending

    def _told(self) -> Ending | None:
        for report in self._child.take_reports():
            if (ending := self._heard(report)) is not None:
                return ending
        return None

    def _heard(self, report: FromChild) -> Ending | None:
        match report:
            case AttemptSucceeded(outputs=outputs, has_leftovers=has_leftovers):
                return ChildSucceeded(outputs, has_leftovers=has_leftovers)
            case AttemptFailed(error_kind=error_kind, error=error, outputs=outputs):
                return ChildFailed(error_kind, error, outputs)
            case AttemptReleased(error=error):
                return ChildReleased(error)
            case CancelAsked():
                self._child.kill("its run was cancelled in Prefect")
                return TaskCancelled()
            case ReadyToUpload():
                self._heard_ready_to_upload()
            case StageBegan(stage=stage, engine=engine):
                at_stage(stage)
                logger.info("Began stage %s.", stage)
                self._metrics.stage_began(stage)
                self._tell_status(stage=stage, engine=engine or self.news.engine)
            case FlowRunStarted(prefect_flow_run_id=flow_run_id):
                self._tell_status(prefect_flow_run_id=flow_run_id)
            case _:
                pass
        return None

    def _heard_ready_to_upload(self) -> None:
        """Let the child upload at once while the lease is young; else, and when it asks again, renew it first.

        A lease that moved less than one renewal ago can't have been taken over, and costs a short task a write. A
        child that asks again has met another writer: then only the bucket tells whose the task is.
        """
        is_first, self._has_computed = not self._has_computed, True
        age = self._file.lease_age_seconds
        if is_first and self._renewal is None and age is not None and age < self._rhythm.renew_seconds:
            self._child.tell(LeaseRenewed())
        else:
            self._child_awaits_lease = True
            self._renew_at = 0.0

    def _tell_status(self, **news: str | None) -> None:
        self.news = Renewed(**{**vars(self.news), **news})
        self._renew_at = min(self._renew_at, time.monotonic() + NEWS_SECONDS)

    def _lease(self) -> Ending | None:
        """Renew the lease when it is time, and act on the outcome of a renewal."""
        now = time.monotonic()
        if self._renewal is None:
            if now >= self._renew_at:
                self._renewal_is_for_upload = self._child_awaits_lease
                news = self.news
                self._renewal = self._bucket_thread.submit(lambda: renew_lease(self._file, news))
            return None
        if not self._renewal.done():
            return None
        renewal, self._renewal = self._renewal, None
        try:
            is_cancelled_now = renewal.result()
        except GenerationMismatchError as error:
            logger.warning("Lost the task to another worker, its result is dropped: %s", error)
            return Fenced()
        except BucketUnavailableError as error:
            logger.warning("Could not renew the lease, the task may be taken over if this lasts: %s", error)
            self._renew_at = now + min(RETRY_SECONDS, self._rhythm.renew_seconds)
            return None
        self._metrics.lease_renewed()
        if is_cancelled_now:
            return JobCancelled()
        self._renew_at = now + self._rhythm.renew_seconds
        if self._child_awaits_lease:
            self._allow_upload()
        return None

    def _allow_upload(self) -> None:
        if self._renewal_is_for_upload:
            self._child_awaits_lease = False
            self._child.tell(LeaseRenewed())
        else:
            self._renew_at = 0.0  # that renewal began before the child asked

    def _limits(self) -> Ending | None:
        if self._shutdown.is_urgent:
            return AskedToLeave()
        # A bucket that is away, so that the outputs wait, is not the computation's fault.
        limit = None if self._has_computed else self._rhythm.time_limit_seconds
        if limit is not None and time.monotonic() - self._began_at > limit:
            self._child.kill(f"it took longer than task_time_limit_seconds, {limit:g}")
            return ChildDied(f"The computation was {self._child.cause_of_death}")
        return None


def renew_lease(file: StatusFile, news: Renewed) -> bool:
    """Move the lease, and tell whether the job is cancelled.

    Raises
    ------
    GenerationMismatchError
        The task is not ours any more.
    BucketUnavailableError
        Try again.
    """
    file.change(news)
    return is_cancelled(file.bucket, file.layout.job)
