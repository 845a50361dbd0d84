"""The embedded queue's file: its table, and what one transaction does to it. No policy, no waiting for messages.

Durable: WAL with `synchronous=full`, so a commit is on the disk when it returns. Many processes: every change is one
`begin immediate` transaction, which waits for its turn and never fails half-way for want of a lock. Local disks only:
file locks and WAL's shared memory do not work over a network.

Whose message is it? Each client that takes messages holds an exclusive lock on a session file of its own. The kernel
drops the lock the moment its process ends, by whatever cause, so whoever can lock the file knows the holder is dead: no
clock, no lease, no heartbeat.

How long is a delay? It is timed by CLOCK_MONOTONIC: one clock for all processes of a machine, which nobody can set,
and which stands still while the machine sleeps, exactly as the clock does by which a worker renews its lease. After a
restart of the machine it begins anew, and the delays of another boot are over: no holder has outlived it.
"""

import fcntl
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from tasks.broker.protocol import DELIVERY_LIMIT, REASON_HEADER, Headers, OutgoingMessage, QueueDepth

LOCK_SECONDS: Final = 30.0
"""How long a transaction waits for its turn: others' take milliseconds each."""
_BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")

_SCHEMA: Final = """
create table if not exists message (
    id integer primary key autoincrement,     -- the order of the queue
    queue text not null check (queue in ('work', 'delay', 'dead')),
    body blob not null,
    headers text not null,                    -- JSON object
    due_ns integer,                           -- delay queue: CLOCK_MONOTONIC when it goes back to work
    boot_id text,                             -- delay queue: the boot that due_ns belongs to
    holder text,                              -- session file of the client that has it unacked
    deliveries integer not null default 0
) strict;
create index if not exists message_ready on message (queue, id) where holder is null;
create index if not exists message_held on message (holder) where holder is not null;
"""
_IS_DUE: Final = "queue = 'delay' and (boot_id <> :boot_id or due_ns <= :now_ns)"
# Nobody holds what is delayed; that it is said has the index used, instead of reading every message at every look.
_FIND_DUE: Final = f"select id from message where holder is null and {_IS_DUE} order by due_ns, id"  # noqa: S608
_COUNT: Final = f"""
select case when holder is not null then 'held' when {_IS_DUE} then 'work' else queue end, count(*)
from message group by 1
"""  # noqa: S608


class TakenMessage(NamedTuple):
    """A message that this session holds."""

    id: int
    body: bytes
    headers: dict[str, str | int]


class QueueFile:
    """One open connection to the queue's file, with a session for what it takes.

    Raises
    ------
    sqlite3.Error, OSError
        From every method, when the file can't be used: the object is then closed and replaced by its owner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sessions = Path(f"{path}.sessions")
        self._boot_id = _boot_id()
        self._session: _Session | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opening sets WAL, and the last one to close removes it: neither waits for the other by itself.
        with self._door():
            if not path.exists():
                for remains in ("-wal", "-shm"):  # of a file that somebody deleted: they belong to no other
                    Path(f"{path}{remains}").unlink(missing_ok=True)
            self._db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("pragma journal_mode = wal")
                self._db.execute("pragma synchronous = full")
                self._db.executescript(_SCHEMA)
                self._inode = path.stat().st_ino
            except BaseException:
                self._db.close()
                raise

    def is_in_place(self) -> bool:
        """Whether the file is still the one under its name: somebody may have deleted the queue."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        """Append all messages to the work queue, or none."""
        rows = [(message.body, _text(message.headers)) for message in messages]
        with self._transaction():
            self._db.executemany("insert into message (queue, body, headers) values ('work', ?, ?)", rows)

    def depth(self) -> QueueDepth:
        """Count the messages; a delay that is over counts as ready."""
        counts = dict.fromkeys(("work", "delay", "dead", "held"), 0)
        counts.update(self._db.execute(_COUNT, self._clock()).fetchall())
        return QueueDepth(ready=counts["work"], unacked=counts["held"], delayed=counts["delay"], dead=counts["dead"])

    def take_work(self) -> TakenMessage | None:
        """Take the first message of the work queue, if there is one."""
        if self._db.execute(_FIND_DUE, self._clock()).fetchone():
            self._return_delayed()
        # Looking costs no lock: workers that find nothing never hinder each other.
        ready = "select 1 from message where queue = 'work' and holder is null limit 1"
        if self._db.execute(ready).fetchone() is None:
            return None
        taken = self._take("work", 1)
        return taken[0] if taken else None

    def take_dead(self, limit: int) -> list[TakenMessage]:
        """Take the first messages of the dead queue."""
        return self._take("dead", limit)

    def remove(self, message_id: int) -> bool:
        """Remove a message that this session holds; False if it does not hold it."""
        with self._transaction():
            return self._changed("delete from message where id = ? and holder = ?", message_id, self._session_name())

    def delay(self, message_id: int, headers: Headers, delay_ns: int) -> bool:
        """Move a message that this session holds to the delay queue."""
        clock = self._clock()
        with self._transaction():
            return self._changed(
                "update message set queue = 'delay', headers = ?, due_ns = ?, boot_id = ?, holder = null, "
                "deliveries = 0 where id = ? and holder = ?",
                _text(headers),
                int(clock["now_ns"]) + delay_ns,
                clock["boot_id"],
                message_id,
                self._session_name(),
            )

    def dead_letter(self, message_id: int, headers: Headers) -> bool:
        """Move a message that this session holds to the dead queue."""
        with self._transaction():
            return self._changed(
                "update message set queue = 'dead', headers = ?, holder = null, deliveries = 0 "
                "where id = ? and holder = ?",
                _text(headers),
                message_id,
                self._session_name(),
            )

    def give_back(self, message_id: int) -> bool:
        """Give a message that this session holds back to its place in its queue."""
        with self._transaction():
            given = self._changed(
                "update message set holder = null where id = ? and holder = ?", message_id, self._session_name()
            )
            self._dead_letter_worn_out()
            return given

    def reclaim(self) -> int:
        """Give back what dead clients hold; return how many messages those were."""
        holders = self._db.execute("select distinct holder from message where holder is not null").fetchall()
        return sum(self._reclaim_from(name) for (name,) in holders if name != self._session_name())

    def problems(self) -> str:
        """Return what SQLite finds wrong with the file; nothing if it is sound."""
        (answer,) = self._db.execute("pragma quick_check(1)").fetchone()
        return "" if answer == "ok" else str(answer)

    def close(self) -> None:
        """Give everything back and leave."""
        with self._door():
            try:
                if self._session is not None:
                    with suppress(sqlite3.Error):  # the lock goes with the session: others reclaim
                        self._return_messages_of(self._session.name)
                    self._session.close()
            finally:
                self._session = None
                self._db.close()

    def _take(self, queue: str, limit: int) -> list[TakenMessage]:
        if self._session is None:
            self._session = _Session(self._sessions)
        with self._transaction():
            rows = self._db.execute(
                "update message set holder = ?, deliveries = deliveries + 1 where id in "
                "(select id from message where queue = ? and holder is null order by id limit ?) "
                "returning id, body, headers",
                (self._session.name, queue, limit),
            ).fetchall()
        return sorted(TakenMessage(row[0], row[1], json.loads(row[2])) for row in rows)

    def _return_delayed(self) -> None:
        """Append what is due to the work queue, in its order."""
        with self._transaction():
            due = self._db.execute(_FIND_DUE, self._clock())
            for (message_id,) in due.fetchall():
                self._db.execute(
                    "insert into message (queue, body, headers) select 'work', body, headers from message where id = ?",
                    (message_id,),
                )
                self._db.execute("delete from message where id = ?", (message_id,))

    def _reclaim_from(self, holder: str) -> int:
        lock = _try_lock(self._sessions / holder)
        if lock is None:
            return 0
        try:
            return self._return_messages_of(holder)
        finally:
            (self._sessions / holder).unlink(missing_ok=True)
            lock.close()

    def _return_messages_of(self, holder: str) -> int:
        with self._transaction():
            returned = self._db.execute("update message set holder = null where holder = ?", (holder,)).rowcount
            self._dead_letter_worn_out()
            return returned

    def _dead_letter_worn_out(self) -> None:
        reason = f"came back more than {DELIVERY_LIMIT} times"
        self._db.execute(
            "update message set queue = 'dead', deliveries = 0, headers = json_set(headers, ?, ?) "
            "where queue = 'work' and holder is null and deliveries > ?",
            (f"$.{REASON_HEADER}", reason, DELIVERY_LIMIT),
        )

    def _changed(self, statement: str, *values: object) -> bool:
        return self._db.execute(statement, values).rowcount == 1

    def _session_name(self) -> str:
        return self._session.name if self._session is not None else ""

    def _clock(self) -> dict[str, str | int]:
        return {"boot_id": self._boot_id, "now_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC)}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    @contextmanager
    def _door(self) -> Iterator[None]:
        """Let one process at a time open or close the file."""
        with Path(f"{self._path}.door").open("w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield


class _Session:
    """A file that stays locked as long as this process lives. Close-on-exec: no child keeps it alive."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        _sweep(directory)
        self.name = ""
        while not self.name:
            name = uuid.uuid4().hex
            lock = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # A sweeper may have found the file before it was locked, and removed it: then nobody would see our lock.
            if os.fstat(lock).st_nlink:
                self.name = name
                self._lock = lock
            else:
                os.close(lock)
        self._path = directory / self.name

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._lock)


class _Lock:
    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _try_lock(path: Path) -> _Lock | None:
    """Lock a session file of a dead process (or one that is gone already); None if its process lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _Lock(None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return _Lock(descriptor)


def _sweep(directory: Path) -> None:
    """Remove session files of dead processes; messages that they hold are reclaimed without them."""
    for path in directory.iterdir():
        lock = _try_lock(path)
        if lock is not None:
            path.unlink(missing_ok=True)
            lock.close()


def _text(headers: Headers) -> str:
    return json.dumps(dict(headers))


def _boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text().strip()
    except OSError:  # not Linux
        return ""
