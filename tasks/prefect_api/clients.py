"""Clients of a Prefect server that wait for it 2 s at most, and ask it nothing while its switch says so."""

import contextlib
import random
import ssl
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import SyncClientContext
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

from tasks.prefect_api.switch import Switch, switch_of
from tasks.settings import settings_from_environment

PATIENCE_SECONDS = 2.0
"""Patience with one request, with its repetitions, where THOR_PREFECT_PATIENCE_SECONDS says nothing else."""
BUSY_PAUSE_SECONDS = 0.02
"""Before a request to a busy server is made again, and half as long again before each further one, up to"""
LONGEST_BUSY_PAUSE_SECONDS = 0.15
"""this: a server on SQLite answers 503 at once when two write at the same moment, and the next moment may be free.
Prefect itself would pause for 2, 4 and 8 s."""


def patience_seconds() -> float:
    """Return how long one request may take on this machine."""
    return settings_from_environment().prefect_patience_seconds or PATIENCE_SECONDS


class NotAskedError(httpx.TransportError):
    """The server has failed a moment ago, and is left alone."""


class GuardedTransport(httpx.BaseTransport):
    """Asks when the switch allows it, a busy server again and soon, and tells the switch what came of it."""

    def __init__(self, switch: Switch, inner: httpx.BaseTransport) -> None:
        self._switch = switch
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the first answer that is not 503, or the last.

        Raises
        ------
        NotAskedError
            The server was not asked.
        httpx.TransportError
            It did not answer.
        """
        if not self._switch.may_ask():
            raise NotAskedError("Prefect failed less than a minute ago, and is not asked.", request=request)
        try:
            response = self._answer(request)
        except httpx.TransportError as error:
            self._switch.failed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            raise
        if response.is_server_error:
            self._switch.failed(f"{response.status_code} {response.reason_phrase}")
        else:
            self._switch.answered()
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + patience_seconds()
        longest = BUSY_PAUSE_SECONDS
        while True:
            response = self._inner.handle_request(request)
            pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 (so that two workers do not meet again and again)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() + pause > until:
                response.read()  # a server that stops in the midst of its answer has not answered
                return response
            response.close()
            time.sleep(pause)
            longest = min(1.5 * longest, LONGEST_BUSY_PAUSE_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


@contextlib.contextmanager
def short_runs() -> Iterator[None]:
    """Inside, flow runs wait for Prefect for 2 s at most, and send no heartbeats.

    Heartbeats would round every flow run up to the next whole second. The lease in the bucket says who is alive; who
    takes a task over marks the former flow run.
    """
    changes = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_CLIENT_MAX_RETRIES: 0,  # the transport asks again, and sooner
        PREFECT_API_REQUEST_TIMEOUT: patience_seconds(),
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
    }
    with temporary_settings(changes):
        yield


class GuardedContext(SyncClientContext):
    """Prefect's context of a client, with a guarded one: who asks Prefect for a client inside gets this one.

    Given its settings, Prefect would make clients anew, and leave them open, for who asks without them.
    """

    def __init__(self) -> None:
        super(SyncClientContext, self).__init__(client=get_client(sync_client=True, httpx_settings=_guarded()))


@contextlib.contextmanager
def guarded_runs() -> Iterator[SyncPrefectClient]:
    """Inside, flow runs are made and ended by the guarded client that is yielded. Needs a configured server."""
    with short_runs(), GuardedContext() as context:
        yield context.client


@contextlib.contextmanager
def guarded_client() -> Iterator[SyncPrefectClient]:
    """Yield a guarded client of one's own. Needs a configured server."""
    with short_runs(), get_client(sync_client=True, httpx_settings=_guarded()) as client:
        yield client


def configured_switch() -> Switch | None:
    """Return the switch of the configured server; None: none is configured, and Prefect would start one of its own."""
    url = PREFECT_API_URL.value()
    return None if url is None else switch_of(url)


def may_show() -> bool:
    """Tell whether a server is configured, and has not failed a moment ago."""
    switch = configured_switch()
    return switch is not None and switch.may_ask()


def _guarded() -> dict[str, Any]:
    """Return httpx settings by which a client waits for the configured server only as the switch allows."""
    url = PREFECT_API_URL.value()
    tls = _tls_context(PREFECT_API_SSL_CERT_FILE.value(), skip_verify=PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value())
    transport = GuardedTransport(switch_of(url), httpx.HTTPTransport(verify=tls))
    return {"transport": transport, "verify": tls, "timeout": patience_seconds()}


@lru_cache(maxsize=2)
def _tls_context(cert_file: str | None, *, skip_verify: bool) -> ssl.SSLContext:
    """Return the rules of TLS that Prefect is set to: made once, since reading all authorities takes 20 ms."""
    if skip_verify:
        return httpx.create_ssl_context(verify=False)
    return ssl.create_default_context(cafile=cert_file) if cert_file else httpx.create_ssl_context()
