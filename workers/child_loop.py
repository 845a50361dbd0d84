"""The child's end: read an assignment, compute it, tell how it went, wait for the next. Loads no numerics."""

import argparse
import faulthandler
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, NoReturn, Protocol

from pydantic import BaseModel

from tasks.errors import ShutdownRequested
from tasks.jobs.out_of_memory import is_out_of_memory
from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    ChildReady,
    FromChild,
    LeaseRenewed,
    ReadyToUpload,
    Tell,
    line_from_record,
    to_child_from_line,
)
from workers.mortality import die_with

AwaitLease = Callable[[], None]

OUT_OF_MEMORY_EXIT = 70
"""Exit code of a child that is out of memory: what it still holds can't be trusted, so another takes its place."""


class RunAssignment(Protocol):
    """Computes one attempt; tells exactly one of succeeded, failed, released at its end."""

    def __call__(self, assignment: Assignment, *, tell: Tell, await_lease: AwaitLease) -> None:
        """Compute."""
        ...


def child_arguments() -> argparse.Namespace:
    """Parse what `ChildProcess` puts on the command line."""
    parser = argparse.ArgumentParser(description="Computes tasks for a supervisor; started by `python -m workers`.")
    parser.add_argument("--commands-fd", type=int, required=True)
    parser.add_argument("--reports-fd", type=int, required=True)
    parser.add_argument("--supervisor-pid", type=int, required=True)
    return parser.parse_args()


class SupervisorPipes:
    """The two pipes to the supervisor, one JSON object a line."""

    def __init__(self, *, commands: BinaryIO, reports: BinaryIO) -> None:
        self._commands = commands
        self._reports = reports
        self._lock = threading.Lock()

    def tell(self, record: BaseModel) -> None:
        """Send a line. From any thread."""
        with self._lock:
            self._reports.write(line_from_record(record))
            self._reports.flush()

    def hear(self) -> Assignment | LeaseRenewed | None:
        """Wait for a line; None: the supervisor wants no more of us."""
        line = self._commands.readline()
        return to_child_from_line(line) if line else None

    def await_lease(self) -> None:
        """Tell that the outputs are ready, and block until the supervisor has made sure that the task is still ours."""
        self.tell(ReadyToUpload())
        if self.hear() is None:
            raise ShutdownRequested


class _AttemptVoice:
    """Tells of one attempt: after its end nothing more, lest the supervisor take it for a word on the next one.

    The thread that looks whether its run was cancelled has its word, too, and may be late.
    """

    def __init__(self, pipes: SupervisorPipes) -> None:
        self._pipes = pipes
        self._has_ended = False
        self._lock = threading.Lock()

    def tell(self, record: FromChild) -> None:
        with self._lock:
            if not self._has_ended:
                self._has_ended = isinstance(record, AttemptSucceeded | AttemptFailed | AttemptReleased)
                self._pipes.tell(record)


def serve(pipes: SupervisorPipes, run_assignment: RunAssignment) -> None:
    """Compute what the supervisor assigns, until it closes the pipe."""
    pipes.tell(ChildReady())
    while isinstance(assignment := pipes.hear(), Assignment):
        voice = _AttemptVoice(pipes)
        try:
            run_assignment(assignment, tell=voice.tell, await_lease=pipes.await_lease)
            fault = "The computation returned without a result: this is a fault of the program."
        except ShutdownRequested:
            return
        except Exception as error:  # noqa: BLE001 (a fault of ours must become the task's error, with its traceback)
            if is_out_of_memory(error):
                _leave_out_of_memory()
            fault = traceback.format_exc()
        voice.tell(AttemptFailed(error_kind="task_error", error=fault))


def _leave_out_of_memory() -> NoReturn:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(OUT_OF_MEMORY_EXIT)


def main(prepare: Callable[[], RunAssignment], *, memory_bytes: int | None) -> None:
    """Be a child: die with the supervisor, bound the memory, `prepare` (warm the kernels), serve."""
    arguments = child_arguments()
    die_with(arguments.supervisor_pid)
    faulthandler.enable()  # a segmentation fault tells its traceback
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with os.fdopen(arguments.commands_fd, "rb") as commands, os.fdopen(arguments.reports_fd, "wb") as reports:
        # What a grandchild inherits would keep the pipes open after our death.
        for fd in (arguments.commands_fd, arguments.reports_fd):
            os.set_inheritable(fd, False)
        serve(SupervisorPipes(commands=commands, reports=reports), prepare())
