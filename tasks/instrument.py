"""What people see of a run in Prefect: artifacts, events, forwarded logs. Outside a run everything here does nothing.

A Prefect server that is slow or gone never fails or holds up the work: it is asked first, with little patience.
"""

import base64
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, SyncClientContext, get_run_context
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.exceptions import MissingContextError
from prefect.logging.handlers import APILogHandler, APILogWorker, PrefectConsoleHandler
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_JITTER_FACTOR,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

from tasks.errors import ThorQueueError

PROBE_SECONDS = 1.0
"""Patience with a server that is asked whether it is there."""
REQUEST_SECONDS = 2.0
"""Patience with one request of a worker; a stage whose request takes longer is computed unseen."""
RETRIES = 1
"""Tries after the first: a server on SQLite answers 503 when two write at once. A pause of 2 s lies before it."""
SHOW_REQUEST_SECONDS = 10.0
"""Patience with one request of a show beside the work: a busy server takes seconds, a frozen one should not hold it."""
SHOW_RETRIES = 3
"""Tries after the first of a show."""
FLUSH_SECONDS = 5.0
"""Patience with logs and events that are on their way when a command ends."""
FORWARDED = ("tasks", "flows")
"""Loggers whose lines show in Prefect."""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def prefect_answers(seconds: float = PROBE_SECONDS) -> bool:
    """Tell whether a Prefect API is configured and answers within that time. Never starts a server of its own."""
    url = PREFECT_API_URL.value()
    if url is None:
        return False
    try:
        return httpx.get(f"{url}/health", timeout=seconds).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def little_patience() -> Iterator[None]:
    """Inside, a request to Prefect is made with little patience, and flow runs send no heartbeats.

    Heartbeats would round every flow run up to the next whole second. The lease in the bucket says who is alive.
    """
    changes = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_CLIENT_MAX_RETRIES: RETRIES,
        PREFECT_CLIENT_RETRY_JITTER_FACTOR: 0.0,
        PREFECT_API_REQUEST_TIMEOUT: REQUEST_SECONDS,
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
    }
    with temporary_settings(changes):
        yield


@contextlib.contextmanager
def show_patience() -> Iterator[None]:
    """Inside, requests wait as long as is good for a show that nobody waits for, and flow runs send no heartbeats.

    Heartbeats would round every flow run up to the next whole second. The lease in the bucket says who is alive; who
    takes a task over marks the former flow run.
    """
    changes = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_CLIENT_MAX_RETRIES: SHOW_RETRIES,
        PREFECT_API_REQUEST_TIMEOUT: SHOW_REQUEST_SECONDS,
    }
    with temporary_settings(changes):
        yield


BUSY_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Before a request to a busy server is made again. Prefect itself pauses for 2, 4 and 8 s."""


CONNECT_RETRIES = 3
"""As Prefect's own transport has it."""


class BusyServerTransport(httpx.HTTPTransport):
    """Makes a request again, soon, when the server answers 503: one on SQLite does so when two write at once."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the first answer that is not 503, or the last."""
        for pause in BUSY_PAUSES_SECONDS:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            response.close()
            time.sleep(pause)
        return super().handle_request(request)


def transport_settings() -> dict[str, Any]:
    """Return httpx settings by which a client asks a busy server again soon, where the API is a plain server nearby."""
    if not (PREFECT_API_URL.value() or "").startswith("http://"):
        return {}
    return {"transport": BusyServerTransport(retries=CONNECT_RETRIES)}


def show_client_context() -> SyncClientContext:
    """Return a context whose client asks a busy server again soon."""
    settings = transport_settings()
    if not settings:
        return SyncClientContext()
    context = SyncClientContext(httpx_settings=settings)
    # Prefect makes clients anew, and leaves them open, for who asks without these settings: all are to get this one.
    context._httpx_settings = None
    return context


@contextlib.contextmanager
def forwarded_logs() -> Iterator[None]:
    """Show the log lines of our own loggers, INFO and up, at the run that is at work in the thread that logs."""
    with records_to(APILogHandler()):
        yield


@contextlib.contextmanager
def records_to(handler: logging.Handler) -> Iterator[None]:
    """Give the handler the records of our own loggers, INFO and up."""
    handler.setLevel(logging.INFO)
    levels = {name: logging.getLogger(name).level for name in FORWARDED}
    for name in FORWARDED:
        logging.getLogger(name).addHandler(handler)
        if logging.getLogger(name).getEffectiveLevel() > logging.INFO:
            logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)


def forward(record: logging.LogRecord, flow_run_id: UUID | None = None) -> None:
    """Show a log record, of whatever thread, at that flow run; without one at the run that is at work in this one."""
    if flow_run_id is not None:
        record.flow_run_id = str(flow_run_id)
    if flow_run_id is not None or is_in_run():
        APILogHandler().emit(record)


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Inside, Prefect writes to the console only warnings and worse; its UI gets every line as ever.

    Our own errors are told by the command, in a sentence: of their way through flows and tasks the console has nothing.
    """
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    consoles = [each for logger in loggers for each in logger.handlers if isinstance(each, PrefectConsoleHandler)]
    levels = [console.level for console in consoles]
    for console in consoles:
        console.setLevel(logging.WARNING)
        console.addFilter(_is_no_error_of_ours)
    try:
        yield
    finally:
        for console, level in zip(consoles, levels, strict=True):
            console.setLevel(level)
            console.removeFilter(_is_no_error_of_ours)


def _is_no_error_of_ours(record: logging.LogRecord) -> bool:
    is_end = record.name.startswith("prefect.") and record.getMessage().startswith("Finished in state")
    return not (is_end or (record.exc_info and isinstance(record.exc_info[1], ThorQueueError)))


def is_in_run() -> bool:
    """Tell whether a flow or task run of Prefect is at work in this thread."""
    try:
        get_run_context()
    except MissingContextError:
        return False
    return True


def flow_run() -> FlowRun | None:
    """Return the flow run at work as it began, or None outside of one."""
    context = FlowRunContext.get()
    return None if context is None else context.flow_run


def flow_run_id() -> UUID | None:
    """Return the id of the flow run at work, or None outside of one."""
    run = flow_run()
    return None if run is None else run.id


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Put a table beside the run. The same key gives a history."""
    _show_if_possible(
        lambda: create_table_artifact(table=[dict(row) for row in rows], key=artifact_key(key), description=description)
    )


def show_text(key: str, markdown: str, description: str) -> None:
    """Put a page of text beside the run."""
    _show_if_possible(
        lambda: create_markdown_artifact(markdown=markdown, key=artifact_key(key), description=description)
    )


def show_pictures(key: str, title: str, pictures: Sequence[tuple[str, bytes]], *, text: str = "") -> None:
    """Put text and pictures (title, PNG) on one page beside the run."""
    show_text(key, page_of_pictures(title, pictures, text=text), title)


def page_of_pictures(title: str, pictures: Sequence[tuple[str, bytes]], *, text: str = "") -> str:
    """Return a page in markdown with the pictures in it."""
    shown = [f"{name}\n\n![{name}](data:image/png;base64,{base64.b64encode(body).decode()})" for name, body in pictures]
    return "\n\n".join([f"## {title}", *([text] if text else []), *shown])


def tell_event(name: str, *, subject: str, **details: str | float | None) -> None:
    """Emit an event such as thor.task.succeeded about `subject` (such as thor.job.J.task.T)."""
    _show_if_possible(lambda: emit_event(name, resource={"prefect.resource.id": subject}, payload=details))


def flush() -> None:
    """Have everything that is to be shown sent, before the server goes."""
    with contextlib.suppress(Exception):
        APILogWorker.drain_all(timeout=FLUSH_SECONDS)
    with contextlib.suppress(Exception):
        EventsWorker.drain_all(timeout=FLUSH_SECONDS)


def artifact_key(text: str) -> str:
    """Return a key as Prefect wants it: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _show_if_possible(show: Callable[[], Result]) -> Result | None:
    """Call `show` only in a run, and let no failure of it out: what is shown is not the work."""
    if not is_in_run():
        return None
    with not_shown():
        return show()
    return None


@contextlib.contextmanager
def not_shown() -> Iterator[None]:
    """Let no failure of Prefect out of the block: what is shown is not the work."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (Prefect and httpx have many; the work goes on)
        logger.warning("Could not show something in Prefect, the work goes on: %s: %s", type(error).__name__, error)
