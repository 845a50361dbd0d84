"""An attempt and its show: the child's main thread computes, and another thread shows people in Prefect what it does.

The work never waits for Prefect: a server that is slow, gone or frozen makes the show late or ends it, no more. The
show follows the work: a stage's flow run lasts as long as its stage, and is told afterwards when the show is late.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from logging.handlers import QueueHandler
from uuid import UUID

from flows.shown.show_thread import ShowThread
from tasks import instrument
from tasks.engines.interface import STAGES, Stage
from tasks.jobs.run_attempt import Attempt, Ending, StageReport
from tasks.records.assignment import Assignment, CancelAsked, FlowRunStarted, Tell
from tasks.results.task_sight import TaskSight, sight_of_task

LAST_PATIENCE_SECONDS = 4.5
"""A process that leaves waits so long for its last shows: its supervisor kills it after 5 s."""
RELAY_SECONDS = 0.1
"""Log lines are passed on so often."""
LOOK_SECONDS = 5.0
"""So often the show looks whether somebody cancelled the run in the UI."""

logger = logging.getLogger(__name__)

_shows = ShowThread()


class RunCancelledError(Exception):
    """Somebody cancelled the flow run that shows the attempt."""


class AttemptShow:
    """One attempt with its show. `run` and what it calls are the work's side, all else the show's."""

    def __init__(self, assignment: Assignment, *, shows_stages: bool, tell: Tell) -> None:
        self.assignment = assignment
        self.shows_stages = shows_stages
        #: How the attempt ended, and what each stage did; complete once it is over.
        self.ending: Ending | None = None
        self.reports: Mapping[Stage, StageReport] = {}
        self.error: Exception | None = None
        #: What a picture of the task needs; None: there is nothing to be seen, or nobody wants to see it.
        self.sight: TaskSight | None = None
        self._tell = tell
        self._began = {stage: threading.Event() for stage in STAGES}
        self._ended = {stage: threading.Event() for stage in STAGES}
        self._over = threading.Event()
        # Log lines by the stage at work; under None what lies before and after the stages.
        self._lines: dict[Stage | None, queue.SimpleQueue[logging.LogRecord]] = {
            stage: queue.SimpleQueue() for stage in (None, *STAGES)
        }
        self._at_work: Stage | None = None
        self._is_cancelled: Callable[[], bool] = lambda: False
        self._look_at = 0.0

    def run(self, attempt: Attempt, play: Callable[[], None]) -> None:
        """Run the attempt to its end while `play` shows it in the thread of shows."""
        self.reports = attempt.reports
        if not _shows.show(lambda: self._play(play)):
            logger.warning("Does not show this attempt in Prefect: its server is too slow, or does not answer.")
        try:
            with _shows.while_computing(), instrument.records_to(_LinesOfShow(self)):
                attempt.run(lambda stage: self._run_stage(attempt, stage))
        finally:
            # Of the attempt itself nothing is kept: its tables may be large, and the show be late.
            self.ending, self.error = attempt.ending, attempt.error
            if self.shows_stages:
                with instrument.not_shown():
                    self.sight = sight_of_task(attempt.tables)
            self._over.set()

    def _run_stage(self, attempt: Attempt, stage: Stage) -> None:
        self._began[stage].set()
        self._at_work = stage
        try:
            attempt.run_stage(stage)
        finally:
            self.error = attempt.error
            self._at_work = None
            self._ended[stage].set()

    def keep_line(self, record: logging.LogRecord) -> None:
        """Take a log line of the work, to show it at the stage that it belongs to."""
        self._lines[self._at_work].put(record)

    def _play(self, play: Callable[[], None]) -> None:
        # Nobody waits for this thread, and a busy server answers late: more patience than where somebody does.
        if instrument.prefect_answers(instrument.SHOW_REQUEST_SECONDS):
            play()

    def begin(self, flow_run_id: UUID, *, is_cancelled: Callable[[], bool]) -> None:
        """Note the flow run that shows the attempt: the first line of its flow."""
        self._is_cancelled = is_cancelled
        self._tell(FlowRunStarted(prefect_flow_run_id=str(flow_run_id)))

    def tell_cancelled(self) -> None:
        """Have the supervisor end the attempt; nothing comes of it when that is over already."""
        self._tell(CancelAsked())

    def has_ended(self, stage: Stage) -> bool:
        """Whether the stage is over, for better or worse."""
        return self._ended[stage].is_set()

    def await_beginning(self, stage: Stage) -> bool:
        """Wait until the stage begins; False: the attempt ended before."""
        while not self._began[stage].is_set() and not self._over.is_set():
            self._pause(self._began[stage], None, None)
        return self._began[stage].is_set()

    def await_end(self, stage: Stage, flow_run_id: UUID) -> None:
        """Wait until the stage has ended, and pass its log lines on to that flow run."""
        while not self._ended[stage].is_set():
            self._pause(self._ended[stage], stage, flow_run_id)
        self.relay(stage, flow_run_id)

    def await_ending(self) -> None:
        """Wait until the attempt has ended."""
        while not self._over.is_set():
            self._pause(self._over, None, None)
        for stage in (*STAGES, None):
            self.relay(stage, None)

    def _pause(self, event: threading.Event, stage: Stage | None, flow_run_id: UUID | None) -> None:
        event.wait(RELAY_SECONDS)
        self.relay(stage, flow_run_id)
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            is_cancelled = False
            with instrument.not_shown():
                is_cancelled = self._is_cancelled()
            if is_cancelled:
                raise RunCancelledError

    def relay(self, stage: Stage | None, flow_run_id: UUID | None) -> None:
        """Pass the log lines of a stage on to that flow run; None: to the one at work in the show."""
        with contextlib.suppress(queue.Empty):
            while True:
                instrument.forward(self._lines[stage].get_nowait(), flow_run_id)


class _LinesOfShow(QueueHandler):
    """Keeps log lines ready for another thread, with their arguments filled in."""

    def __init__(self, show: AttemptShow) -> None:
        super().__init__(queue.SimpleQueue())
        self._show = show

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take a prepared line."""
        self._show.keep_line(record)


def at_leisure(act: Callable[[], None]) -> None:
    """Have something shown when this process does not compute."""
    _shows.at_leisure(act)


def finish_shows(seconds: float = LAST_PATIENCE_SECONDS) -> None:
    """Wait for the shows that are still on; what is not shown by then never is.

    Call it before the interpreter begins to end: Prefect can't send anything any more when it does.
    """
    _shows.finish(seconds)
    instrument.flush()
