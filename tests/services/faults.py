"""An HTTP proxy that injects the faults of a cloud bucket: before a request is applied, after it, or into the answer.

Faults come from a plan (the next matching request gets the next fault) or at random from a seed. It is a thread of
the test's own process; workers in other processes reach it by its URL.
"""

import contextlib
import enum
import http.client
import os
import random
import socket
import struct
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_PIECE_BYTES = 4096


class Fault(enum.Enum):
    """What may happen to one request."""

    TOO_MANY_BEFORE = "429, nothing applied"
    UNAVAILABLE_BEFORE = "503, nothing applied"
    RESET_BEFORE = "connection reset, nothing applied"
    UNAVAILABLE_AFTER = "503, although it was applied"
    RESET_AFTER = "connection reset, although it was applied"
    SILENT_AFTER = "no answer until the client gives up, although it was applied"
    TRUNCATED = "half of the answer, then the connection is closed"
    CORRUPTED = "one byte of the answer's body is another"
    SLOW = "the answer comes in small pieces"


AMBIGUOUS = (Fault.UNAVAILABLE_AFTER, Fault.RESET_AFTER, Fault.SILENT_AFTER)
WITHOUT_EFFECT = (Fault.TOO_MANY_BEFORE, Fault.UNAVAILABLE_BEFORE, Fault.RESET_BEFORE)


@dataclass(frozen=True)
class Answer:
    """An answer of the server, whole."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Faults:
    """Which request gets which fault, and what was seen so far. Used by the threads of the proxy."""

    url: str
    #: Between two pieces of a slow answer.
    slow_pause_seconds: float = 0.02
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _planned: list[tuple[str, str, Fault | None]] = field(default_factory=list)
    _random: random.Random | None = None
    _failing: float = 0.0
    _kinds: tuple[Fault, ...] = ()
    #: (method, path with query) of every request, in the order of arrival.
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Every fault that was injected, in order.
    injected: list[Fault] = field(default_factory=list)

    def plan(self, *faults: Fault | None, method: str = "", path: str = "") -> None:
        """Give these faults (None: no fault), one each, to the next requests of that method whose path has `path`."""
        with self._lock:
            self._planned.extend((method, path, fault) for fault in faults)

    def at_random(self, *, seed: int, failing: float, kinds: tuple[Fault, ...]) -> None:
        """From now on, give one of `kinds` to that share of all requests."""
        with self._lock:
            self._random, self._failing, self._kinds = random.Random(seed), failing, kinds

    def stop(self) -> None:
        """From now on, let everything pass."""
        with self._lock:
            self._planned.clear()
            self._failing = 0.0

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Note the request and return its fault."""
        with self._lock:
            self.requests.append((method, path))
            fault = self._planned_fault(method, path) or self._random_fault()
            if fault is not None:
                self.injected.append(fault)
            return fault

    def _planned_fault(self, method: str, path: str) -> Fault | None:
        for index, (wanted_method, wanted_path, fault) in enumerate(self._planned):
            if wanted_method in ("", method) and wanted_path in urllib.parse.unquote(path):
                del self._planned[index]
                return fault
        return None

    def _random_fault(self) -> Fault | None:
        if self._random is None or self._random.random() >= self._failing:
            return None
        return self._random.choice(self._kinds)


@contextlib.contextmanager
def running_fault_proxy(server_url: str) -> Iterator[Faults]:
    """Run a proxy before the server until the end of the block; its URL is `Faults.url`."""
    proxy = _Proxy(("127.0.0.1", 0), _Handler)
    proxy.server = urllib.parse.urlsplit(server_url)
    proxy.faults = Faults(url=f"http://127.0.0.1:{proxy.server_port}")
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy.faults
    finally:
        proxy.ending.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    server: urllib.parse.SplitResult
    faults: Faults

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.ending = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """Say nothing: clients that give up are what the faults are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *arguments) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.faults.next_fault(self.command, self.path)
        if fault in WITHOUT_EFFECT:
            self._fail(fault)
            return
        answer = self._forward(body)
        if fault in AMBIGUOUS:
            self._fail(fault)
        elif fault is None:
            self._send(answer)
        else:
            self._send_spoilt(answer, fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815 - http.server calls them so

    def _forward(self, body: bytes) -> Answer:
        server = self.server.server
        connection = http.client.HTTPConnection(server.hostname, server.port, timeout=60)
        with contextlib.closing(connection):
            passed = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "connection"}}
            connection.request(self.command, self.path, body=body, headers=passed)
            answer = connection.getresponse()
            # Resumable uploads go on at the Location of the first answer: through the proxy as well.
            headers = tuple(
                (key, value.replace(server.geturl(), self.server.faults.url))
                for key, value in answer.getheaders()
                if key.lower() not in {"transfer-encoding", "content-length", "connection"}
            )
            return Answer(answer.status, headers, answer.read())

    def _fail(self, fault: Fault) -> None:
        match fault:
            case Fault.TOO_MANY_BEFORE:
                self._send(Answer(429, (), b'{"error": {"code": 429, "message": "rateLimitExceeded"}}'))
            case Fault.UNAVAILABLE_BEFORE | Fault.UNAVAILABLE_AFTER:
                self._send(Answer(503, (), b'{"error": {"code": 503, "message": "backendError"}}'))
            case Fault.RESET_BEFORE | Fault.RESET_AFTER:
                self._reset()
            case _:
                self._wait_for_the_client_to_go()

    def _send(self, answer: Answer, *, body: bytes | None = None) -> None:
        self._send_head(answer)
        self.wfile.write(answer.body if body is None else body)

    def _send_head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()

    def _send_spoilt(self, answer: Answer, fault: Fault) -> None:
        if fault is Fault.CORRUPTED and answer.body:
            middle = len(answer.body) // 2
            self._send(answer, body=answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :])
        elif fault is Fault.SLOW:
            self._send_head(answer)
            for start in range(0, len(answer.body), SLOW_PIECE_BYTES):
                self.wfile.write(answer.body[start : start + SLOW_PIECE_BYTES])
                self.server.ending.wait(self.server.faults.slow_pause_seconds)
        else:
            self._send(answer, body=answer.body[: len(answer.body) // 2])
            self.close_connection = True

    def _reset(self) -> None:
        """Close with RST. Detached, because the handler's own files would hold the socket open."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        os.close(self.connection.detach())

    def _wait_for_the_client_to_go(self) -> None:
        self.close_connection = True
        self.connection.settimeout(0.05)
        while not self.server.ending.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    return
