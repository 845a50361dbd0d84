"""What people see of a run in Prefect: artifacts, events, forwarded logs. Outside a run everything here does nothing.

A Prefect server that is slow or gone never fails or holds up the work: it is asked first, with little patience.
"""

import base64
import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, get_run_context
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
from prefect.states import Crashed

PROBE_SECONDS = 1.0
"""Patience with a server that is asked whether it is there."""
REQUEST_SECONDS = 2.0
"""Patience with one request of a worker; a stage whose request takes longer is computed unseen."""
RETRIES = 1
"""Tries after the first: a server on SQLite answers 503 when two write at once. A pause of 2 s lies before it."""
FLUSH_SECONDS = 5.0
"""Patience with logs and events that are on their way when a command ends."""
FORWARDED = ("tasks", "flows")
"""Loggers whose lines show in Prefect."""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def prefect_answers() -> bool:
    """Tell whether a Prefect API is configured and answers at once. Never starts a server of its own."""
    url = PREFECT_API_URL.value()
    if url is None:
        return False
    try:
        return httpx.get(f"{url}/health", timeout=PROBE_SECONDS).is_success
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
def without_heartbeats() -> Iterator[None]:
    """Inside, flow runs send no heartbeats, which would round each up to the next whole second.

    The lease in the bucket says who is alive; who takes a task over marks the former flow run.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


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


def forward(record: logging.LogRecord) -> None:
    """Show a log record, of whatever thread, at the run that is at work in this one."""
    if is_in_run():
        APILogHandler().emit(record)


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Inside, Prefect writes to the console only warnings and worse; its UI gets every line as ever."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    consoles = [each for logger in loggers for each in logger.handlers if isinstance(each, PrefectConsoleHandler)]
    levels = [console.level for console in consoles]
    for console in consoles:
        console.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for console, level in zip(consoles, levels, strict=True):
            console.setLevel(level)


def is_in_run() -> bool:
    """Tell whether a flow or task run of Prefect is at work in this thread."""
    try:
        get_run_context()
    except MissingContextError:
        return False
    return True


def flow_run_id() -> str | None:
    """Return the id of the flow run at work, or None outside of one."""
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else str(context.flow_run.id)


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Put a table beside the run. The same key gives a history."""
    _show_if_possible(
        lambda: create_table_artifact(
            table=[dict(row) for row in rows], key=_artifact_key(key), description=description
        )
    )


def show_pictures(key: str, title: str, pictures: Sequence[tuple[str, bytes]]) -> None:
    """Put pictures (title, PNG) on one page beside the run."""
    shown = [f"![{name}](data:image/png;base64,{base64.b64encode(body).decode()})" for name, body in pictures]
    _show_if_possible(
        lambda: create_markdown_artifact(
            markdown="\n\n".join([f"## {title}", *shown]), key=_artifact_key(key), description=title
        )
    )


class ProgressBar:
    """A bar beside the run, from 0 to 100 %."""

    def __init__(self, key: str, description: str) -> None:
        self._percent = 0.0
        made = _show_if_possible(
            lambda: create_progress_artifact(progress=0.0, key=_artifact_key(key), description=description)
        )
        self._id = made if isinstance(made, UUID) else None

    def show(self, percent: float) -> None:
        """Move the bar; nothing is sent when it stays where it is."""
        artifact_id = self._id
        if artifact_id is None or percent == self._percent:
            return
        self._percent = percent
        _show_if_possible(lambda: update_progress_artifact(artifact_id=artifact_id, progress=percent))


def tell_event(name: str, *, subject: str, **details: str | float | None) -> None:
    """Emit an event such as thor.task.succeeded about `subject` (such as thor.job.J.task.T)."""
    _show_if_possible(lambda: emit_event(name, resource={"prefect.resource.id": subject}, payload=details))


def flush() -> None:
    """Have everything that is to be shown sent, before the server goes."""
    with contextlib.suppress(Exception):
        APILogWorker.drain_all(timeout=FLUSH_SECONDS)
    with contextlib.suppress(Exception):
        EventsWorker.drain_all(timeout=FLUSH_SECONDS)


def mark_crashed(lost_flow_run_id: str, *, by: str) -> None:
    """Mark the flow run of an attempt that was lost as Crashed: its process can't do it any more."""
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:
        state: State[None] = Crashed(message=f"Its worker was lost; {by} took the task over.")
        client.set_flow_run_state(UUID(lost_flow_run_id), state, force=True)


def _artifact_key(text: str) -> str:
    """Return a key as Prefect wants it: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _show_if_possible(show: Callable[[], Result]) -> Result | None:
    """Call `show` only in a run, and let no failure of it out: what is shown is not the work."""
    if not is_in_run():
        return None
    try:
        return show()
    except Exception as error:  # noqa: BLE001 (Prefect and httpx have many; the work goes on)
        logger.warning("Could not show something in Prefect, the work goes on: %s: %s", type(error).__name__, error)
        return None
