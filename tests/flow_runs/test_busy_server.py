"""A Prefect server on SQLite answers 503 when two write at once: the show's client asks again, soon."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tasks import instrument


@pytest.fixture
def busy_server():
    """A server whose answers are 503 until `left` is used up; it keeps the bodies that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            server.left -= 1
            self.send_response(503 if server.left >= 0 else 201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.left = [], 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("refusals", "status", "requests"), [(0, 201, 1), (2, 201, 3), (99, 503, 6)])
def test_a_busy_server_is_asked_again_with_the_same_body_but_not_for_ever(busy_server, refusals, status, requests):
    busy_server.left = refusals

    with httpx.Client(transport=instrument.BusyServerTransport()) as client:
        answer = client.post(f"http://127.0.0.1:{busy_server.server_port}/", json={"a": 1})

    assert answer.status_code == status
    assert busy_server.bodies == [b'{"a":1}'] * requests
