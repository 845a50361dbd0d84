"""The embedded queue: publisher and consumer on one SQLite file, for one machine without a server."""

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from tasks.broker.protocol import REASON_HEADER, Delivery, Headers, OutgoingMessage, QueueDepth
from tasks.broker.sqlite_file import QueueFile, TakenMessage
from tasks.errors import BrokerUnavailableError, MessageNotPublishedError
from tasks.wording import counted

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.03
"""How often an idle consumer looks: a few microseconds each time, without a lock."""
RECLAIM_SECONDS: Final = 0.2
"""How often a consumer looks for clients that died with a message in their hands."""
RETRY_SECONDS: Final = 1.0

_FILE_ERRORS: Final = (sqlite3.Error, OSError)
_ADVICE: Final = "Check that the directory can be written, is on a local disk, and that the disk is not full."
Result = TypeVar("Result")


class _Handle(NamedTuple):
    file: QueueFile
    message_id: int


class SqlitePublisher:
    """The `Publisher` on a file. It opens the file when it is first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: QueueFile | None = None

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        """Append all messages to the work queue, or none; return when they are on the disk.

        Raises
        ------
        MessageNotPublishedError
            If the file can't be written.
        """
        try:
            self._open_file().publish(messages)
        except _FILE_ERRORS as error:
            self._drop_file()
            raise MessageNotPublishedError(
                f"Cannot publish {counted(len(messages), 'message')} to queue file {str(self._path)!r}: {error}. "
                f"{_ADVICE}"
            ) from error

    def depth(self) -> QueueDepth:
        """Return how many messages lie where. Raises `BrokerUnavailableError`."""
        return self._do("count messages", lambda file: file.depth())

    def take_dead(self, limit: int) -> Sequence[Delivery]:
        """Receive up to `limit` messages of the dead queue. Raises `BrokerUnavailableError`."""

        def take(file: QueueFile) -> list[Delivery]:
            file.reclaim()
            return [_delivery(file, taken) for taken in file.take_dead(limit)]

        return self._do("take dead messages", take)

    def ack(self, delivery: Delivery) -> None:
        """Remove a message that `take_dead` returned. Raises `BrokerUnavailableError` if it is not held any more."""
        handle = _handle(delivery)
        is_removed = handle.file is self._file and self._do("remove", lambda file: file.remove(handle.message_id))
        if not is_removed:
            raise BrokerUnavailableError(
                f"Cannot remove a dead message from queue file {str(self._path)!r}: the file was opened anew since it "
                "was taken, so it lies in the dead queue again. Run the command again."
            )

    def close(self) -> None:
        """Leave. Messages taken and not acked go back."""
        self._drop_file()

    def _do(self, words: str, act: Callable[[QueueFile], Result]) -> Result:
        try:
            return act(self._open_file())
        except _FILE_ERRORS as error:
            self._drop_file()
            raise BrokerUnavailableError(
                f"Cannot {words} in queue file {str(self._path)!r}: {error}. {_ADVICE}"
            ) from error

    def _open_file(self) -> QueueFile:
        if self._file is not None and not self._file.is_in_place():
            self._drop_file()
        if self._file is None:
            self._file = QueueFile(self._path)
        return self._file

    def _drop_file(self) -> None:
        _close(self._file)
        self._file = None


class SqliteConsumer:
    """The `Consumer` on a file. It takes a message only when `wait` is called, so none lies here unseen."""

    def __init__(self, path: Path, *, delay_seconds: float) -> None:
        self._path = path
        self._delay_ns = round(1e9 * delay_seconds)
        self._file: QueueFile | None = None
        self._held: Delivery | None = None
        self._is_wanted = False
        self._next_open = 0.0
        self._next_reclaim = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the file could be used when it was last looked at."""
        return self._file is not None

    def start(self) -> None:
        """Ask for deliveries."""
        self._is_wanted = True

    def stop(self) -> None:
        """Ask for no more."""
        self._is_wanted = False

    def wait(self, seconds: float) -> Delivery | None:
        """Look for a message for at most `seconds`; return it as soon as there is one."""
        end = time.monotonic() + seconds
        while True:
            delivery = self._on_file(self._look, default=None)
            left = end - time.monotonic()
            if delivery is not None or left <= 0:
                return delivery
            # Looking at different moments, many idle consumers share the work of one poll.
            time.sleep(min(left, POLL_SECONDS * random.uniform(0.5, 1.0)))  # noqa: S311

    def is_current(self, delivery: Delivery) -> bool:
        """Whether the delivery can still be acked: its session is the present one."""
        return _handle(delivery).file is self._file

    def ack(self, delivery: Delivery) -> bool:
        """Remove the message for good. False: the file was opened anew, and the message came back."""
        return self._answer(delivery, lambda file, message_id: file.remove(message_id))

    def delay(self, delivery: Delivery, headers: Headers) -> bool:
        """Move the message with these headers to the delay queue, in one transaction."""
        return self._answer(delivery, lambda file, message_id: file.delay(message_id, headers, self._delay_ns))

    def dead_letter(self, delivery: Delivery, reason: str) -> bool:
        """Move the message to the dead queue with the reason, in one transaction."""
        headers = {**delivery.headers, REASON_HEADER: reason}
        return self._answer(delivery, lambda file, message_id: file.dead_letter(message_id, headers))

    def requeue(self, delivery: Delivery) -> bool:
        """Give the message back to the work queue at once."""
        return self._answer(delivery, lambda file, message_id: file.give_back(message_id))

    def close(self) -> None:
        """Leave at once. What was not acked goes back to the work queue."""
        self._drop_file()

    def _answer(self, delivery: Delivery, act: Callable[[QueueFile, int], bool]) -> bool:
        if not self.is_current(delivery):
            return False
        is_done = self._on_file(lambda file: act(file, _handle(delivery).message_id), default=False)
        self._held = None
        return is_done

    def _look(self, file: QueueFile) -> Delivery | None:
        """Return the next message, unless one is still in our caller's hands."""
        if time.monotonic() >= self._next_reclaim:
            self._next_reclaim = time.monotonic() + RECLAIM_SECONDS
            returned = file.reclaim()
            if returned:
                logger.warning("%d messages of consumers that died are in queue %s again", returned, self._path)
        if not self._is_wanted or self._held is not None:
            return None
        taken = file.take_work()
        self._held = None if taken is None else _delivery(file, taken)
        return self._held

    def _on_file(self, act: Callable[[QueueFile], Result], default: Result) -> Result:
        """Do something with the open file; return `default` while it can't be used."""
        try:
            if self._file is not None and not self._file.is_in_place():
                logger.warning("Queue file %s was deleted: what lay in it is lost; a new one is made", self._path)
                self._drop_file()
            if self._file is None:
                if time.monotonic() < self._next_open:
                    return default
                self._file = QueueFile(self._path)
            return act(self._file)
        except _FILE_ERRORS as error:
            self._next_open = time.monotonic() + RETRY_SECONDS
            self._drop_file()
            logger.warning("Cannot use queue file %s (%s): no task is received; trying again", self._path, error)
            return default

    def _drop_file(self) -> None:
        _close(self._file)
        self._file = None
        self._held = None


def _delivery(file: QueueFile, taken: TakenMessage) -> Delivery:
    return Delivery(taken.body, taken.headers, _Handle(file, taken.id))


def _handle(delivery: Delivery) -> _Handle:
    handle: Any = delivery.handle
    return handle  # type: ignore[no-any-return]


def _close(file: QueueFile | None) -> None:
    """Close a file that may be the very one that failed: the session's end gives its messages back in any case."""
    if file is not None:
        try:
            file.close()
        except _FILE_ERRORS as error:
            logger.warning("Cannot close the queue file properly: %s", error)
