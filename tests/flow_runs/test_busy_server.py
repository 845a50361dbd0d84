"""A Prefect server on SQLite answers 503 when two write at once: the show's client asks again, soon."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import instrument, linked_runs

RUN_ID = uuid.UUID(int=7)
MADE_RUN = json.dumps({"id": str(RUN_ID)}).encode()


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


@pytest.mark.parametrize(("refusals", "status", "requests"), [(0, 201, 1), (2, 201, 3), (99, 503, 6)])
def test_a_busy_server_is_asked_again_with_the_same_body_but_not_for_ever(busy_server, refusals, status, requests):
    busy_server.left = refusals

    with httpx.Client(transport=instrument.BusyServerTransport()) as client:
        answer = client.post(f"http://127.0.0.1:{busy_server.server_port}/", json={"a": 1})

    assert answer.status_code == status
    assert busy_server.bodies == [b'{"a":1}'] * requests


@pytest.mark.parametrize("client_with_patience", [linked_runs.hasty_client, linked_runs.patient_client])
def test_the_run_that_links_a_job_is_made_although_the_server_is_busy(busy_server, client_with_patience):
    busy_server.left = 3

    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{busy_server.server_port}/api"}),
        client_with_patience() as client,
    ):
        assert linked_runs.make_parent(client, uuid.uuid4(), name="tasks") == RUN_ID

    assert len(busy_server.bodies) == 4
