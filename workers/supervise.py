"""The supervisor: takes one task after the other from the queue, has its child compute it, writes how it ended.

One thread serves the queue's connection all the time. The child computes, and one more thread does the bucket
operations, so that neither a crash nor a slow bucket ever costs the connection. Only the supervisor writes the status.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tasks.broker.protocol import (
    INSTRUMENTATION_HEADER,
    PARENT_RUN_HEADER,
    SEEN_GENERATION_HEADER,
    Consumer,
    Delivery,
    Headers,
)
from tasks.bucket.store import Bucket
from tasks.engines.builtin.version import VERSION
from tasks.errors import BucketUnavailableError, GenerationMismatchError, ShutdownRequested, TaskMessageError
from tasks.jobs.finish import finish_task
from tasks.jobs.status_file import StatusFile
from tasks.metrics import WorkerMetrics
from tasks.records.message import TaskMessage, message_from_bytes
from tasks.records.status import Failed, Released, Renewed, Succeeded
from workers.attempt_watch import AttemptWatch, Rhythm
from workers.bucket_thread import BucketThread
from workers.child_keeper import ChildKeeper
from workers.child_process import ChildProcess
from workers.disposition import (
    Ack,
    AskedToLeave,
    ChildReleased,
    ChildSucceeded,
    DeadLetter,
    Ending,
    LeaveToOthers,
    LookAgain,
    MessageAct,
    ending_word,
    foreign_bucket,
    rest_seconds,
    settlement,
)
from workers.engines_here import EnginesHere
from workers.logs import about
from workers.presence import Presence
from workers.reach import Reach
from workers.reception import ClaimedTask, look_and_claim
from workers.shutdown import Shutdown
from workers.wake_up import WakeUp

TURN_SECONDS = 0.5
"""The connection is served, and a signal acted on, after this time at most."""
LEAVE_SECONDS = 5.0
"""Patience of an urgent departure with the bucket. Then the task is left to be taken over."""
BUCKET_PAUSE_SECONDS = 2.0
"""Pause before a result is written again to a bucket that does not answer."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Habits:
    """How a worker works."""

    #: host:pid, as it stands in the status.
    worker: str
    #: Starts the computing process.
    child_command: Sequence[str]
    rhythm: Rhythm
    #: Leave after this many seconds without a message; None: stay.
    idle_timeout_seconds: float | None = None
    #: Tasks after which the child is replaced; None: keep it.
    tasks_per_child: int | None = None
    #: The interpreter that has upstream THOR; None: tasks of engine thor are left to other workers.
    thor_python: Path | None = None
    #: Leave, with an error, after this many seconds without an answer of queue or bucket; None: stay.
    out_of_reach_seconds: float | None = None
    #: Where the health check of this machine looks; None: nowhere.
    health_folder: Path | None = None
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)


class Supervisor:
    """One worker process. Call `run` in the main thread: the child dies with the thread that started it."""

    def __init__(self, *, consumer: Consumer, bucket: Bucket, habits: Habits, shutdown: Shutdown) -> None:
        self._consumer = consumer
        self._bucket = bucket
        self._habits = habits
        self._shutdown = shutdown
        self._engines = EnginesHere(habits.thor_python)
        self._wake_up = WakeUp()
        self._bucket_thread = BucketThread(on_done=self._wake_up.wake)
        self._keeper = ChildKeeper(command=habits.child_command, tasks_per_child=habits.tasks_per_child)
        self._in_hand: Delivery | None = None
        self._presence = Presence(
            bucket,
            worker=habits.worker,
            engine=f"builtin {VERSION}",
            has_upstream_thor=habits.thor_python is not None,
            submit=self._bucket_thread.submit,
        )
        self._metrics = habits.metrics
        self._reach = Reach(
            limit_seconds=habits.out_of_reach_seconds,
            folder=habits.health_folder,
            tell=habits.metrics.service_answers,
        )

    def run(self) -> None:
        """Work until asked to leave, or idle for too long.

        Raises
        ------
        ChildCannotStartError
            No child ever became ready; nothing was taken from the queue.
        OutOfReachError
            Queue or bucket did not answer for longer than the habits allow. The message of a task at work goes back.
        """
        self._shutdown.listen(self._wake_up)
        try:
            self._serve()
        except ShutdownRequested:
            logger.warning("Left without writing the status: the task will be taken over as lost.")
        finally:
            # The child first: once the consumer is closed, somebody else may receive the message.
            self._keeper.close()
            self._consumer.close()
            self._reach.close()
            self._presence.remove()
        self._shutdown.conclude()
        logger.info("Left.")

    def _serve(self) -> None:
        idle_since = time.monotonic()
        while not self._shutdown.is_requested:
            child = self._keeper.ready_child()
            if child is None:
                self._consumer.stop()
                self._turn(TURN_SECONDS)
                idle_since = time.monotonic()
                continue
            self._presence.keep()
            self._consumer.start()
            delivery = self._consumer.wait(TURN_SECONDS)
            self._reach.note("queue", answers=self._consumer.is_connected)
            self._reach.require()
            if delivery is not None and self._has_served(delivery, child):
                idle_since = time.monotonic()
            elif not self._consumer.is_connected:
                idle_since = time.monotonic()  # nobody knows whether there are messages
            elif self._is_idle_for_too_long(idle_since):
                logger.info("No message came for %g s: leaving.", self._habits.idle_timeout_seconds)
                return

    def _is_idle_for_too_long(self, idle_since: float) -> bool:
        limit = self._habits.idle_timeout_seconds
        return limit is not None and time.monotonic() - idle_since >= limit

    def _has_served(self, delivery: Delivery, child: ChildProcess) -> bool:
        """Do with a message what there is to do; return whether it was for this worker. After another it rests."""
        received_at = time.monotonic()
        self._in_hand = delivery
        was_for_us = self._receive(delivery, child)
        self._in_hand = None
        if not was_for_us:
            self._wake_up.wait(rest_seconds(time.monotonic() - received_at), self._keeper.fds)
        return was_for_us

    def _receive(self, delivery: Delivery, child: ChildProcess) -> bool:
        """Do with one message what its body tells before the bucket is asked; return whether it was for this worker."""
        if self._shutdown.is_requested:
            self._consumer.requeue(delivery)
            return True
        try:
            message = message_from_bytes(delivery.body)
        except TaskMessageError as error:
            self._dead_letter(delivery, str(error))
            return True
        with about(job_id=message.job_id, task_id=message.task_id):
            refusal = foreign_bucket(message, self._bucket.url)
            if refusal is None:
                return self._look(delivery, message, child)
            self._dead_letter(delivery, refusal.reason)
            return True

    def _look(self, delivery: Delivery, message: TaskMessage, child: ChildProcess) -> bool:
        """Ask the bucket what is true of the task, and act on it; return whether the task is for this worker."""
        headers = _own_headers(delivery)
        worker, renew_seconds = self._habits.worker, self._habits.rhythm.renew_seconds
        engines = self._engines
        try:
            verdict = self._in_background(
                lambda: look_and_claim(
                    self._bucket, message, headers, worker=worker, engines=engines, renew_seconds=renew_seconds
                )
            )
        except BucketUnavailableError as error:
            logger.warning("Sent the message to the delay queue, since nothing is known of its task: %s", error)
            self._consumer.delay(delivery, headers)
            self._reach.note("bucket", answers=False)
            return True
        self._reach.note("bucket", answers=True)
        match verdict:
            case Ack():
                self._consumer.ack(delivery)
                logger.info("Acked a message of a task that is done.")
            case DeadLetter(reason):
                self._dead_letter(delivery, reason)
            case LookAgain(generation):
                self._consumer.delay(delivery, {**headers, SEEN_GENERATION_HEADER: generation})
                logger.info("The task is at work elsewhere: looking again after one delay.")
            case LeaveToOthers(engine, is_news):
                self._consumer.delay(delivery, headers)
                log = logger.info if is_news else logger.debug
                log("Left the task to workers that have engine %s: this one lacks it.", engine)
            case ClaimedTask():
                with about(job_id=message.job_id, task_id=message.task_id, attempt=verdict.assignment.attempt):
                    self._work(delivery, verdict, child)
        return not isinstance(verdict, LeaveToOthers)

    def _work(self, delivery: Delivery, task: ClaimedTask, child: ChildProcess) -> None:
        """Have the claimed task computed; write how it ended; then, and only then, let go of its message."""
        logger.info("Claimed the task.")
        self._metrics.attempt_began()
        ending, news = self._computed(task, child)
        if isinstance(ending, ChildReleased):
            self._engines.look_anew()  # perhaps it was the engine that the child lacked
        settled = settlement(ending, task.file.status.counters)
        act = settled.act
        may_leave = not isinstance(ending, ChildSucceeded) or ending.has_leftovers
        if settled.event is None or self._write_ending(task.file, settled.event, news, may_leave=may_leave):
            self._metrics.attempt_ended(ending_word(settled.event))
        else:
            self._metrics.attempt_ended("lost")
            act = "requeue"
        self._let_go(delivery, act)

    def _computed(self, task: ClaimedTask, child: ChildProcess) -> tuple[Ending, Renewed]:
        """Have the child compute the claimed task, and watch it to its ending; return what it told besides."""
        if child.is_dead:
            logger.warning("The computing process died while it was idle, which is not this task's fault.")
            return AskedToLeave(), Renewed()
        self._keeper.assign(child, task.assignment)
        self._metrics.child_started(child.pid)
        watch = AttemptWatch(
            child=child,
            file=task.file,
            bucket_thread=self._bucket_thread,
            rhythm=self._habits.rhythm,
            shutdown=self._shutdown,
            metrics=self._metrics,
        )
        while (ending := watch.step()) is None:
            self._turn(watch.pause_seconds)
        return ending, watch.news

    def _write_ending(
        self, file: StatusFile, event: Succeeded | Failed | Released, news: Renewed, *, may_leave: bool
    ) -> bool:
        """Write the status until the bucket answers; return whether it is written, and not the task of another."""
        while True:
            self._pace(file)
            try:
                self._in_background(lambda: finish_task(file, event, news=news, may_leave=may_leave))
            except GenerationMismatchError as error:
                logger.warning("Lost the task to another worker, its result is dropped: %s", error)
                return False
            except BucketUnavailableError as error:
                logger.warning("Could not write that the attempt ended, trying again: %s", error)
                self._reach.note("bucket", answers=False)
                self._reach.require()
                self._rest(BUCKET_PAUSE_SECONDS)
            else:
                _log_ending(event)
                return True

    def _let_go(self, delivery: Delivery, act: MessageAct) -> None:
        match act:
            case "ack":
                is_done = self._consumer.ack(delivery)
            case "requeue":
                is_done = self._consumer.requeue(delivery)
            case "delay":
                is_done = self._consumer.delay(delivery, _own_headers(delivery))
        if not is_done:
            logger.info("The message's connection is gone: it comes back by itself and is judged by the bucket.")

    def _dead_letter(self, delivery: Delivery, reason: str) -> None:
        if self._consumer.dead_letter(delivery, reason):
            logger.warning("Sent a message to the dead queue, its task will not be done: %s", reason)
        else:
            logger.info("A message for the dead queue comes back by itself, its connection is gone: %s", reason)

    def _in_background(self, errand: Callable[[], T]) -> T:
        """Do a bucket operation on the other thread, and serve the connection meanwhile."""
        future = self._bucket_thread.submit(errand)
        leave_at: float | None = None
        while not future.done():
            self._turn(TURN_SECONDS)
            if self._shutdown.is_urgent and leave_at is None:
                leave_at = time.monotonic() + LEAVE_SECONDS
            if leave_at is not None and time.monotonic() >= leave_at:
                raise ShutdownRequested
        return future.result()

    def _pace(self, file: StatusFile) -> None:
        """Wait until the status may be written again: a refused write takes longer. Not when asked to leave at once."""
        while (left := file.seconds_until_next_write) > 0 and not self._shutdown.is_urgent:
            self._turn(min(left, TURN_SECONDS))

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._shutdown.is_urgent:
                raise ShutdownRequested
            self._turn(min(left, TURN_SECONDS))

    def _turn(self, seconds: float) -> None:
        """Wait for the child, the bucket or a signal, and serve the connection. No message is wanted now."""
        self._wake_up.wait(seconds, self._keeper.fds)
        self._shutdown.announce()
        self._keeper.listen()
        self._reach.note("queue", answers=self._consumer.is_connected)
        if self._in_hand is not None and not self._consumer.is_current(self._in_hand):
            self._consumer.stop()  # after a reconnection another message would come: not before this one is done
        stray = self._consumer.wait(0.0)
        if stray is not None:
            self._consumer.requeue(stray)
            self._consumer.stop()


def _own_headers(delivery: Delivery) -> Headers:
    """Return the headers that are ours; what the broker added in passing is its own."""
    names = (SEEN_GENERATION_HEADER, PARENT_RUN_HEADER, INSTRUMENTATION_HEADER)
    return {name: delivery.headers[name] for name in names if name in delivery.headers}


def _log_ending(event: Succeeded | Failed | Released) -> None:
    match event:
        case Succeeded(outputs=outputs):
            logger.info("Succeeded with %d outputs.", len(outputs))
        case Failed(error_kind=error_kind, error=error):
            logger.error("Failed (%s): %s", error_kind, error)
        case Released(error=error):
            logger.warning("Gave the task back: %s", error or "it was not computed to its end here.")
