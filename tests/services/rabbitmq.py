"""A private RabbitMQ node: loopback only, ports, epmd and data of its own, as an ordinary user or as root.

`python -m tests.services.rabbitmq install` unpacks Debian's packages below .cache; nothing is installed into the
machine and no service is started or left behind. An installed /usr/lib/rabbitmq is used as it is.
"""

import fcntl
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.certificates import make_certificates
from tests.services.debian import PackagesUnavailableError, complete_if_it_runs, unpack_with_dependencies
from tests.services.processes import END_WITH_PARENT, free_port, wait_until

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".cache" / "rabbitmq"
BOOT_SECONDS = 120
NEVER_MS = 3_153_600_000_000
"""A hundred years. RabbitMQ 3.10 knows the ack timeout only server-wide, and does not boot with `undefined`."""


class RabbitMQMissingError(Exception):
    """There is no RabbitMQ on this machine, and none unpacked."""


@dataclass(frozen=True)
class Installation:
    """Where RabbitMQ's and Erlang's programs are."""

    scripts: Path
    erlang_bin: Path
    environment: Mapping[str, str]


def installation() -> Installation:
    """Return the machine's own RabbitMQ, else the unpacked one.

    Raises
    ------
    RabbitMQMissingError
        If there is neither.
    """
    erl = shutil.which("erl")
    if Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() and erl:
        return Installation(Path("/usr/lib/rabbitmq/bin"), Path(erl).resolve().parent, {})
    if not (UNPACKED / "complete").exists():
        raise RabbitMQMissingError(
            f"Cannot find RabbitMQ in /usr/lib/rabbitmq or {UNPACKED}. Run: python -m tests.services.rabbitmq install"
        )
    erlang = UNPACKED / "usr/lib/erlang"
    libraries = [str(path) for path in sorted(UNPACKED.glob("**/lib/*-linux-gnu*")) if path.is_dir()]
    environment = {"ERL_ROOTDIR": str(erlang)}
    if libraries:
        environment["LD_LIBRARY_PATH"] = ":".join(libraries)
    return Installation(UNPACKED / "usr/lib/rabbitmq/bin", erlang / "bin", environment)


def install() -> Installation:
    """Make RabbitMQ available; nothing happens when it is.

    Raises
    ------
    PackagesUnavailableError
        If the packages can't be had, or do not run here.
    """
    UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with (UNPACKED.parent / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two `make test` at once unpack once
        try:
            return installation()
        except RabbitMQMissingError:
            pass
        unpack_with_dependencies("rabbitmq-server", UNPACKED, is_wanted=lambda name: name.startswith("erlang-"))
        _make_erlang_relocatable(UNPACKED / "usr/lib/erlang")
        with complete_if_it_runs(UNPACKED):
            found = installation()
            _require_running_erlang(found)
        return found


def _make_erlang_relocatable(erlang: Path) -> None:
    """Let the start scripts of Erlang find themselves: Debian wrote /usr/lib/erlang into them."""
    for script in [*erlang.glob("bin/*"), *erlang.glob("erts-*/bin/*")]:
        if script.is_symlink() or not script.read_bytes().startswith(b"#!"):
            continue
        script.write_text(script.read_text().replace("/usr/lib/erlang", '"${ERL_ROOTDIR}"'))


def _require_running_erlang(found: Installation) -> None:
    probe = subprocess.run(
        [found.erlang_bin / "erl", "-noshell", "-eval", "ok = crypto:start(), halt(0)."],
        env={**os.environ, **found.environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if probe.returncode:
        raise PackagesUnavailableError(f"Cannot run the unpacked Erlang:\n{probe.stdout}{probe.stderr}")


class PrivateRabbitMQ:
    """One node and its epmd. Survives `kill` and `restart` with the same data and ports."""

    def __init__(self, directory: Path, found: Installation) -> None:
        self.directory = directory
        self.port = free_port()
        self.tls_port = free_port()
        self.ca_file = make_certificates(directory)
        self._distribution_port = free_port()
        self._epmd_port = free_port()
        self._found = found
        self._cookie = secrets.token_hex(16)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._environment = self._write_files()

    @property
    def url(self) -> str:
        """URL of the default virtual host."""
        return self.url_of("%2F")

    def url_of(self, virtual_host: str) -> str:
        """URL of a virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{virtual_host}"

    def tls_url_of(self, virtual_host: str) -> str:
        """URL of a virtual host over TLS; `ca_file` is to be believed."""
        return f"amqps://guest:guest@127.0.0.1:{self.tls_port}/{virtual_host}"

    def start(self) -> None:
        """Start epmd and the node; return when the node speaks AMQP."""
        if self._epmd is None:
            self._epmd = self._spawn(
                [self._found.erlang_bin / "epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            )
        self._node = self._spawn([self._found.scripts / "rabbitmq-server"])
        try:
            wait_until(self._speaks_amqp, seconds=BOOT_SECONDS, what="RabbitMQ speaks AMQP")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self._output().read_text(errors='replace')[-4000:]}") from error

    def kill(self) -> None:
        """Kill -9 the node, as a power cut would."""
        self._end(self._node, signal.SIGKILL)
        self._node = None

    def restart(self) -> None:
        """Start again with the same data, after `kill`."""
        self.start()

    def freeze(self) -> None:
        """Stop the node's process in its tracks: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the node and its epmd."""
        self.kill()
        self._end(self._epmd, signal.SIGTERM)
        self._epmd = None

    def evaluate(self, expression: str) -> str:
        """Evaluate Erlang in the node, as `rabbitmqctl eval` does, in a fiftieth of the time. Ends with a full stop."""
        for _ in range(5):  # now and then the node refuses a connection, for a name that it believes still connected
            answer = self._erl_call(expression)
            if "failed to connect" not in answer.stderr:
                break
        if answer.returncode or not answer.stdout.startswith("{ok,"):
            raise RuntimeError(f"Cannot evaluate {expression!r} in RabbitMQ: {answer.stdout}{answer.stderr}")
        return answer.stdout.removeprefix("{ok,").rstrip().removesuffix("}").strip()

    @property
    def heeds_the_queues_ack_timeout(self) -> bool:
        """Whether `x-consumer-timeout` of a queue wins over the server's setting: from RabbitMQ 3.12 on."""
        numbers = re.findall(r"\d+", self.evaluate("rabbit_misc:version()."))
        return tuple(map(int, numbers[:2])) >= (3, 12)

    def add_virtual_host(self) -> str:
        """Make a virtual host of a random name: queues of its own for one test. Return its name."""
        name = f"test-{secrets.token_hex(6)}"
        self.evaluate(f'rabbit_vhost:add(<<"{name}">>, <<"tests">>).')
        every = '<<".*">>'
        self.evaluate(
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            f'{every}, {every}, {every}, <<"tests">>).'
        )
        return name

    def add_user(self, name: str, password: str, virtual_host: str) -> None:
        """Make a user who may do everything in one virtual host."""
        self.evaluate(f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, <<"tests">>).')
        every = '<<".*">>'
        self.evaluate(
            f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{virtual_host}">>, '
            f'{every}, {every}, {every}, <<"tests">>).'
        )

    def delete_virtual_host(self, name: str) -> None:
        """Delete a virtual host and its queues."""
        self.evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"tests">>).')

    def _erl_call(self, expression: str) -> "subprocess.CompletedProcess[str]":
        address = f"127.0.0.1:{self._distribution_port}"
        return subprocess.run(
            [self._found.erlang_bin / "erl_call", "-address", address, "-c", self._cookie, "-e"],
            input=expression + "\n",
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def _write_files(self) -> dict[str, str]:
        home = self.directory
        (home / ".erlang.cookie").write_text(self._cookie)
        (home / ".erlang.cookie").chmod(0o400)
        (home / "enabled_plugins").write_text("[].")
        (home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.ca_file}\n"
            f"ssl_options.certfile = {home / 'server.pem'}\n"
            f"ssl_options.keyfile = {home / 'server.key'}\n"
            f"consumer_timeout = {NEVER_MS}\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.file.level = info\n"
        )
        path = f"{self._found.erlang_bin}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            **self._found.environment,
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script then becomes the node: one pid to know and to kill
            "RABBITMQ_NODENAME": "thor@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "feature_flags"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
        }

    def _output(self) -> Path:
        return self.directory / "output.log"

    def _spawn(self, command: list[Path | str]) -> "subprocess.Popen[bytes]":
        with self._output().open("ab") as output:
            return subprocess.Popen(
                [*END_WITH_PARENT, *command],
                env=self._environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _speaks_amqp(self) -> bool:
        if self._node is not None and self._node.poll() is not None:
            raise TimeoutError(f"RabbitMQ ended with exit code {self._node.returncode} instead of starting.")
        return speaks_amqp(self.port)

    def _signal(self, number: signal.Signals) -> None:
        if self._node is not None:
            os.killpg(self._node.pid, number)

    @staticmethod
    def _end(process: "subprocess.Popen[bytes] | None", number: signal.Signals) -> None:
        if process is not None and process.poll() is None:
            os.killpg(process.pid, number)  # the group of a session that we made: the process and what it started
            process.wait(timeout=30)


def speaks_amqp(port: int) -> bool:
    """Tell whether somebody on that port answers the AMQP 0-9-1 header with a frame."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


@contextmanager
def private_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """Run a private node for the length of the block.

    Raises
    ------
    RabbitMQMissingError
        If RabbitMQ is neither installed nor unpacked.
    """
    found = installation()
    directory = Path(tempfile.mkdtemp(prefix="thor-rabbitmq-"))
    node = PrivateRabbitMQ(directory, found)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """One node for the session. A missing RabbitMQ is a skip on a laptop and an error under CI=true."""
    try:
        installation()
    except RabbitMQMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with private_rabbitmq() as node:
        yield node


@pytest.fixture
def rabbitmq_url(rabbitmq: PrivateRabbitMQ) -> Iterator[str]:
    """URL of a virtual host made for this test: queues of its own."""
    name = rabbitmq.add_virtual_host()
    yield rabbitmq.url_of(name)
    rabbitmq.delete_virtual_host(name)


def main(arguments: list[str]) -> int:
    """Carry out `install`, or `run` for a node in the foreground until Ctrl-C."""
    if arguments == ["install"]:
        try:
            print(f"RabbitMQ is in {install().scripts}")
        except PackagesUnavailableError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    if arguments == ["run"]:
        with private_rabbitmq() as node:
            print(node.url, flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        return 0
    print("usage: python -m tests.services.rabbitmq install | run", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
