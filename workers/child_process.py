"""The supervisor's end of the child: start it, talk to it over pipes of its own, watch it die.

What the child prints is passed on to the supervisor's stderr, and its last lines are kept to tell why it died.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from tasks.broker.urls import redacted
from tasks.records.assignment import Assignment, ChildReady, FromChild, from_child_from_line, line_from_record
from workers.child_loop import OUT_OF_MEMORY_EXIT
from workers.logs import ChildLines

TAIL_BYTES = 4000
"""How much of what the child printed last is kept: enough for a traceback, small beside a status."""
KILL_SECONDS = 5.0
"""A killed process that the kernel holds for longer (a hung disk) is left to it: it computes no more, and the
queue's heartbeats can't wait."""
FAREWELL_SECONDS = 5.0
"""A child whose pipe is closed has this time to die, and to say of what: pipes close before a traceback is
printed, and before a crashed process is gone."""
_LOOK_SECONDS = 0.01
_READ_BYTES = 65536
_LONGEST_LINE = 4 * 2**20


class ChildProcess:
    """One child. It must be started by the main thread: it dies with the thread that starts it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._log = ChildLines()
        commands_read, self._commands = os.pipe()
        self._reports, reports_write = os.pipe()
        self._popen = subprocess.Popen(
            [
                *command,
                f"--commands-fd={commands_read}",
                f"--reports-fd={reports_write}",
                f"--supervisor-pid={os.getpid()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(commands_read, reports_write),
            start_new_session=True,  # Ctrl-C is for the supervisor, which lets the task finish
        )
        os.close(commands_read)
        os.close(reports_write)
        assert self._popen.stdout is not None  # noqa: S101 (it is a pipe)
        self._printed = self._popen.stdout.fileno()
        os.set_blocking(self._reports, False)
        os.set_blocking(self._printed, False)
        self._open_fds = [self._reports, self._printed]
        self._partial = b""
        self._heard: list[FromChild] = []
        self._tail = b""
        self._killed_because: str | None = None
        self._is_dismissed = False
        self._is_over = False
        self._farewell_until = float("inf")
        self.is_ready = False

    @property
    def fds(self) -> Sequence[int]:
        """Wait for these to be readable, then call `listen`."""
        return tuple(self._open_fds)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def assign(self, assignment: Assignment) -> None:
        """Have it begin an attempt; what it printed before has nothing to do with this one."""
        self.listen()
        self._tail = b""
        self.tell(assignment)

    def tell(self, record: BaseModel) -> None:
        """Send a line. A child that is dead does not hear it: `is_dead` says so."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, line_from_record(record))

    def listen(self) -> None:
        """Read what has come, without waiting."""
        self._forward()
        if self._reports in self._open_fds:
            *lines, self._partial = (self._partial + self._read(self._reports)).split(b"\n")
            if not all(map(self._hear, lines)) or len(self._partial) > _LONGEST_LINE:
                self.kill("it sent a line that is no report")

    def take_reports(self) -> list[FromChild]:
        """Return what the child has told since the last call."""
        self.listen()
        heard, self._heard = self._heard, []
        return heard

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended. One that closed its reports and lives on can tell nothing: it is killed."""
        if not self._is_over:
            if self._has_ended():
                self._finish_off()
            elif time.monotonic() >= self._farewell_until:
                self.kill("it closed its end of the pipe")
        return self._is_over

    @property
    def cause_of_death(self) -> str:
        """Say how it died, with the last lines that it printed."""
        tail = redacted(self._tail.decode(errors="replace").strip())
        how = how_it_ended(self._popen.returncode, killed_because=self._killed_because)
        return f"{how}. It printed last:\n{tail}" if tail else f"{how}. It printed nothing."

    def kill(self, because: str) -> None:
        """Kill it, and what it started; return when it is dead, or will never compute again."""
        if self._is_over:
            return
        if not self._has_ended():
            self._killed_because = because
        self._finish_off()

    def dismiss(self, *, grace_seconds: float) -> None:
        """Let an idle child leave by itself, or kill it after the grace; close the pipes."""
        if self._is_dismissed:
            return
        self._is_dismissed = True
        os.close(self._commands)
        self._await_end(grace_seconds)
        self.kill("it did not leave when asked to")
        os.close(self._reports)
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._open_fds.clear()

    def _has_ended(self) -> bool:
        """Look without reaping: as long as the dead process is not reaped, its id names no other process or group."""
        if self._popen.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped by somebody else in this process
            return True

    def _await_end(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._has_ended() and (left := until - time.monotonic()) > 0:
            time.sleep(min(_LOOK_SECONDS, left))

    def _finish_off(self) -> None:
        """Kill the whole group, then reap: the other way round the group's id might be somebody else's by now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._await_end(KILL_SECONDS)
        self._is_over = True
        self._popen.poll()
        self._forward()

    def _read(self, fd: int) -> bytes:
        received = bytearray()
        while True:
            try:
                part = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                return bytes(received)
            if not part:
                self._open_fds.remove(fd)
                if fd == self._reports:
                    self._farewell_until = time.monotonic() + FAREWELL_SECONDS
                return bytes(received)
            received += part
            if len(received) > _LONGEST_LINE:
                return bytes(received)

    def _hear(self, line: bytes) -> bool:
        try:
            report = from_child_from_line(line)
        except ValidationError:
            return False
        self.is_ready = self.is_ready or isinstance(report, ChildReady)
        self._heard.append(report)
        return True

    def _forward(self) -> None:
        """Pass on what the child printed, and keep the end of it."""
        if self._printed not in self._open_fds:
            return
        printed = self._read(self._printed)
        self._tail = (self._tail + printed)[-TAIL_BYTES:]
        if printed:
            self._log(printed.decode(errors="replace"))


def how_it_ended(code: int | None, *, killed_because: str | None) -> str:
    """Say how a process ended. `code` as `Popen.returncode` has it; None: it was killed, and is not gone yet.

    What the process died of by itself comes before what it was killed for: a crash closes the pipes a moment before the
    process is dead, and looks like something to kill it for.
    """
    if killed_because is not None and code in {None, -signal.SIGKILL}:
        return f"killed because {killed_because}"
    if code is None:
        return "killed"
    if code == OUT_OF_MEMORY_EXIT:
        return f"out of memory (exit code {code})"
    return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
