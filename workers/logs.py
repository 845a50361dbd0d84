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
_RECORD_KEY = "log_record"
_RECORD = f'{{"{_RECORD_KEY}": '
OURS = ("flows", "tasks", "workers")
"""Loggers of our own packages."""
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


def at_stage(stage: str) -> None:
    """Name the stage on every line that is logged from here on, inside of `about`."""
    _subject.set({**_subject.get(), "stage": stage})


def _subject_of(record: logging.LogRecord) -> _Subject:
    stage = getattr(record, "fields", {}).get("stage")  # that of a line of the child, which may have gone on since
    return {**_subject.get(), **({} if stage is None else {"stage": stage})}


class _LineFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__("%(asctime)sZ %(levelname)s worker=" + worker + "%(subject)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.subject = "".join(f" {name}={value}" for name, value in _subject_of(record).items())
        return redacted(super().format(record))


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, worker, message; job, task, attempt and stage where there are any.

    What a line has to tell in numbers stands in fields of their own, such as `seconds` and `counts` of a stage.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__("%(message)s", "%Y-%m-%dT%H:%M:%S")
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        message = redacted(super().format(record))  # with the traceback, if there is one
        time_utc = f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z"
        fields = {"time": time_utc, "level": record.levelname, "worker": self._worker, **_subject_of(record)}
        fields |= getattr(record, "fields", {})
        return json.dumps({**fields, "logger": record.name, "message": message})


class ChildLines:
    """Logs what a child prints: its own records as they are, with level and fields; anything else as text.

    What is printed at once and is no record, such as the traceback of a library, stays one record.
    """

    def __init__(self) -> None:
        self._begun = ""

    def __call__(self, printed: str) -> None:
        """Log a piece of what was printed; the beginning of a record waits for the rest of its line."""
        *lines, rest = (self._begun + printed).split("\n")
        self._begun = rest if rest.startswith(_RECORD[: len(rest)]) else ""
        text: list[str] = []
        for line in [*lines, *([rest] if rest and not self._begun else [])]:
            record = _record_from_line(line)
            if record is None:
                text.append(line)
                continue
            _log_text(text)
            text.clear()
            logging.getLogger(record.name).handle(record)
        _log_text(text)


def _log_text(lines: list[str]) -> None:
    text = "\n".join(lines).strip()
    if text:
        _child_logger.info("%s", text)


def _record_from_line(line: str) -> logging.LogRecord | None:
    if not line.startswith(_RECORD):
        return None
    try:
        values = json.loads(line)[_RECORD_KEY]
    except ValueError:
        return None
    return logging.makeLogRecord(values)


class _ToSupervisor(logging.Formatter):
    """A record as one line of JSON, which the supervisor logs as its own."""

    def format(self, record: logging.LogRecord) -> str:
        kept = ("name", "levelno", "levelname", "created", "msecs", "fields")
        values = {name: getattr(record, name) for name in kept if hasattr(record, name)}
        return json.dumps({_RECORD_KEY: {**values, "msg": super().format(record)}}, default=str)


def log_to_supervisor() -> None:
    """Send the log lines of this process, a child, to its supervisor: ours from INFO on, others' from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ToSupervisor("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def log_to_stderr(worker: str, *, as_json: bool = False) -> None:
    """Send this process's log lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(worker) if as_json else _LineFormatter(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("pika").setLevel(logging.ERROR)  # it tells each lost connection in ten lines; we tell it in one
