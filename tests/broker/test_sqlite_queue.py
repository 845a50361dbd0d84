"""What is particular to the embedded queue: locks, sessions, clocks, a file that somebody may touch."""

import logging
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.broker import sqlite_file
from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.sqlite_file import QueueFile
from tasks.broker.urls import sqlite_path
from tasks.errors import MessageNotPublishedError
from tests.services.processes import wait_until
from tests.support.queues import PATIENCE_SECONDS, holder_process, kill, numbered, receive, receive_and_ack

SPAWN = multiprocessing.get_context("spawn")


class EndOnWarning(logging.Handler):
    """Ends the process: a consumer gets over a locked file by itself, and only says so."""

    def emit(self, record):
        os._exit(3)


def work(url, ledger, seed, *, may_warn):
    """Receive, note the body when the ack is done, for ever; now and then release or delay instead."""
    dice = random.Random(seed)
    if not may_warn:
        logging.getLogger("tasks.broker").addHandler(EndOnWarning(logging.WARNING))
    consumer = open_consumer(url, delay_seconds=0.05)
    consumer.start()
    with Path(ledger).open("ab", buffering=0) as lines:
        while True:
            delivery = consumer.wait(1.0)
            if delivery is None:
                continue
            throw = dice.random()
            if throw < 0.05:
                assert consumer.requeue(delivery)
            elif throw < 0.1:
                assert consumer.delay(delivery, {"delayed": 1})
            else:
                # Between ack and note a kill would look like a loss: the ledger also has what is about to be acked.
                lines.write(b"about " + delivery.body + b"\n")
                assert consumer.ack(delivery)
                lines.write(b"acked " + delivery.body + b"\n")


def run_workers(count, directory, url, *, may_warn):
    def start(number):
        process = SPAWN.Process(
            target=work,
            args=(url, directory / f"ledger-{number}", number),
            kwargs={"may_warn": may_warn},
            daemon=True,
        )
        process.start()
        return process

    return start, [start(number) for number in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_storm_of_kills_loses_no_message_and_gives_none_again_after_its_ack(tmp_path, sqlite_url):
    total, kills = 2000, 30
    publisher = open_publisher(sqlite_url)
    publisher.publish(numbered(total))
    start, workers = run_workers(4, tmp_path, sqlite_url, may_warn=True)
    dice = random.Random(1)
    for number in range(kills):
        done = publisher.depth()
        wait_until(
            lambda: publisher.depth().ready < done.ready - 20 or publisher.depth().ready == 0,  # noqa: B023
            seconds=PATIENCE_SECONDS,
            what="work goes on",
        )
        victim = dice.randrange(len(workers))
        workers[victim].kill()
        workers[victim].join()
        workers[victim] = start(100 + number)

    wait_until(lambda: sum(vars_of(publisher.depth())) == 0, seconds=PATIENCE_SECONDS, what="every message is acked")

    for worker in workers:
        worker.kill()
        worker.join()
    publisher.close()
    about, acked = read_ledgers(tmp_path)
    expected = {str(number) for number in range(total)}
    assert set(about) == expected
    assert len(acked) == len(set(acked))
    # A second "about" is only possible where a kill fell between the first one and its ack.
    assert len(about) - total <= kills


def vars_of(depth):
    return depth.ready, depth.unacked, depth.delayed, depth.dead


def read_ledgers(directory):
    lines = [line.split() for path in directory.glob("ledger-*") for line in path.read_text().splitlines()]
    return ([body for word, body in lines if word == word_wanted] for word_wanted in ("about", "acked"))


@pytest.mark.timeout(240)
def test_eight_workers_and_a_publisher_never_find_the_file_locked(tmp_path, sqlite_url):
    publisher = open_publisher(sqlite_url)
    _, workers = run_workers(8, tmp_path, sqlite_url, may_warn=False)
    for first in range(0, 800, 50):
        publisher.publish(numbered(50, first=first))

    wait_until(lambda: sum(vars_of(publisher.depth())) == 0, seconds=PATIENCE_SECONDS, what="every message is acked")

    assert all(worker.is_alive() for worker in workers)
    for worker in workers:
        worker.kill()
        worker.join()
    publisher.close()
    about, acked = read_ledgers(tmp_path)
    assert sorted(map(int, acked)) == list(range(800))
    assert len(list(about)) == 800


def open_and_close(url, count):
    for _ in range(count):
        publisher = open_publisher(url)
        publisher.publish(numbered(1))
        publisher.close()


def test_many_processes_may_open_a_new_file_at_once(sqlite_url):
    processes = [SPAWN.Process(target=open_and_close, args=(sqlite_url, 20)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    publisher = open_publisher(sqlite_url)
    assert publisher.depth().ready == 80
    publisher.close()


def test_a_child_process_of_a_consumer_does_not_keep_its_message(sqlite_queue):
    sqlite_queue.publisher().publish(numbered(1))
    script = (
        "import subprocess, sys\n"
        "from tasks.broker.connect import open_consumer\n"
        "consumer = open_consumer(sys.argv[1], delay_seconds=1)\n"
        "consumer.start()\n"
        "assert consumer.wait(30) is not None\n"
        "child = subprocess.Popen(['sleep', '600'], close_fds=False)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, sqlite_queue.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        child = int(holder.stdout.readline())
        try:
            consumer = sqlite_queue.consumer()
            assert consumer.wait(0.3) is None

            kill(holder.pid)

            assert receive(consumer).body == b"0"
            os.kill(child, 0)  # it is there still
        finally:
            kill(child)


def test_a_message_is_back_within_a_fraction_of_a_second_after_its_holder_was_killed(sqlite_queue):
    sqlite_queue.publisher().publish(numbered(1))
    with holder_process(sqlite_queue.url) as pid:
        consumer = sqlite_queue.consumer()
        assert consumer.wait(0.1) is None
        kill(pid)
        before = time.monotonic()

        receive(consumer)

    assert time.monotonic() - before < 2.0


def test_session_files_of_the_dead_are_swept_away(sqlite_queue):
    sqlite_queue.publisher().publish(numbered(1))
    with holder_process(sqlite_queue.url) as pid:
        kill(pid)
        consumer = sqlite_queue.consumer()
        consumer.ack(receive(consumer))
        sessions = Path(f"{sqlite_path(sqlite_queue.url)}.sessions")

        assert len(list(sessions.iterdir())) == 1

        consumer.close()
    assert list(sessions.iterdir()) == []


def test_a_delay_is_over_after_a_restart_of_the_machine(sqlite_queue, monkeypatch):
    sqlite_queue.publisher().publish(numbered(1))
    consumer = sqlite_queue.consumer(delay_seconds=3600)
    assert consumer.delay(receive(consumer), {"h": 1})
    consumer.close()
    monkeypatch.setattr(sqlite_file, "_boot_id", lambda: "another boot")

    delivery = receive(sqlite_queue.consumer())

    assert delivery.headers == {"h": 1}


def test_the_wall_clock_has_no_part_in_a_delay(sqlite_queue, monkeypatch):
    sqlite_queue.publisher().publish(numbered(1))
    consumer = sqlite_queue.consumer(delay_seconds=3600)
    assert consumer.delay(receive(consumer), {})
    monkeypatch.setattr(time, "time", lambda: 1e12)
    monkeypatch.setattr(time, "time_ns", lambda: 10**21)

    assert consumer.wait(0.3) is None


def test_a_deleted_file_is_made_again_and_used_by_all(sqlite_queue):
    publisher, consumer = sqlite_queue.publisher(), sqlite_queue.consumer()
    publisher.publish(numbered(2))
    held = receive(consumer)
    sqlite_path(sqlite_queue.url).unlink()

    assert not consumer.ack(held)

    assert not consumer.is_current(held)
    publisher.publish(numbered(1, first=5))
    assert receive_and_ack(consumer, 1) == [b"5"]


def test_a_file_that_is_not_a_database_is_a_clear_error_and_a_consumer_waits_for_better_times(tmp_path, caplog):
    path = tmp_path / "queue.sqlite3"
    path.write_bytes(b"this is not a database" * 100)
    url = f"sqlite:///{path}"
    publisher, consumer = open_publisher(url), open_consumer(url, delay_seconds=1)
    consumer.start()

    with pytest.raises(MessageNotPublishedError, match="not a database"):
        publisher.publish(numbered(1))
    assert consumer.wait(0.1) is None
    assert not consumer.is_connected
    assert "no task is received" in caplog.text

    path.unlink()
    publisher.publish(numbered(1))
    assert receive_and_ack(consumer, 1) == [b"0"]
    consumer.close()
    publisher.close()


def test_a_disk_that_is_full_is_an_error_and_nothing_is_half_published(sqlite_queue):
    publisher = sqlite_queue.publisher()
    publisher.publish(numbered(1))
    limit_pages(publisher, 20)

    with pytest.raises(MessageNotPublishedError, match="full"):
        publisher.publish(numbered(10_000))

    assert sqlite_queue.publisher().depth().ready == 1


def limit_pages(publisher, count):
    """SQLite answers a full database exactly as a full disk: SQLITE_FULL."""
    publisher._file._db.execute(f"pragma max_page_count = {count}")


def test_a_consumer_that_waits_for_a_long_lock_does_not_fail(sqlite_queue):
    sqlite_queue.publisher().publish(numbered(1))
    consumer = sqlite_queue.consumer()
    held = receive(consumer)
    blocker = sqlite3.connect(sqlite_path(sqlite_queue.url), isolation_level=None, check_same_thread=False)
    blocker.execute("begin immediate")
    timer = threading.Timer(1.0, lambda: blocker.execute("commit"))
    timer.start()

    assert consumer.ack(held)

    timer.join()
    blocker.close()


def test_a_message_of_another_session_cannot_be_removed(tmp_path):
    first, second = QueueFile(tmp_path / "q"), QueueFile(tmp_path / "q")
    first.publish(numbered(1))
    taken = first.take_work()

    assert not second.remove(taken.id)
    assert not second.give_back(taken.id)
    assert not second.delay(taken.id, {}, 0)
    assert not second.dead_letter(taken.id, {})
    assert second.reclaim() == 0

    assert first.remove(taken.id)
    first.close()
    second.close()


def test_every_change_takes_the_write_lock_before_it_looks(tmp_path):
    # A transaction that reads first and writes later fails at once when another commits in between: no wait helps.
    file = QueueFile(tmp_path / "q")
    statements = []
    file._db.set_trace_callback(statements.append)
    file.publish(numbered(4))
    file.delay(file.take_work().id, {}, 0)
    file.give_back(file.take_work().id)
    file.dead_letter(file.take_work().id, {})
    file.remove(file.take_work().id)
    file.close()

    begins = [statement for statement in statements if statement.startswith("begin")]

    assert len(begins) >= 9
    assert set(begins) == {"begin immediate"}


def test_a_look_for_work_costs_the_same_however_many_messages_lie_in_the_queue(tmp_path):
    def steps_of_a_look(file):
        steps = []
        file._db.set_progress_handler(lambda: steps.append(1), 1)
        taken = file.take_work()
        file._db.set_progress_handler(None, 0)
        file.give_back(taken.id)
        return len(steps)

    file = QueueFile(tmp_path / "q")
    file.publish(numbered(10))
    steps_of_a_look(file)
    few = steps_of_a_look(file)
    file.publish(numbered(1000))
    many = steps_of_a_look(file)
    file.close()

    assert many < 2 * few
