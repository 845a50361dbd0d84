"""Fixtures of the commands: a place to work in. No Prefect API is configured, unless a test says so."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.prefect_api import clients
from tasks.prefect_api.switch import switch_of
from tests.flow_runs.places import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


TRUE_PATIENCE_SECONDS = clients.PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def no_server_has_failed(monkeypatch):
    """Each test finds its Prefect server as if nobody had met a failure of it, and waits for one on a busy machine."""
    monkeypatch.setattr(clients, "PATIENCE_SECONDS", 30.0)
    switch_of.cache_clear()
    yield
    switch_of.cache_clear()


@pytest.fixture
def true_patience(monkeypatch):
    """Wait for Prefect no longer than workers do."""
    monkeypatch.setattr(clients, "PATIENCE_SECONDS", TRUE_PATIENCE_SECONDS)


@pytest.fixture
def refusing_server():
    """Make an HTTP server that answers every request with one status; it keeps what it was asked."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                server.requests.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 (as the library calls them)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        server.requests, server.url = [], f"http://127.0.0.1:{server.server_port}/api"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
