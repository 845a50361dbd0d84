"""The interpreter that has upstream THOR, as a process that is told what to do and says what happens.

Commands and events are JSON lines (`upstream_interpreter/serve.py`); whatever else it writes are lines of its log.
This module loads no numerics: a supervisor asks by it whether upstream is there.
"""

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.engines.errors import EngineError, EngineMissingError
from tasks.engines.upstream_settings import differences_of_config

RUNNER = Path(__file__).parent / "upstream_interpreter" / "serve.py"

COMMIT = "7d74c0b"
"""The commit that the adapter was written for."""

NOT_THERE = 3
"""The runner's exit code when upstream THOR is not there, or is another than the adapter knows."""

TAIL_BYTES = 4000
"""How much of what it wrote last is kept for errors: enough for a traceback."""
SILENCE_SECONDS = 60.0
"""After this time without a line people are told that it is still at work: some of its stages log only at their end."""
LONGEST_LINE = 2000
LEAVE_SECONDS = 30.0
"""A process whose standard input is closed has this time to end what it started (ray), before it is killed."""
_READ_BYTES = 65536

HOW_TO_INSTALL = (
    "Give upstream THOR an environment of its own and name its interpreter in THOR_PYTHON; docs/upstream.md has the "
    f"recipe. Its sources are github.com/moeyensj/thor@{COMMIT}. Never install the package named thor from PyPI: it is "
    "an HTTP library."
)

Event = Mapping[str, Any]
Hear = Callable[[Event], None]

logger = logging.getLogger(__name__)


class UpstreamFailedError(EngineError):
    """Upstream ended with an error; the message has the end of what it wrote."""


def found_upstream(python: Path | None) -> Mapping[str, Any]:
    """Return the versions of what the interpreter has; takes as long as upstream takes to import (5 s of processor).

    Raises
    ------
    EngineMissingError
        If it is not there, has not got upstream THOR, or has another than the adapter was written for.
    """
    with contextlib.closing(UpstreamProcess(python, "check")) as process:
        return process.found


class UpstreamProcess:
    """One interpreter with upstream THOR. It ends when this process does, since it holds its standard input."""

    def __init__(self, python: Path | None, mode: str = "serve") -> None:
        self._python = python
        self._popen = self._started(mode)
        self._tail = b""
        self._partial: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        for pipe in (self._popen.stdout, self._popen.stderr):
            assert pipe is not None  # noqa: S101 (pipes were asked for)
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe.fileno(), selectors.EVENT_READ)
            self._partial[pipe.fileno()] = b""
        assert self._popen.stdout is not None  # noqa: S101 (as above)
        self._said = self._popen.stdout.fileno()
        self._events = self._read_events()
        try:
            self.found = self._await_found()
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it still can be asked."""
        return self._popen.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def ask(self, command: Mapping[str, object], *, hear: Hear = lambda _: None) -> Event:
        """Have it do something; return what it says at the end. `hear` gets every event before.

        Raises
        ------
        UpstreamFailedError
            It raised an error, or died.
        """
        assert self._popen.stdin is not None  # noqa: S101 (a pipe was asked for)
        with contextlib.suppress(BrokenPipeError):  # of a dead process: the loop below says how it died
            self._popen.stdin.write(json.dumps(command).encode() + b"\n")
            self._popen.stdin.flush()
        what = str(command["stage"])
        for event in self._events:
            if event["event"] == "done":
                return event
            if event["event"] == "failed":
                raise UpstreamFailedError(f"Upstream THOR failed at {what}: {event['error']}")
            hear(event)
        self.close()
        if self._popen.returncode == -signal.SIGKILL:
            # The kernel's answer to a machine without memory: the attempt is a crash, and goes on from its checkpoint.
            raise MemoryError(f"Upstream THOR was killed while it was asked for {what}. It wrote last: {self._written}")
        raise UpstreamFailedError(
            f"Upstream THOR ended while it was asked for {what}, with exit code {self._popen.returncode}, expected an "
            f"answer. It wrote last: {self._written}"
        )

    def close(self) -> None:
        """End it, and what it started."""
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            self._popen.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._selector.close()

    @property
    def _written(self) -> str:
        return self._tail.decode(errors="replace").strip()

    def _started(self, mode: str) -> "subprocess.Popen[bytes]":
        if self._python is None:
            raise EngineMissingError(f"Cannot run engine 'thor': THOR_PYTHON is not set. {HOW_TO_INSTALL}")
        try:
            return subprocess.Popen(
                [str(self._python), str(RUNNER), mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise EngineMissingError(
                f"Cannot run engine 'thor': the interpreter {self._python} does not start ({error.strerror}). "
                f"{HOW_TO_INSTALL}"
            ) from error

    def _await_found(self) -> Mapping[str, Any]:
        for event in self._events:
            if event["event"] == "found":
                found = {name: value for name, value in event.items() if name != "event"}
                self._require_known(found)
                return found
        self.close()
        code = self._popen.returncode
        why = "upstream THOR is not there" if code == NOT_THERE else f"it ended with exit code {code} and said nothing"
        raise EngineMissingError(
            f"Cannot run engine 'thor' with {self._python}: {why} ({self._written}). {HOW_TO_INSTALL}"
        )

    def _require_known(self, found: Mapping[str, Any]) -> None:
        """Refuse an upstream with other settings: it computes something else than the adapter thinks."""
        differences = differences_of_config(found["config"]) if "config" in found else []
        if differences:
            raise EngineMissingError(
                f"Cannot run engine 'thor' with {self._python}: upstream THOR {found.get('thor')} is not the one of "
                f"commit {COMMIT}, which the adapter was written for: {'; '.join(differences)}. {HOW_TO_INSTALL}"
            )

    def _read_events(self) -> Iterator[Event]:
        """Yield its events until it ends; log what it writes besides, in the order in which it comes."""
        silences = 0
        while self._selector.get_map():
            ready = self._selector.select(SILENCE_SECONDS)
            silences = 0 if ready else silences + 1
            if not ready:
                yield {"event": "silent", "seconds": silences * SILENCE_SECONDS}
            # What it logged before it said something comes first.
            for key, _ in sorted(ready, key=lambda found: found[0].fd == self._said):
                for line in self._lines(key.fd):
                    if key.fd == self._said:
                        yield self._event(line)
                    elif line.strip():
                        logger.info("%s", line.decode(errors="replace").rstrip()[:LONGEST_LINE])

    def _lines(self, fd: int) -> list[bytes]:
        read = os.read(fd, _READ_BYTES)
        if fd != self._said:
            self._tail = (self._tail + read)[-TAIL_BYTES:]
        *lines, self._partial[fd] = (self._partial[fd] + read).split(b"\n")
        if not read:
            self._selector.unregister(fd)
            lines, self._partial[fd] = [self._partial[fd]] if self._partial[fd] else [], b""
        return lines

    def _event(self, line: bytes) -> Event:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            event: Event = json.loads(line)
            _ = event["event"]
            return event
        raise EngineMissingError(
            f"Cannot run engine 'thor': {self._python} wrote {line.decode(errors='replace').strip()[:80]!r}, expected "
            f"lines of JSON; is it a Python interpreter? {HOW_TO_INSTALL}"
        )
