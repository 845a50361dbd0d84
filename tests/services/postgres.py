"""A private PostgreSQL on loopback, with data of its own: the machine's own programs, nothing of its own servers."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.services.processes import END_WITH_PARENT, free_port, wait_until

BOOT_SECONDS = 120.0
USER = "nobody"
"""PostgreSQL refuses to run as root: then it runs as somebody who has nothing."""


def programs() -> Path | None:
    """Return the directory of the newest PostgreSQL's programs; None: there is none on this machine."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    elsewhere = [Path(found).resolve() for found in [shutil.which("initdb")] if found]
    complete = [path.parent for path in [*elsewhere, *debian] if path.with_name("pg_isready").exists()]
    return complete[-1] if complete else None


@contextlib.contextmanager
def private_postgres(binaries: Path) -> Iterator[str]:
    """Run a server with an empty database for the length of the block; yield the URL that Prefect takes."""
    directory = Path(tempfile.mkdtemp(prefix="thor-postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        os.chown(directory, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    data, port = directory / "data", free_port()
    initdb = [binaries / "initdb", "--auth=trust", "--username=prefect", "--no-sync", "--pgdata", data]
    subprocess.run([*as_user, *initdb], cwd=directory, check=True, capture_output=True)
    options = ["-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    with (directory / "log").open("wb") as log:
        # Whoever changes the user loses the wish to end with the parent: it comes last.
        command = [*as_user, *END_WITH_PARENT, binaries / "postgres", *options]
        server = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    probe = [binaries / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    try:
        wait_until(
            lambda: subprocess.run(probe, check=False).returncode == 0, seconds=BOOT_SECONDS, what="PostgreSQL answers"
        )
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
        server.wait(BOOT_SECONDS)
        shutil.rmtree(directory, ignore_errors=True)
