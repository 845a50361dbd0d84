"""An attempt and its show: the child's main thread computes, and another thread shows people in Prefect what it does.

The work never waits for Prefect: a server that is slow, gone or frozen makes the show late or ends it, no more. The
show waits for the work: a stage's flow run lasts as long as its stage, and begins late when the server is slow.
"""

import atexit
import contextlib
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable
from logging.handlers import QueueHandler

from tasks import instrument
from tasks.engines.interface import STAGES, Stage
from tasks.jobs.run_attempt import Attempt
from tasks.records.assignment import FlowRunStarted, Tell

PATIENCE_SECONDS = 2.0
"""A finished attempt waits so long for its show; then the show goes on by itself beside the next attempt."""
MOST_SHOWS = 3
"""Shows at one time in a process: so many attempts may the show be behind the work."""
ROOM_SECONDS = 20.0
"""An attempt waits so long for the shows of earlier ones, as long as the server answers; then it is not shown."""
LAST_PATIENCE_SECONDS = 4.5
"""A process that leaves waits so long for its last shows."""
RELAY_SECONDS = 0.1
"""Log lines are passed on so often."""

logger = logging.getLogger(__name__)

_shows: list["AttemptShow"] = []


class AttemptShow:
    """One attempt with its show. `run_stage` and `tell_flow_run` are the work's side, all else the show's."""

    def __init__(self, attempt: Attempt, *, shows_stages: bool) -> None:
        self.attempt = attempt
        self.shows_stages = shows_stages
        self._began = {stage: threading.Event() for stage in STAGES}
        self._ended = {stage: threading.Event() for stage in STAGES}
        self._over = threading.Event()
        self._flow_run_id: str | None = None
        # Log lines by the stage at work; under None what lies before and after the stages.
        self._lines: dict[Stage | None, queue.SimpleQueue[logging.LogRecord]] = {
            stage: queue.SimpleQueue() for stage in (None, *STAGES)
        }
        self._at_work: Stage | None = None
        self._thread: threading.Thread | None = None

    def run(self, play: Callable[[], None], *, tell: Tell) -> None:
        """Run the attempt to its end while `play` shows it in a thread of its own."""
        if _has_room():
            self._thread = threading.Thread(
                target=contextvars.copy_context().run, args=(self._play, play), name="show", daemon=True
            )
            _shows.append(self)
            self._thread.start()
        else:
            logger.warning("Does not show this attempt in Prefect: its server is too slow, or does not answer.")
        try:
            with instrument.records_to(_LinesOfShow(self)):
                self.attempt.run(lambda stage: self._run_stage(stage, tell))
        finally:
            self._over.set()
            self.join(PATIENCE_SECONDS)

    @property
    def is_on(self) -> bool:
        """Whether there is still something to show."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the show, but not for longer."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run_stage(self, stage: Stage, tell: Tell) -> None:
        """Compute a stage. Only the work's thread tells the supervisor anything: the ending is the last thing told."""
        self._began[stage].set()
        if self._flow_run_id is not None:
            tell(FlowRunStarted(prefect_flow_run_id=self._flow_run_id))
            self._flow_run_id = None
        self._at_work = stage
        try:
            self.attempt.run_stage(stage)
        finally:
            self._at_work = None
            self._ended[stage].set()

    def keep_line(self, record: logging.LogRecord) -> None:
        """Take a log line of the work, to show it at the stage that it belongs to."""
        self._lines[self._at_work].put(record)

    def _play(self, play: Callable[[], None]) -> None:
        try:
            if instrument.prefect_answers():
                play()
        except Exception as error:  # noqa: BLE001 (whatever Prefect raises, the work is ours)
            logger.warning("Prefect does not show the whole of an attempt: %s: %s", type(error).__name__, error)

    def begin(self) -> None:
        """Note the flow run that shows the attempt: the first line of its flow."""
        self._flow_run_id = instrument.flow_run_id()

    def await_beginning(self, stage: Stage) -> bool:
        """Wait until the stage begins; False: the attempt ended before."""
        while not self._began[stage].is_set() and not self._over.is_set():
            self._relay(None)
            self._began[stage].wait(RELAY_SECONDS)
        return self._began[stage].is_set()

    def await_end(self, stage: Stage) -> None:
        """Wait until the stage has ended; raises what it raised."""
        while not self._ended[stage].wait(RELAY_SECONDS):
            self._relay(stage)
        self._relay(stage)
        if stage not in self.attempt.reports and self.attempt.error is not None:
            raise self.attempt.error

    def await_ending(self) -> None:
        """Wait until the attempt has ended."""
        while not self._over.wait(RELAY_SECONDS):
            self._relay(None)
        for stage in (*STAGES, None):
            self._relay(stage)

    def _relay(self, stage: Stage | None) -> None:
        """Pass log lines on to the flow run that is at work in the show."""
        with contextlib.suppress(queue.Empty):
            while True:
                instrument.forward(self._lines[stage].get_nowait())


class _LinesOfShow(QueueHandler):
    """Keeps log lines ready for another thread, with their arguments filled in."""

    def __init__(self, show: AttemptShow) -> None:
        super().__init__(queue.SimpleQueue())
        self._show = show

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take a prepared line."""
        self._show.keep_line(record)


def _has_room() -> bool:
    """Tell whether one more attempt can be shown; wait for that while the server is there, and only slow."""
    until = time.monotonic() + ROOM_SECONDS
    while True:
        _shows[:] = [show for show in _shows if show.is_on]
        if len(_shows) < MOST_SHOWS:
            return True
        if time.monotonic() > until or not instrument.prefect_answers():
            return False
        _shows[0].join(RELAY_SECONDS)


def finish_shows(seconds: float = LAST_PATIENCE_SECONDS) -> None:
    """Wait for the shows that are still on, before the process leaves."""
    until = time.monotonic() + seconds
    for show in _shows:
        show.join(max(0.0, until - time.monotonic()))
    instrument.flush()


atexit.register(finish_shows)
