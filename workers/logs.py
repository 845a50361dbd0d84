"""Log lines of a supervisor: one a line on stderr, as text or JSON, each with its task, never with a password."""

import contextlib
import contextvars
import json
import logging
import sys
import time
from collections.abc import Iterator

from tasks.broker.urls import redacted

_Subject = dict[str, str | int]
_subject: contextvars.ContextVar[_Subject] = contextvars.ContextVar("subject", default={})  # noqa: B039 (never changed)
_child_logger = logging.getLogger("workers.child")


@contextlib.contextmanager
def about(*, job_id: str, task_id: str, attempt: int | None = None) -> Iterator[None]:
    """Name job, task and attempt on every line that is logged inside."""
    subject: _Subject = {"job": job_id, "task": task_id}
    token = _subject.set(subject if attempt is None else {**subject, "attempt": attempt})
    try:
        yield
    finally:
        _subject.reset(token)


class _LineFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__("%(asctime)sZ %(levelname)s worker=" + worker + "%(subject)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.subject = "".join(f" {name}={value}" for name, value in _subject.get().items())
        return redacted(super().format(record))


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, worker, job, task, attempt (where there is one), message."""

    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__("%(message)s", "%Y-%m-%dT%H:%M:%S")
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        message = redacted(super().format(record))  # with the traceback, if there is one
        time_utc = f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z"
        fields = {"time": time_utc, "level": record.levelname, "worker": self._worker, **_subject.get()}
        return json.dumps({**fields, "logger": record.name, "message": message})


def print_on(printed: str) -> None:
    """Pass on what a child printed, as it is but for passwords."""
    sys.stderr.write(redacted(printed))
    sys.stderr.flush()


def log_on(printed: str) -> None:
    """Pass on what a child printed as log lines, where every line of stderr must be one."""
    for line in printed.splitlines():
        _child_logger.info("%s", line)


def log_to_stderr(worker: str, *, as_json: bool = False) -> None:
    """Send this process's log lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(worker) if as_json else _LineFormatter(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("pika").setLevel(logging.ERROR)  # it tells each lost connection in ten lines; we tell it in one
