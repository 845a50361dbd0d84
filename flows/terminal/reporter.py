"""What a command tells the person at the terminal: progress bars where there is a terminal, plain lines otherwise.

Flows speak to the reporter of their context; a flow that Prefect started by itself speaks to the log.
"""

import contextvars
import logging
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tasks.records.progress import JobProgress
from tasks.wording import counted

PLAIN_LINE_SECONDS = 5.0
"""Without a terminal, seconds between two lines of progress at least; a task that failed is told at once."""

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """What is told how a job goes on."""

    def say(self, text: str) -> None:
        """Hear a sentence."""
        ...

    def warn(self, text: str) -> None:
        """Hear about something that a person should know, though the job goes on."""
        ...

    def progress(self, progress: JobProgress) -> None:
        """Hear how far the tasks are."""
        ...

    def close(self) -> None:
        """Hear no more."""
        ...


def line_from_progress(progress: JobProgress) -> str:
    """Return the counts in words."""
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.completed} of {counted(progress.total, 'task')} done{failed}, {progress.in_progress} in progress"


class News:
    """Tells which progress is worth a line: a change, at most so often, and each failure and the end at once."""

    def __init__(self) -> None:
        self._told_at = float("-inf")
        self._told: JobProgress | None = None

    def is_in(self, progress: JobProgress) -> bool:
        """Return whether this progress is worth a line; if so, it is remembered as told."""
        failed_before = self._told.failed if self._told else 0
        is_due = time.monotonic() - self._told_at >= PLAIN_LINE_SECONDS
        is_urgent = progress.failed > failed_before or progress.is_complete
        if progress == self._told or not (is_due or is_urgent):
            return False
        self._told, self._told_at = progress, time.monotonic()
        return True


class LogReporter:
    """Writes to the log, which Prefect shows."""

    def __init__(self) -> None:
        self._news = News()

    def say(self, text: str) -> None:
        """Hear a sentence."""
        logger.info("%s", text)

    def warn(self, text: str) -> None:
        """Hear a warning."""
        logger.warning("%s", text)

    def progress(self, progress: JobProgress) -> None:
        """Hear how far the tasks are."""
        if self._news.is_in(progress):
            logger.info("%s", line_from_progress(progress))

    def close(self) -> None:
        """Hear no more."""


class PlainReporter:
    """Lines on stderr, for a log file or a pipe."""

    def __init__(self) -> None:
        self._news = News()

    def say(self, text: str) -> None:
        """Hear a sentence."""
        logger.info("%s", text)
        print(text, file=sys.stderr, flush=True)  # noqa: T201 (this is what a person reads)

    def warn(self, text: str) -> None:
        """Hear a warning."""
        self.say(f"Warning: {text}")

    def progress(self, progress: JobProgress) -> None:
        """Hear how far the tasks are."""
        if self._news.is_in(progress):
            self.say(line_from_progress(progress))

    def close(self) -> None:
        """Hear no more."""


class TerminalReporter:
    """A bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("Tasks"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._row: TaskID | None = None

    def say(self, text: str) -> None:
        """Hear a sentence."""
        logger.info("%s", text)
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Hear a warning."""
        logger.info("Warning: %s", text)
        self._console.print(f"Warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)

    def progress(self, progress: JobProgress) -> None:
        """Hear how far the tasks are."""
        if self._row is None:
            self._bar.start()
            self._row = self._bar.add_task("", total=progress.total)
        failed = f", {progress.failed} failed" if progress.failed else ""
        description = f"{progress.in_progress} in progress{failed}"
        self._bar.update(self._row, completed=progress.completed, description=description)
        if progress.is_complete:
            self._bar.stop()

    def close(self) -> None:
        """Hear no more."""
        self._bar.stop()


def reporter_for_terminal() -> Reporter:
    """Return what fits the terminal of this process; stdout stays free for results."""
    console = Console(stderr=True)
    return TerminalReporter(console) if console.is_terminal else PlainReporter()


_present: contextvars.ContextVar[Reporter] = contextvars.ContextVar("reporter")


def use_reporter(reporter: Reporter) -> None:
    """Have the flows of this context tell `reporter`."""
    _present.set(reporter)


def reporter() -> Reporter:
    """Return the reporter of this context: the log's, by default."""
    if _present.get(None) is None:
        use_reporter(LogReporter())
    return _present.get()
