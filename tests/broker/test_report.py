"""What doctor says about a broker, and what repair does to its queues."""

import pika
import pytest

from tasks.broker.report import _Probe, ack_timeout_finding, broker_report, recreate_broken_queues
from tasks.broker.session import SessionLostError
from tasks.broker.topology import DEAD_QUEUE, DELAY_QUEUE, QUEUE_ARGUMENTS, WORK_QUEUE
from tests.broker.test_rabbitmq_faults import memory_alarm
from tests.services.processes import free_port
from tests.support.queues import numbered, pump_until, receive_and_ack


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [
        ("3.8.16", True),
        ("3.8.17", False),
        ("3.10.8", False),
        ("3.11.28", False),
        ("3.12.0", True),
        ("4.0.5", True),
        ("4.3.0-rc.1", True),
        ("None", False),
    ],
)
def test_the_version_tells_whether_long_tasks_are_safe(version, is_fine):
    finding = ack_timeout_finding(version)

    assert finding.verdict == ("ok" if is_fine else "warning")
    assert bool(finding.advice) is not is_fine


def by_subject(findings):
    return {finding.about: finding for finding in findings}


@pytest.mark.rabbitmq
def test_a_broker_without_queues_is_fine_but_for_its_ack_timeout(rabbitmq, rabbitmq_url):
    findings = by_subject(broker_report(rabbitmq_url))

    assert findings["broker"].found.startswith("RabbitMQ ")
    assert "guest:guest" not in findings["broker"].found
    assert [finding.verdict for subject, finding in findings.items() if subject != "ack timeout"] == ["ok"] * 5
    assert "not there yet" in findings[f"queue {WORK_QUEUE}"].found


@pytest.mark.rabbitmq
def test_a_report_leaves_the_messages_where_they_are(rabbitmq_url, rabbitmq_queue):
    rabbitmq_queue.publisher().publish(numbered(3))

    findings = by_subject(broker_report(rabbitmq_url))

    assert findings[f"queue {WORK_QUEUE}"].verdict == "ok"
    assert receive_and_ack(rabbitmq_queue.consumer(), 3) == [b"0", b"1", b"2"]


@pytest.mark.rabbitmq
def test_an_alarm_is_reported_with_what_to_do(rabbitmq, rabbitmq_url):
    with memory_alarm(rabbitmq):
        finding = by_subject(broker_report(rabbitmq_url))["alarm"]

    assert finding.verdict == "problem"
    assert "vm_memory_high_watermark" in finding.advice


@pytest.mark.rabbitmq
def test_a_queue_that_was_declared_otherwise_is_reported_and_made_anew(rabbitmq_url, rabbitmq_queue):
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        connection.channel().queue_declare(DELAY_QUEUE, durable=True)

    finding = by_subject(broker_report(rabbitmq_url))[f"queue {DELAY_QUEUE}"]
    assert finding.verdict == "problem"
    assert "inequivalent arg" in finding.found
    assert "--recreate-queues" in finding.advice

    assert recreate_broken_queues(rabbitmq_url) == [DELAY_QUEUE]
    rabbitmq_queue.publisher().publish(numbered(1))
    assert receive_and_ack(rabbitmq_queue.consumer(), 1) == [b"0"]


@pytest.mark.rabbitmq
def test_a_connection_that_is_lost_while_a_queue_is_looked_at_has_no_queue_deleted(
    rabbitmq_url, rabbitmq_queue, monkeypatch
):
    rabbitmq_queue.publisher().publish(numbered(1))
    opened, open_session = [], _Probe.open_session

    def lost_at_first(probe, setup=None):
        session = open_session(probe, setup)
        opened.append(session)
        if len(opened) == 1:
            session.loop.ioloop.call_later(0.0, lambda: session.lose(SessionLostError("it was reset")))
        return session

    monkeypatch.setattr(_Probe, "open_session", lost_at_first)

    assert recreate_broken_queues(rabbitmq_url) == []
    assert receive_and_ack(rabbitmq_queue.consumer(), 1) == [b"0"]


def test_a_broker_that_is_not_there_is_a_finding():
    (finding,) = broker_report(f"amqp://u:secret@127.0.0.1:{free_port()}/")

    assert finding.verdict == "problem"
    assert "ConnectionRefusedError" in finding.found
    assert "secret" not in finding.found


@pytest.mark.rabbitmq
@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble",
    [
        # What is left by a broker that was killed moments after the declaration: every operation runs into a timeout.
        "sys:suspend(whereis('{queue}')).",
        # The queue's only member is gone.
        "ra:stop_server(quorum_queues, {{'{queue}', node()}}).",
    ],
    ids=["silent", "gone"],
)
def test_a_queue_without_a_leader_is_recognised_and_made_anew_and_its_consumer_goes_on(
    rabbitmq, rabbitmq_url, rabbitmq_queue, trouble
):
    rabbitmq_queue.publisher().publish([])
    virtual_host = rabbitmq_url.rpartition("/")[2]
    rabbitmq.evaluate(trouble.format(queue=f"{virtual_host}_{WORK_QUEUE}"))
    consumer = rabbitmq_queue.consumer()

    findings = by_subject(broker_report(rabbitmq_url))
    assert "no leader" in findings[f"queue {WORK_QUEUE}"].found
    assert findings[f"queue {DELAY_QUEUE}"].verdict == "ok"

    assert recreate_broken_queues(rabbitmq_url) == [WORK_QUEUE]
    rabbitmq_queue.publisher().publish(numbered(1))
    assert receive_and_ack(consumer, 1) == [b"0"]
    assert recreate_broken_queues(rabbitmq_url) == []


def test_a_queue_file_is_reported_with_its_depth(sqlite_queue):
    (finding,) = broker_report(sqlite_queue.url)
    assert finding.verdict == "ok"

    sqlite_queue.publisher().publish(numbered(3))

    (finding,) = broker_report(sqlite_queue.url)
    assert finding.verdict == "ok"
    assert "3 messages ready" in finding.found


def test_a_broken_queue_file_is_reported_with_what_to_do(tmp_path):
    path = tmp_path / "queue.sqlite3"
    path.write_bytes(b"this is not a database" * 100)

    (finding,) = broker_report(f"sqlite:///{path}")

    assert finding.verdict == "problem"
    assert "not a database" in finding.found
    assert "repair" in finding.advice


@pytest.mark.rabbitmq
def test_all_three_queues_are_reported(rabbitmq_url, rabbitmq_queue):
    consumer = rabbitmq_queue.consumer()
    pump_until(consumer, lambda: consumer.is_connected, "connected")

    subjects = set(by_subject(broker_report(rabbitmq_url)))

    assert {f"queue {name}" for name in QUEUE_ARGUMENTS} <= subjects
    assert f"queue {DEAD_QUEUE}" in subjects
