"""A connection to RabbitMQ with one channel, on an event loop that its owner turns by hand.

pika's blocking connection can wait for ever (a quorum queue without a leader answers after 65 s, a cut network never);
here every request has a deadline, and nothing happens outside `Loop.run`: one thread, no surprise.
"""

import logging
import os
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pika
from pika.adapters.select_connection import IOLoop

from tasks.broker.topology import ChannelRequest
from tasks.broker.urls import redacted_url
from tasks.errors import BadInputError

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 15.0
"""An answer that takes longer does not come: the queue has no leader, or the network is cut."""
CLOSE_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 15.0


class SessionLostError(Exception):
    """Why a session is gone, when it is this side that gave it up."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where RabbitMQ is, and how it is to be believed."""

    url: str
    ca_file: Path | None = None

    @property
    def shown(self) -> str:
        """The address without its password."""
        return redacted_url(self.url)

    def parameters(self, *, role: str, heartbeat_seconds: int) -> pika.ConnectionParameters:
        """Return pika's parameters.

        Raises
        ------
        BadInputError
            If the URL can't be understood, or the CA file can't be read.
        """
        try:
            parameters = pika.URLParameters(self.url)
        except Exception as error:  # pika lets KeyError, TypeError, ValueError and others out
            raise BadInputError(
                f"Cannot use queue URL {self.shown!r}: expected amqp://USER:PASSWORD@HOST:PORT/VHOST."
            ) from error
        parameters.heartbeat = heartbeat_seconds
        parameters.socket_timeout = CONNECT_SECONDS
        parameters.stack_timeout = CONNECT_SECONDS
        parameters.connection_attempts = 1
        parameters.blocked_connection_timeout = None  # an alarm is waited out; deadlines are those of the callers
        parameters.client_properties = {"connection_name": f"thor {role} {socket.gethostname()}:{os.getpid()}"}
        if self.url.lower().startswith("amqps:"):
            parameters.ssl_options = pika.SSLOptions(self._tls_context(), parameters.host)
        return parameters

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BadInputError(
                f"Cannot read CA certificates from {str(self.ca_file)!r}: {error}. Correct THOR_QUEUE_CA_FILE."
            ) from error


class Loop:
    """pika's event loop, turned by hand. Several sessions may share one, and each turn serves them all."""

    def __init__(self) -> None:
        # What goes wrong is reported once, by this package; pika would add a traceback for each layer it passes.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self.ioloop = IOLoop()
        self._stirred = False
        self._is_closed = False

    def stir(self) -> None:
        """Note that something happened: `run` returns to its caller."""
        self._stirred = True

    def run(self, seconds: float) -> None:
        """Serve the sessions until something happens, at most so long; with 0 whatever is there at this moment."""
        if self._is_closed:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        timer = self.ioloop.call_later(max(seconds, 0.0), self.stir)
        self.ioloop.activate_poller()
        try:
            while not self._stirred:
                self.ioloop.poll()
                self.ioloop.process_timeouts()
                if time.monotonic() >= end:
                    break
        finally:
            self._stirred = False
            self.ioloop.deactivate_poller()
            self.ioloop.remove_timeout(timer)

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Serve the sessions until `condition` holds; tell whether it does in the end."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.run(left)
        return True

    def close(self) -> None:
        """Free the loop; its sessions are closed before. From then on there is nothing to serve."""
        if not self._is_closed:
            self._is_closed = True
            self.ioloop.close()


class _Connection(pika.SelectConnection):  # type: ignore[misc]
    is_aborted = False

    def abort(self, reason: Exception) -> None:
        """Drop the socket without the closing handshake, which a cut network would never finish."""
        if not self.is_closed and not self.is_aborted:
            self.is_aborted = True
            self._terminate_stream(reason)


class Session:
    """One connection with one channel. It opens by itself while its loop runs; once lost it stays lost.

    Attributes
    ----------
    channel : pika's channel, meaningful while `is_ready`.
    is_ready : connected, and every request of the set-up was answered.
    lost : why the session is gone; None while it opens or works.
    is_blocked : the broker has an alarm and takes no messages on this connection.
    """

    def __init__(
        self, loop: Loop, parameters: pika.ConnectionParameters, setup: Sequence[tuple[str, ChannelRequest]]
    ) -> None:
        self.channel: Any = None
        self.is_ready = False
        self.is_blocked = False
        self.lost: Exception | None = None
        self.loop = loop
        self._setup = deque(setup)
        self._connection = _Connection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_gone,
            on_close_callback=self._on_gone,
            custom_ioloop=loop.ioloop,
        )
        self._connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(blocked=True))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(blocked=False))

    @property
    def server_properties(self) -> dict[str, Any]:
        """What the broker says about itself."""
        return dict(self._connection.server_properties or {})

    def request(self, words: str, ask: ChannelRequest, done: Callable[..., None]) -> None:
        """Ask the broker; `done` gets its answer. Without an answer in time the session is lost."""

        def expire() -> None:
            self.lose(SessionLostError(f"no answer within {REQUEST_SECONDS:g} s to: {words}"))

        def answered(*answer: Any) -> None:
            self.loop.ioloop.remove_timeout(timer)
            if self.lost is None:
                self.loop.stir()
                done(*answer)

        timer = self.loop.ioloop.call_later(REQUEST_SECONDS, expire)
        ask(self.channel, answered)

    def lose(self, reason: Exception) -> None:
        """Give the session up, at once."""
        self._on_gone(None, reason)
        self._connection.abort(reason)

    def close(self) -> None:
        """Leave politely if the broker answers soon, else at once. Turns the loop."""
        reason = SessionLostError("closed by this side")
        self._on_gone(None, reason)
        if self._connection.is_open:
            self._connection.close()
            self.loop.run_until(lambda: self._connection.is_closed, CLOSE_SECONDS)
        self._connection.abort(reason)
        self.loop.run_until(lambda: self._connection.is_closed, CLOSE_SECONDS)

    def _on_open(self, connection: Any) -> None:
        def ask(_: Any, done: Callable[..., None]) -> None:
            connection.channel(on_open_callback=done)

        self.request("open a channel", ask, self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        self.channel = channel
        channel.add_on_close_callback(lambda _, reason: self.lose(reason))
        # A consumer whose queue was deleted is told so, and would wait for ever on a channel that is fine.
        channel.add_on_cancel_callback(lambda _: self.lose(SessionLostError("the broker cancelled the consumer")))
        self._continue_setup()

    def _continue_setup(self, *_: Any) -> None:
        if self._setup:
            words, ask = self._setup.popleft()
            self.request(words, ask, self._continue_setup)
        else:
            self.is_ready = True
            self.loop.stir()

    def _on_gone(self, _: Any, reason: Exception) -> None:
        self.is_ready = False
        if self.lost is None:
            self.lost = reason
        self.loop.stir()

    def _set_blocked(self, *, blocked: bool) -> None:
        self.is_blocked = blocked
        self.loop.stir()


def reason_text(error: Exception | None) -> str:
    """Return a pika error as one readable line: the innermost one, without its wrappings."""
    while error is not None:
        inner = getattr(error, "exceptions", None) or getattr(error, "exception", None) or error.args[:1]
        inner = inner[-1] if isinstance(inner, Sequence) and inner and not isinstance(inner, str) else inner
        if not isinstance(inner, Exception):
            break
        error = inner
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class SteadySession:
    """A session that is opened anew, after a jittered pause, whenever it is lost. Nothing happens but in `step`."""

    def __init__(self, open_session: Callable[[], Session], shown: str, consequence: str) -> None:
        self._open_session = open_session
        self._shown = shown
        self._consequence = consequence
        self._session: Session | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._next_attempt = 0.0
        self._was_ready = False

    def step(self) -> Session | None:
        """Return the session if it is ready; else see to it that one is opened when its time has come."""
        if self._session is not None and self._session.lost is not None:
            self._note_loss(self._session.lost)
            self._session = None
        if self._session is None and time.monotonic() >= self._next_attempt:
            self._session = self._open_session()
        if self._session is None or not self._session.is_ready:
            return None
        if not self._was_ready:
            logger.info("Connected to the queue %s", self._shown)
            self._was_ready = True
        self._pause = FIRST_PAUSE_SECONDS
        return self._session

    @property
    def ready_session(self) -> Session | None:
        """The session if it is ready."""
        return self._session if self._session is not None and self._session.is_ready else None

    @property
    def seconds_to_next_attempt(self) -> float:
        """How long a loop may run before `step` has something to do by the clock alone."""
        return LONGEST_PAUSE_SECONDS if self._session is not None else max(0.0, self._next_attempt - time.monotonic())

    def close(self) -> None:
        """Close the session and open no other."""
        if self._session is not None:
            self._session.close()
        self._session = None
        self._next_attempt = float("inf")

    def _note_loss(self, reason: Exception) -> None:
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._next_attempt = time.monotonic() + pause
        words = "Lost the connection to" if self._was_ready else "Cannot connect to"
        self._was_ready = False
        logger.warning("%s the queue %s (%s): %s", words, self._shown, reason_text(reason), self._consequence)
