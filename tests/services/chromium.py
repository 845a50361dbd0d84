"""A headless Chromium that opens pages of a real server: the machine's own, or Debian's unpacked below .cache.

`python -m tests.services.chromium install` unpacks it, without root; nothing is installed into the machine.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.services.debian import PackagesUnavailableError, complete_if_it_runs, unpack_with_dependencies

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".cache" / "chromium"
PAGE_SECONDS = 120

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True)
class Chromium:
    """A program that opens a page and leaves."""

    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def text_of(self, url: str, *, wait_ms: int = 15_000) -> str:
        """Return the page's document after its scripts had so long."""
        return self._open(url, "--dump-dom", wait_ms=wait_ms).stdout

    def screenshot(self, url: str, into: Path, *, wait_ms: int = 15_000, size: str = "1400,1400") -> None:
        """Write a picture of the page."""
        self._open(url, f"--screenshot={into}", f"--window-size={size}", wait_ms=wait_ms)
        assert into.is_file(), f"Chromium wrote no {into}"

    def _open(self, url: str, *options: str, wait_ms: int) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryDirectory() as profile:
            # HOME of its own: it leaves crash reports and caches there.
            environment = {**os.environ, **self.environment, "HOME": profile}
            return subprocess.run(
                [
                    self.program,
                    *FLAGS,
                    f"--user-data-dir={profile}",
                    f"--virtual-time-budget={wait_ms}",
                    *options,
                    url,
                ],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=PAGE_SECONDS,
            )


def installation() -> Chromium | None:
    """Return the machine's own, else the unpacked one; None: there is neither."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return Chromium(Path(program))
    if not (UNPACKED / "complete").exists():
        return None
    # Folders below as well: libpulse looks for its other half in one of its own, by a path of an installed system.
    libraries = sorted({str(path.parent) for path in UNPACKED.glob("**/lib/*-linux-gnu*/**/lib*.so*")})
    return Chromium(
        UNPACKED / "usr/lib/chromium/chromium-headless-shell",
        {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_PATH": str(UNPACKED / "etc/fonts")},
    )


def install() -> Chromium:
    """Make it available; nothing happens when it is.

    Raises
    ------
    PackagesUnavailableError
        If the packages can't be had, or do not run here.
    """
    UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with (UNPACKED.parent / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two `make test` at once unpack once
        if (found := installation()) is not None:
            return found
        unpack_with_dependencies(
            "chromium-headless-shell",
            UNPACKED,
            is_wanted=lambda name: name.startswith(("chromium", "fonts-", "fontconfig")),
        )
        with complete_if_it_runs(UNPACKED):
            found = installation()
            assert found is not None
            _require_running(found)
        return found


def _require_running(found: Chromium) -> None:
    probe = subprocess.run(
        [found.program, *FLAGS, "--version"],
        env={**os.environ, **found.environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=PAGE_SECONDS,
    )
    if probe.returncode:
        raise PackagesUnavailableError(f"Cannot run the unpacked Chromium:\n{probe.stdout}{probe.stderr}")


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """The program; without it a skip, and an error under CI."""
    found = installation()
    if found is None:
        message = f"No Chromium here, and none in {UNPACKED}. Run: python -m tests.services.chromium install"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("usage: python -m tests.services.chromium install")
    try:
        print(install().program)
    except PackagesUnavailableError as error:
        sys.exit(str(error))
