"""A Prefect server on SQLite answers 503 when two write at once: it is asked again, soon, but not for ever."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.prefect_api import runs
from tasks.prefect_api.clients import GuardedTransport, guarded_client
from tasks.prefect_api.switch import Switch

RUN_ID = uuid.UUID(int=7)
MADE_RUN = json.dumps(
    {"id": str(RUN_ID), "task_key": "runs", "dynamic_key": "tasks", "state": {"type": "RUNNING"}}
).encode()


@pytest.fixture
def busy_server():
    """A server whose answers are 503 until `left` is used up; it keeps the bodies that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            server.left -= 1
            self.send_response(503 if server.left >= 0 else 201)
            self.send_header("Content-Length", str(len(MADE_RUN)))
            self.end_headers()
            self.wfile.write(MADE_RUN)

        def do_GET(self):
            self.send_error(404)  # it knows no CSRF tokens

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.left = [], 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("true_patience")
@pytest.mark.parametrize(("refusals", "status", "is_healthy"), [(0, 201, True), (8, 201, True), (999, 503, False)])
def test_a_busy_server_is_asked_again_with_the_same_body_but_not_for_ever(busy_server, refusals, status, is_healthy):
    busy_server.left = refusals
    switch = Switch("here")

    with httpx.Client(transport=GuardedTransport(switch, httpx.HTTPTransport())) as client:
        answer = client.post(f"http://127.0.0.1:{busy_server.server_port}/", json={"a": 1})

    assert answer.status_code == status
    assert set(busy_server.bodies) == {b'{"a":1}'}
    # Within 2 s, with pauses that grow to 0.15 s.
    assert min(refusals + 1, 12) <= len(busy_server.bodies) <= min(refusals + 1, 40)
    assert switch.may_ask() == is_healthy


def test_the_run_that_links_a_job_is_made_although_the_server_is_busy(busy_server):
    busy_server.left = 3

    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{busy_server.server_port}/api"}),
        guarded_client() as client,
    ):
        assert runs.make_parent(client, uuid.uuid4(), name="tasks") == RUN_ID

    assert len(busy_server.bodies) == 4
