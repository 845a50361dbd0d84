"""What people see of a run in Prefect: artifacts, events, forwarded logs. Outside a run everything here does nothing.

A Prefect server that is slow or gone never fails or holds up the work: it is asked first, with little patience.
"""

import base64
import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, get_run_context
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.exceptions import MissingContextError, PrefectSignal
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
from tasks.jobs.attempt_log import heard_by
from tasks.prefect_api.clients import may_show
from tasks.prefect_api.runs import make_artifact

PROBE_SECONDS = 1.0
"""Patience with a server that is asked whether it is there."""
REQUEST_SECONDS = 2.0
"""Patience with one request of an operator's verb."""
RETRIES = 1
"""Tries after the first: a server on SQLite answers 503 when two write at once. A pause of 2 s lies before it."""
FLUSH_SECONDS = 5.0
"""Patience with logs and events that are on their way when a command ends."""
FORWARDED = ("tasks", "flows")
"""Loggers whose lines show in Prefect."""

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


class _LogHandler(APILogHandler):
    """Sends log lines to the run at work in the thread that logs, while the server is asked at all."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line, in the background."""
        if is_in_run() and may_show():
            super().emit(record)


@contextlib.contextmanager
def forwarded_logs() -> Iterator[None]:
    """Show the log lines of our own loggers, INFO and up, at the run that is at work in the thread that logs."""
    handler = _LogHandler()
    handler.setLevel(logging.INFO)
    with heard_by(handler, FORWARDED):
        yield


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Inside, Prefect writes to the console only warnings and worse; its UI gets every line as ever.

    Our own errors are told by the command, in a sentence, and those of a server that fails by its switch: of their way
    through flows and tasks the console has nothing.
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
    return not (is_end or (record.exc_info and isinstance(record.exc_info[1], ThorQueueError | httpx.HTTPError)))


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
    table = [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124 (NaN)
    _show_artifact("table", key, json.dumps(table, default=str), description)


def show_text(key: str, markdown: str, description: str) -> None:
    """Put a page of text beside the run."""
    _show_artifact("markdown", key, markdown, description)


def show_pictures(key: str, title: str, pictures: Sequence[tuple[str, bytes]], *, text: str = "") -> None:
    """Put text and pictures (title, PNG) on one page beside the run."""
    show_text(key, page_of_pictures(title, pictures, text=text), title)


def page_of_pictures(title: str, pictures: Sequence[tuple[str, bytes]], *, text: str = "") -> str:
    """Return a page in markdown with the pictures in it."""
    shown = [f"{name}\n\n![{name}](data:image/png;base64,{base64.b64encode(body).decode()})" for name, body in pictures]
    return "\n\n".join([f"## {title}", *([text] if text else []), *shown])


def tell_event(name: str, *, subject: str, **details: str | float | None) -> None:
    """Emit an event such as thor.task.succeeded about `subject` (such as thor.job.J.task.T)."""
    if is_in_run():
        with not_shown():
            emit_event(name, resource={"prefect.resource.id": subject}, payload=details)


def flush() -> None:
    """Have everything that is to be shown sent, before the server goes."""
    with contextlib.suppress(Exception):
        APILogWorker.drain_all(timeout=FLUSH_SECONDS)
    with contextlib.suppress(Exception):
        EventsWorker.drain_all(timeout=FLUSH_SECONDS)


def _show_artifact(kind: str, key: str, data: str, description: str) -> None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        return
    with not_shown():
        make_artifact(context.client, context.flow_run.id, kind=kind, key=key, data=data, description=description)


@contextlib.contextmanager
def not_shown() -> Iterator[None]:
    """Let no failure of Prefect out of the block: what is shown is not the work."""
    try:
        yield
    except (Exception, PrefectSignal) as error:  # noqa: BLE001 (Prefect and httpx have many; the work goes on)
        if may_show():  # otherwise the switch has told it
            logger.warning("Could not show something in Prefect, the work goes on: %s: %s", type(error).__name__, error)
