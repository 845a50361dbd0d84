"""Processes that a command starts on this machine for one job, and stops at its end: a Prefect server, workers.

Each dies with this process, whatever ends it: the kernel sees to it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

from flows.terminal.reporter import reporter
from tasks.bootstrap import require_lasting_leases
from tasks.errors import ThorQueueError
from tasks.prefect_api.instrument import flush, prefect_answers, quiet_console
from tasks.settings import Settings, environment_with
from tasks.worker_processes import worker_command, worker_environment

SERVER_START_SECONDS = 120.0
"""A Prefect server with a new, empty home takes 15 s, and longer on a busy machine."""
STOP_SECONDS = 30.0
"""A process that has not ended this long after it was asked to is killed."""
MOST_RESTARTS = 5
"""Times that a worker that was killed is replaced; then the machine is at fault."""

# The kernel kills the child when the thread that started it ends; that stays armed over exec (PR_SET_PDEATHSIG is 1).
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

Say = Callable[[str], None]


class LocalProcessError(ThorQueueError):
    """A process that a command started on this machine does not work."""


class LocalProcess:
    """A process in a session of its own (Ctrl-C is ours to handle), its output in a file."""

    def __init__(self, command: Sequence[str], *, environment: dict[str, str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def ask_to_stop(self, request: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal."""
        if self.exit_code is None:
            self._process.send_signal(request)

    def wait(self, seconds: float) -> None:
        """Wait for its end; kill it when it takes longer."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        """Return the end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


@dataclass(frozen=True)
class PrefectServer:
    """The Prefect server that shows a job."""

    url: str
    #: Where a server that was started for this job keeps its runs; None: it was there before, and goes on.
    home: Path | None = None


@contextlib.contextmanager
def prefect_server(settings: Settings, *, say: Say) -> Iterator[PrefectServer | None]:
    """Yield the configured Prefect server, or one that is started here for as long as the block lasts.

    None: the configured one does not answer, or none can be started. Then the work goes on and nothing is shown.
    """
    configured = PREFECT_API_URL.value()
    with quiet_console(), temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        if configured is not None:
            answers = prefect_answers()
            if not answers:
                say(f"Prefect at {configured} does not answer; the work goes on unseen.")
            yield PrefectServer(configured) if answers else None
            return
        home = settings.home / "prefect"
        with contextlib.ExitStack() as stack:
            try:
                url = stack.enter_context(_local_server(home, log=settings.home / "logs" / "prefect-server.log"))
            except (LocalProcessError, OSError) as error:
                say(f"{error}\nThe work goes on unseen.")
                yield None
                return
            stack.enter_context(temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: home}))
            yield PrefectServer(url, home)


@contextlib.contextmanager
def _local_server(home: Path, *, log: Path) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    environment = environment_with(
        PREFECT_HOME=str(home), PREFECT_UI_API_URL=url, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1"
    )
    server = LocalProcess(command, environment=environment, log=log)
    try:
        _await_server(server, url)
        yield url
    finally:
        flush()  # also after an error: what is sent to a server that is gone is waited for, and complained about
        server.ask_to_stop()
        server.wait(STOP_SECONDS)


def _await_server(server: LocalProcess, url: str) -> None:
    until = time.monotonic() + SERVER_START_SECONDS
    while time.monotonic() < until and server.exit_code is None:
        try:
            if httpx.get(f"{url}/health", timeout=1.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise LocalProcessError(
        f"Cannot start a local Prefect server: it ended with {server.exit_code} or did not answer at {url} within "
        f"{SERVER_START_SECONDS:g} s. Its last lines in {server.log}:\n{server.last_lines()}"
    )


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
        return port


class LocalWorkers:
    """Workers on this machine for one queue and bucket. Start, keep and stop them in the thread that outlives them."""

    def __init__(self, count: int, *, command: Sequence[str], environment: dict[str, str], logs: Path) -> None:
        self._command = command
        self._environment = environment
        self._logs = logs
        self._restarts = [0] * count
        self._workers = [self._start(number) for number in range(count)]

    def keep(self) -> None:
        """Replace workers that died; the task that such a one had comes back by itself.

        Raises
        ------
        LocalProcessError
            If one says that it can't work here, or is killed again and again.
        """
        for number, worker in enumerate(self._workers):
            code = worker.exit_code
            if code is None:
                continue
            if code > 0 or self._restarts[number] >= MOST_RESTARTS:
                raise LocalProcessError(
                    f"Cannot keep worker {number + 1} on this machine: it ended with exit code {code}, after "
                    f"{self._restarts[number]} restarts. The last lines of {worker.log}:\n{worker.last_lines()}"
                )
            if code < 0:
                reporter().warn(f"Worker {number + 1} was killed by signal {-code}; another takes its place.")
                self._restarts[number] += 1
            self._workers[number] = self._start(number)

    def stop(self) -> None:
        """Ask all to leave, twice, and wait: a task at work, be it of another job, goes back with its checkpoints.

        Asked once, a worker would finish it, be killed in its midst when that takes too long, and count as lost.
        """
        # Two signals of one number that come at almost the same time may count as one.
        for request in (signal.SIGTERM, signal.SIGINT):
            for worker in self._workers:
                worker.ask_to_stop(request)
        until = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.wait(max(0.1, until - time.monotonic()))

    def _start(self, number: int) -> LocalProcess:
        log = self._logs / f"worker-{number + 1}.log"
        return LocalProcess(self._command, environment=self._environment, log=log)


@contextlib.contextmanager
def local_workers(count: int, settings: Settings, bucket_url: str) -> Iterator[LocalWorkers]:
    """Yield `count` workers on this machine, which serve the queue of the settings and that bucket while it lasts.

    They don't leave when they are idle: a lost task may come back, and each one's start takes 7 s of a processor.
    """
    queue_url = settings.with_bucket(bucket_url).queue_url
    require_lasting_leases(settings, queue_url)
    changes = {"THOR_QUEUE": queue_url, "THOR_BUCKET": bucket_url, "THOR_HOME": str(settings.home)}
    changes |= {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PREFECT_HOME": str(PREFECT_HOME.value())}
    workers = LocalWorkers(
        count,
        command=worker_command(),
        environment=worker_environment(count, **{name: value for name, value in changes.items() if value}),
        logs=settings.home / "logs",
    )
    try:
        yield workers
    finally:
        workers.stop()
