"""Log lines of a supervisor: one a line on stderr, each with the task it is about, never with a password."""

import contextlib
import contextvars
import logging
import re
import sys
import time
from collections.abc import Iterator

_subject: contextvars.ContextVar[str] = contextvars.ContextVar("subject", default="")
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
"""Up to the last @ of the word: an unescaped `/` or `@` in a password is a common slip. It hides rather too much."""


def redacted(text: str) -> str:
    """Return the text with the passwords of all URLs in it hidden."""
    return _USER_AND_PASSWORD.sub(r"\1:***@", text)


@contextlib.contextmanager
def about(*, job_id: str, task_id: str, attempt: int | None = None) -> Iterator[None]:
    """Name job, task and attempt on every line that is logged inside."""
    subject = f" job={job_id} task={task_id}" + (f" attempt={attempt}" if attempt is not None else "")
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


class _LineFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__("%(asctime)sZ %(levelname)s worker=" + worker + "%(subject)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.subject = _subject.get()
        return redacted(super().format(record))


def log_to_stderr(worker: str) -> None:
    """Send this process's log lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("pika").setLevel(logging.ERROR)  # it tells each lost connection in ten lines; we tell it in one
