"""What a person should know about a queue: is it there, is it right, and what to do if not."""

import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from tasks.broker.session import (
    CONNECT_SECONDS,
    REQUEST_SECONDS,
    BrokerAddress,
    Loop,
    Session,
    SessionLostError,
    reason_text,
)
from tasks.broker.sqlite_file import QueueFile
from tasks.broker.topology import QUEUE_ARGUMENTS, ChannelRequest, declarations
from tasks.broker.urls import SQLITE_SCHEME, scheme_of, sqlite_path
from tasks.errors import BrokerUnavailableError
from tasks.records.finding import Finding, ok, problem, warning
from tasks.wording import counted

_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406
_LOOKS: Final = 2
"""Looks at a queue before it is deleted for not working."""
_ALARM_SECONDS: Final = 1.0
"""How soon a broker with an alarm tells a connection that publishes: at once, so this is for a slow network."""


RECREATE: Final = (
    "`python -m flows.repair --all --recreate-queues` deletes what does not work, makes it anew, and enqueues every "
    "task of the bucket again that is not done. Nothing is lost: the bucket knows them."
)


def broker_report(url: str, *, ca_file: Path | None = None) -> list[Finding]:
    """Look at a queue, and leave every message where it is; no finding raises.

    A queue without a leader (RabbitMQ 3.10, killed within moments of declaring it) answers nothing for 65 s and then
    fails, for ever: finding that out takes `REQUEST_SECONDS`.

    Raises
    ------
    BadInputError
        If the URL can't be understood.
    """
    if scheme_of(url) == SQLITE_SCHEME:
        return [_file_finding(sqlite_path(url))]
    with _Probe(BrokerAddress(url, ca_file)) as probe:
        try:
            session = probe.open_session()
        except BrokerUnavailableError as error:
            return [problem("broker", str(error), "Start RabbitMQ, or correct THOR_QUEUE.")]
        properties = session.server_properties
        version = _text(properties.get("version"))
        product = _text(properties.get("product"))
        findings = [ok("broker", f"{product} {version} at {probe.shown}")]
        findings.append(ack_timeout_finding(version))
        findings.append(probe.alarm_finding(session))
        findings.extend(probe.queue_finding(name) for name in QUEUE_ARGUMENTS)
        return findings


def ack_timeout_finding(version: str) -> Finding:
    """Tell from RabbitMQ's version whether a task may take longer than half an hour."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if (3, 8, 17) <= numbers < (3, 12):
        # A client can't see whether the server was configured, and no result is lost if it was not.
        return warning(
            "ack timeout",
            f"RabbitMQ {version} closes the channel of a task that takes longer than its consumer_timeout, by "
            "default 30 minutes, and ignores what the queue says about it; the task goes on, but may be taken over",
            "Unless it is done already, add `consumer_timeout = 3153600000000` to rabbitmq.conf and restart "
            "RabbitMQ, or use 3.12 or later.",
        )
    if not numbers:
        return warning("ack timeout", f"version {version!r} is not known", "Use RabbitMQ.")
    return ok("ack timeout", "the queue's own, 30 days" if numbers >= (3, 12) else "none")


def recreate_broken_queues(url: str, *, ca_file: Path | None = None) -> list[str]:
    """Delete and declare again every RabbitMQ queue that has no leader or other arguments; return their names.

    What lay in them is lost to the queue: publish every task that is not terminal again afterwards (the bucket knows
    them). Consumers notice, and consume from the new queue. Queues that work are not touched.

    Raises
    ------
    BrokerUnavailableError
        If the broker can't be reached, or a queue can't be made anew.
    """
    if scheme_of(url) == SQLITE_SCHEME:
        return []
    with _Probe(BrokerAddress(url, ca_file)) as probe:
        broken = [name for name in QUEUE_ARGUMENTS if probe.is_broken(name)]
        for name in broken:
            probe.delete_queue(name)
        if broken:
            probe.open_session(declarations()).close()
        return broken


class _Probe:
    """Asks a broker one thing at a time; a refused question costs no more than its connection."""

    def __init__(self, address: BrokerAddress) -> None:
        self.shown = address.shown
        self._parameters = address.parameters(role="doctor", heartbeat_seconds=0)
        self._loop = Loop()
        self._sessions: list[Session] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()
        self._loop.close()

    def open_session(self, setup: list[tuple[str, ChannelRequest]] | None = None) -> Session:
        """Return a ready session, or raise `BrokerUnavailableError`."""
        requests = setup or []
        session = Session(self._loop, self._parameters, requests)
        self._sessions.append(session)
        deadline = CONNECT_SECONDS + (1 + len(requests)) * REQUEST_SECONDS
        self._loop.run_until(lambda: session.is_ready or session.lost is not None, deadline)
        if not session.is_ready:
            why = reason_text(session.lost or SessionLostError("not ready in time"))
            raise BrokerUnavailableError(f"Cannot reach the queue {self.shown}: {why}.")
        return session

    def alarm_finding(self, session: Session) -> Finding:
        """Tell whether publishers are held back. The broker tells only those who publish: a message to nowhere."""
        session.channel.basic_publish("", "thor.doctor", b"")
        self._loop.run_until(lambda: session.is_blocked or session.lost is not None, _ALARM_SECONDS)
        if session.is_blocked:
            return problem(
                "alarm",
                "RabbitMQ has a memory or disk alarm and takes no messages; workers go on with what they have",
                "Free memory or disk space on its machine, or raise vm_memory_high_watermark or lower "
                "disk_free_limit in rabbitmq.conf; `rabbitmq-diagnostics alarms` says which.",
            )
        return ok("alarm", "none")

    def queue_finding(self, name: str) -> Finding:
        """Tell whether a queue is there, as declared, and answers."""
        subject = f"queue {name}"
        found = self._ask(f"look at {subject}", lambda channel, done: channel.queue_declare(name, True, callback=done))
        if isinstance(found, ChannelClosedByBroker) and found.reply_code == _NOT_FOUND:
            return ok(subject, "not there yet: the first publisher or worker makes it")
        if isinstance(found, Exception):
            return problem(subject, f"can't be looked at ({reason_text(found)})", RECREATE)
        declared = self._ask(f"declare {subject}", dict(_requests())[name])
        if isinstance(declared, ChannelClosedByBroker) and declared.reply_code == _PRECONDITION_FAILED:
            return problem(subject, f"was declared otherwise ({declared.reply_text})", RECREATE)
        # Declaring asks no leader, taking a message does. One that has messages to count has a leader.
        count = int(found.method.message_count)
        if count == 0 and isinstance(self._ask(f"take a message of {subject}", partial(_get, name)), Exception):
            return problem(subject, "has no leader: nothing can be published to it or received from it", RECREATE)
        return ok(subject, f"{counted(count, 'message')} ready")

    def is_broken(self, name: str) -> bool:
        """Tell whether a queue does not work, also when it is looked at again: a connection may be lost at any look."""
        return not any(self.queue_finding(name).verdict == "ok" for _ in range(_LOOKS))

    def delete_queue(self, name: str) -> None:
        """Delete a queue, with all that is in it. Raises `BrokerUnavailableError`."""
        answer = self._ask(f"delete queue {name}", lambda channel, done: channel.queue_delete(name, callback=done))
        if isinstance(answer, Exception):
            raise BrokerUnavailableError(
                f"Cannot delete queue {name} at {self.shown}: {reason_text(answer)}. Delete it by hand: "
                f"rabbitmqctl delete_queue {name}"
            ) from answer

    def _ask(self, words: str, ask: ChannelRequest) -> Any:
        """Return the broker's answer or the reason why there is none, on a session of its own."""
        try:
            session = self.open_session()
        except BrokerUnavailableError as error:
            return error
        answers: list[Any] = []
        session.request(words, ask, lambda *answer: answers.append(answer[0]))
        self._loop.run_until(lambda: bool(answers) or session.lost is not None, 2 * REQUEST_SECONDS)
        why = session.lost
        session.close()
        return answers[0] if answers else why


def _file_finding(path: Path) -> Finding:
    subject = f"queue file {path}"
    if not path.exists():
        return ok(subject, "not there yet: the first publisher or worker makes it")
    try:
        file = QueueFile(path)
        try:
            problems = file.problems()
            depth = file.depth()
        finally:
            file.close()
    except (sqlite3.Error, OSError) as error:
        problems = str(error)
    if problems:
        return problem(
            subject,
            f"can't be used ({problems})",
            "Stop the workers, delete the file, and run `python -m flows.repair --all`: it publishes every "
            "unfinished task again. The file must be on a local disk.",
        )
    text = (
        f"{counted(depth.ready, 'message')} ready, {depth.unacked} in hand, {depth.delayed} delayed, {depth.dead} dead"
    )
    return ok(subject, text)


def _requests() -> list[tuple[str, ChannelRequest]]:
    return list(zip(QUEUE_ARGUMENTS, (ask for _, ask in declarations()), strict=True))


def _get(name: str, channel: Any, done: Callable[..., None]) -> None:
    """Take a message; the session is closed afterwards, which gives it back."""
    channel.add_callback(done, [Basic.GetEmpty])
    channel.basic_get(name, done)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
