"""A real Prefect server of our own on loopback, with a home of its own; it can be killed, frozen and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests.services.processes import END_WITH_PARENT, free_port, wait_until

BOOT_SECONDS = 240.0
"""A server with an empty home makes its database first: 15 s, and minutes on a machine that does much else."""


class PrivatePrefect:
    """One server on one port; its runs survive a kill."""

    def __init__(self, home: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._environment = dict(environment or {})
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        environment = {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_UI_API_URL": self.url,  # where the pages ask
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **self._environment,
        }
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*END_WITH_PARENT, sys.executable, "-m", "prefect", "server", "start", *where],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, seconds=BOOT_SECONDS, what=f"Prefect's server answers at {self.url}")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"Prefect's server ended: {(self.home / 'server.log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def prefect_process(tmp_path_factory) -> Iterator[PrivatePrefect]:
    """One server for the session."""
    server = PrivatePrefect(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.kill()


@contextlib.contextmanager
def configured(server: PrivatePrefect) -> Iterator[PrivatePrefect]:
    """Yield the server, alive, as that of the flows which run in this process."""
    if server._process is None:
        server.start()
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.home}):
        yield server


@pytest.fixture
def prefect(prefect_process) -> Iterator[PrivatePrefect]:
    """The server, alive, and configured for the flows that this test runs in its own process."""
    with configured(prefect_process) as server:
        yield server
