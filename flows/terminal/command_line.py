"""What every `python -m flows.<verb>` shares: exit codes, printing, and whether Prefect is shown the run.

Exit codes: 0 done; 1 something failed or is wrong (the output says what, running again is safe); 2 a person's input is
wrong, and nothing was changed. Tables go to standard output (drawn on a terminal, plain lines elsewhere), errors to
standard error; with --json standard output is one JSON document and nothing else.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ParamSpec, TypeVar

from prefect import Flow
from prefect.settings import PREFECT_API_URL
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table

from tasks.errors import BadInputError, EngineUnavailableError, PrefectUnavailableError, ThorQueueError
from tasks.prefect_api import instrument
from tasks.records.ids import TaskId

DONE = 0
FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
"""As shells say of a process that Ctrl-C ended."""
REQUIRED_SECONDS = 10.0
"""Patience with a Prefect server that a command is nothing without: a busy one answers late."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def show_run(verb: Flow[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    """Call the flow of an operator's verb: as a flow run when a Prefect API answers, else the plain function.

    Prefect would start a server of its own for many seconds, just to flip a status. When Prefect fails half-way the
    function is called again without it: every verb may run twice.
    """
    if not instrument.prefect_answers():
        return verb.fn(*args, **kwargs)
    try:
        with instrument.little_patience(), instrument.forwarded_logs():
            return verb(*args, **kwargs)
    except ThorQueueError:
        raise
    except Exception as error:  # noqa: BLE001 (Prefect and its libraries raise many; the verb is ours)
        logger.warning("Prefect does not show this run, the work goes on: %s: %s", type(error).__name__, error)
        return verb.fn(*args, **kwargs)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM ends the command as Ctrl-C does: what it started is stopped in order, not killed with it.

    Once: a second SIGTERM does not disturb that. For the main thread.
    """

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def require_prefect(purpose: str) -> str:
    """Return the URL of the Prefect API, after a look that it answers: for commands that are nothing without it.

    Raises
    ------
    BadInputError
        If none is configured.
    PrefectUnavailableError
        If it does not answer.
    """
    url: str | None = PREFECT_API_URL.value()
    if url is None:
        raise BadInputError(
            f"Cannot {purpose}: no Prefect server is configured. Start one (`prefect server start`), and set "
            "PREFECT_API_URL, such as http://127.0.0.1:4200/api."
        )
    if not instrument.prefect_answers(REQUIRED_SECONDS):
        raise PrefectUnavailableError(f"Cannot {purpose}: {url} does not answer. Start it, or correct the URL.")
    return url


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command, tell its errors to the person, and return the exit code of the process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        code = command()
        sys.stdout.flush()
    except (BadInputError, EngineUnavailableError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except ThorQueueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt as error:
        print(str(error) or "Interrupted. Running the same command again completes it.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (as `head` does); the interpreter's own last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def print_json(report: object) -> None:
    """Print a report (dataclasses, pydantic models and what they hold) as one JSON document."""
    print(json.dumps(to_jsonable_python(report), indent=1))  # noqa: T201


def print_line(text: str = "") -> None:
    """Print a line for people, as it is."""
    print(text)  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: drawn on a terminal, else one plain line a row with aligned columns. None is shown as "-"."""
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    console = Console()
    if console.is_terminal:
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in texts:
            # Texts come from a bucket: brackets in them are no markup.
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for row in [list(columns), *texts]:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_faults(faults: Mapping[TaskId, str]) -> None:
    """Print what is wrong with single tasks."""
    for task_id, fault in faults.items():
        print_line(f"Task {task_id}: {fault}")
