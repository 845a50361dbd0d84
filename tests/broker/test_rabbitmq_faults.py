"""What goes wrong with a broker and a network, done to a real broker through a real proxy."""

import logging
import time
from contextlib import contextmanager

import pika
import pytest

from tasks.broker import consumer as consumer_module
from tasks.broker import publisher as publisher_module
from tasks.broker import session as session_module
from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.protocol import OutgoingMessage
from tasks.broker.topology import DEAD_QUEUE, DELAY_QUEUE, QUEUE_ARGUMENTS, WORK_QUEUE
from tasks.errors import BrokerUnavailableError, MessageNotPublishedError
from tests.services.processes import free_port, wait_until
from tests.services.proxy import fault_proxy
from tests.support.queues import (
    PATIENCE_SECONDS,
    numbered,
    pump_until,
    queue_under_test,
    receive,
    receive_and_ack,
)

pytestmark = pytest.mark.rabbitmq


def assert_different_messages(consumer, count):
    """So many different messages come, some of them perhaps twice."""
    seen = set()
    while len(seen) < count:
        delivery = receive(consumer)
        assert consumer.ack(delivery)
        seen.add(delivery.body)


@pytest.fixture
def proxy(rabbitmq):
    with fault_proxy(rabbitmq.port) as opened:
        yield opened


@pytest.fixture
def proxied_url(rabbitmq, rabbitmq_url, proxy):
    return rabbitmq_url.replace(str(rabbitmq.port), str(proxy.port))


@pytest.fixture
def short_heartbeat(monkeypatch):
    monkeypatch.setattr(consumer_module, "HEARTBEAT_SECONDS", 1)


def alarm(rabbitmq, *, is_on):
    """Set or clear the memory alarm, as the broker itself does when it needs more than it may."""
    verb = "set_alarm" if is_on else "clear_alarm"
    what = "{{resource_limit, memory, node()}, []}" if is_on else "{resource_limit, memory, node()}"
    rabbitmq.evaluate(f"rabbit_alarm:{verb}({what}).")


@contextmanager
def memory_alarm(rabbitmq):
    """Hold publishers back: when the block begins every connection has been told, for the node tells all in one go."""
    told = []
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as probe:
        probe.add_on_connection_blocked_callback(lambda *_: told.append(True))
        channel = probe.channel()
        alarm(rabbitmq, is_on=True)
        try:
            wait_until(lambda: _publishes_blocked(probe, channel, told), seconds=30, what="the alarm holds")
            yield
        finally:
            alarm(rabbitmq, is_on=False)


def _publishes_blocked(connection, channel, told):
    if not told:
        channel.basic_publish("", "nowhere", b"")  # the broker blocks a connection when it publishes
        connection.process_data_events(0.05)
    return bool(told)


def delete_queue(rabbitmq, url, queue):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(queue)


def wait_for_disk(rabbitmq):
    """RabbitMQ 3.10 never finds a leader again for a queue that was declared moments before a kill -9; 6 s are enough.

    What then is to be done is in test_report.py.
    """
    rabbitmq.evaluate("timer:sleep(6000).")


def test_nothing_is_lost_when_the_broker_is_killed(rabbitmq, rabbitmq_queue):
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(500))
    consumer = rabbitmq_queue.consumer(delay_seconds=1.0)
    for _ in range(3):
        assert consumer.delay(receive(consumer), {"h": 1})
    held = receive(consumer)
    wait_for_disk(rabbitmq)

    rabbitmq.kill()

    with pytest.raises(BrokerUnavailableError, match="Cannot reach the queue"):
        publisher.publish(numbered(1))
    rabbitmq.restart()
    pump_until_lost(consumer, held)
    assert not consumer.ack(held)
    publisher.publish(numbered(1, first=500))
    assert sorted(receive_and_ack(consumer, 501)) == sorted(message.body for message in numbered(501))


def pump_until_lost(consumer, held):
    end = time.monotonic() + PATIENCE_SECONDS
    while consumer.is_current(held):
        stray = consumer.wait(0.05)
        assert time.monotonic() < end
        if stray is not None:
            assert not consumer.is_current(held)
            consumer.requeue(stray)


def pump_for(consumer, *, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert consumer.wait(0.1) is None


def test_what_a_frozen_broker_did_not_confirm_is_an_error_and_can_be_sent_again(rabbitmq, rabbitmq_queue, monkeypatch):
    monkeypatch.setattr(publisher_module, "CONFIRM_SECONDS", 1.0)
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(100))
    rabbitmq.freeze()
    try:
        with pytest.raises(MessageNotPublishedError, match="none was confirmed"):
            publisher.publish(numbered(300, first=100))
    finally:
        rabbitmq.thaw()
    monkeypatch.undo()

    publisher.publish(numbered(300, first=100))

    assert_different_messages(rabbitmq_queue.consumer(), 400)


def test_a_reset_connection_gives_the_message_back_and_the_consumer_comes_back(proxy, proxied_url):
    with queue_under_test(proxied_url) as queue:
        queue.publisher().publish(numbered(2))
        consumer = queue.consumer()
        held = receive(consumer)

        proxy.reset()

        pump_until_lost(consumer, held)
        assert not consumer.ack(held)
        assert not consumer.delay(held, {})
        assert not consumer.dead_letter(held, "reason")
        assert not consumer.requeue(held)
        assert sorted(receive_and_ack(consumer, 2)) == [b"0", b"1"]


def test_a_cut_network_is_noticed_by_the_heartbeat_and_mended_by_itself(proxy, proxied_url, short_heartbeat):
    with queue_under_test(proxied_url) as queue:
        queue.publisher().publish(numbered(1))
        consumer = queue.consumer()
        held = receive(consumer)

        proxy.open_black_hole()
        pump_until(consumer, lambda: not consumer.is_connected, "the loss is noticed")
        assert not consumer.is_current(held)

        proxy.close_black_hole()
        assert receive_and_ack(consumer, 1) == [b"0"]


def test_no_wait_takes_much_longer_than_its_time_however_the_network_is(proxy, proxied_url, short_heartbeat):
    with queue_under_test(proxied_url) as queue:
        consumer = queue.consumer()
        pump_until(consumer, lambda: consumer.is_connected, "connected")
        proxy.open_black_hole()
        waits = []
        while consumer.is_connected or len(waits) < 80:  # until the loss is noticed, and on: new connections hang, too
            before = time.monotonic()
            assert consumer.wait(0.2) is None
            waits.append(time.monotonic() - before)

        assert max(waits) < 1.0
        proxy.close_black_hole()


def test_a_slow_network_changes_nothing_but_the_time(proxy, proxied_url):
    proxy.set_latency(0.05)
    with queue_under_test(proxied_url) as queue:
        queue.publisher().publish(numbered(1000))
        consumer = queue.consumer()
        assert consumer.delay(receive(consumer), {"h": 1})

        assert receive_and_ack(consumer, 3) == [b"1", b"2", b"3"]


def test_a_copy_that_is_sent_into_a_black_hole_is_sent_again_and_the_message_never_lost(
    proxy, rabbitmq_url, proxied_url, monkeypatch
):
    monkeypatch.setattr(consumer_module, "MOVE_SECONDS", 0.3)
    with queue_under_test(rabbitmq_url) as queue:
        publisher = queue.publisher()
        publisher.publish(numbered(1))
        consumer = queue.consumer(url=proxied_url, delay_seconds=3600)
        held = receive(consumer)

        proxy.open_black_hole()
        assert not consumer.delay(held, {"h": 1})
        proxy.close_black_hole()

        pump_until(consumer, lambda: publisher.depth().delayed == 1, "the message is delayed")
        # The copy is stored a moment before the original is acked; a further message comes only after that.
        publisher.publish(numbered(1, first=1))
        assert receive_and_ack(consumer, 1) == [b"1"]
        consumer.close()
        assert publisher.depth().ready == 0


def test_an_ack_timeout_of_the_server_is_overruled_by_the_queue_or_noticed_and_recovered_from(rabbitmq, rabbitmq_url):
    rabbitmq.evaluate("application:set_env(rabbit, consumer_timeout, 3000).")
    rabbitmq.evaluate("application:set_env(rabbit, channel_tick_interval, 1000).")
    try:
        with queue_under_test(rabbitmq_url) as queue:
            queue.publisher().publish(numbered(1))
            consumer = queue.consumer()
            held = receive(consumer)

            if rabbitmq.heeds_the_queues_ack_timeout:
                pump_for(consumer, seconds=6.0)  # twice the server's
                assert consumer.ack(held)
            else:
                pump_until_lost(consumer, held)
                assert not consumer.ack(held)
                assert receive_and_ack(consumer, 1) == [b"0"]
    finally:
        rabbitmq.evaluate("application:set_env(rabbit, consumer_timeout, 3153600000000).")
        rabbitmq.evaluate("application:set_env(rabbit, channel_tick_interval, 60000).")


def test_a_deleted_queue_is_declared_and_consumed_again(rabbitmq, rabbitmq_url, rabbitmq_queue):
    consumer = rabbitmq_queue.consumer()
    pump_until(consumer, lambda: consumer.is_connected, "connected")
    pump_until(consumer, lambda: consumers_of(rabbitmq_url) == 1, "consuming")

    delete_queue(rabbitmq, rabbitmq_url, WORK_QUEUE)

    pump_until(consumer, lambda: not consumer.is_connected, "the loss is noticed")
    pump_until(consumer, lambda: consumer.is_connected, "connected again")
    rabbitmq_queue.publisher().publish(numbered(1))
    assert receive_and_ack(consumer, 1) == [b"0"]


def consumers_of(url):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return connection.channel().queue_declare(WORK_QUEUE, passive=True).method.consumer_count


def test_publishing_to_a_missing_queue_is_an_error_and_then_makes_the_queue(rabbitmq, rabbitmq_url, rabbitmq_queue):
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(1))
    delete_queue(rabbitmq, rabbitmq_url, WORK_QUEUE)

    with pytest.raises(MessageNotPublishedError, match=r"there is no queue thor\.work\.v1"):
        publisher.publish(numbered(3))

    publisher.publish(numbered(3))
    wait_until(lambda: publisher.depth().ready == 3, seconds=30, what="three messages are there")


def test_a_delay_into_a_missing_queue_makes_the_queue(rabbitmq, rabbitmq_url, rabbitmq_queue):
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(2))
    consumer = rabbitmq_queue.consumer(delay_seconds=3600)
    assert consumer.delay(receive(consumer), {})
    held = receive(consumer)
    delete_queue(rabbitmq, rabbitmq_url, DELAY_QUEUE)

    assert consumer.delay(held, {})

    wait_until(lambda: publisher.depth().delayed == 1, seconds=30, what="the message is delayed")


def test_an_alarm_holds_publishers_back_and_loses_nothing(rabbitmq, rabbitmq_queue, monkeypatch):
    monkeypatch.setattr(publisher_module, "CONFIRM_SECONDS", 2.0)
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(1))

    with memory_alarm(rabbitmq), pytest.raises(MessageNotPublishedError, match="memory or disk alarm"):
        publisher.publish(numbered(5, first=1))

    publisher.publish(numbered(5, first=1))
    assert_different_messages(rabbitmq_queue.consumer(), 6)


def test_a_consumer_acks_during_an_alarm(rabbitmq, rabbitmq_queue):
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(2))
    consumer = rabbitmq_queue.consumer()
    first = receive(consumer)

    with memory_alarm(rabbitmq):
        assert consumer.ack(first)

        assert receive(consumer).body == b"1"


def test_a_delay_during_an_alarm_is_finished_after_it_and_meanwhile_nothing_else_comes(
    rabbitmq, rabbitmq_queue, monkeypatch
):
    monkeypatch.setattr(consumer_module, "MOVE_SECONDS", 0.5)
    publisher = rabbitmq_queue.publisher()
    publisher.publish(numbered(3))
    consumer = rabbitmq_queue.consumer(delay_seconds=3600)
    assert consumer.delay(receive(consumer), {})  # the second connection is open, and has published
    held = receive(consumer)

    with memory_alarm(rabbitmq):
        assert not consumer.delay(held, {"h": 1})
        assert consumer.is_connected
        assert consumer.wait(1.0) is None

    assert receive(consumer).body == b"2"
    publisher.close()
    wait_until(lambda: rabbitmq_queue.publisher().depth().delayed == 2, seconds=30, what="both are delayed")


def test_of_free_workers_those_with_the_highest_priority_get_the_messages(rabbitmq_queue, rabbitmq_url):
    plain = rabbitmq_queue.consumer()
    first = open_consumer(rabbitmq_url, delay_seconds=1, priority=1)
    try:
        first.start()
        for consumer in (plain, first):  # both are consuming before anything comes
            pump_until(consumer, lambda consumer=consumer: consumer.is_connected, "it is connected")
            assert consumer.wait(2.0) is None
        publisher = rabbitmq_queue.publisher()
        for number in range(5):  # each when both are free
            publisher.publish(numbered(1, first=number))
            assert receive_and_ack(first, 1) == [str(number).encode()]
        assert plain.wait(0.2) is None
    finally:
        first.close()


def test_a_wrong_password_is_an_error_that_does_not_tell_it(rabbitmq, rabbitmq_url, caplog):
    url = rabbitmq_url.replace("guest:guest", "guest:se%2Fcret-password")
    publisher = open_publisher(url)

    with pytest.raises(BrokerUnavailableError, match="ACCESS_REFUSED") as caught:
        publisher.publish(numbered(1))

    publisher.close()
    consumer = open_consumer(url, delay_seconds=1)
    caplog.set_level(logging.DEBUG)
    wait_until(lambda: consumer.wait(0.1) is None and "ACCESS_REFUSED" in caplog.text, seconds=30, what="a warning")
    consumer.close()
    assert "guest:***@" in str(caught.value)
    for text in (str(caught.value), repr(caught.value.__cause__), caplog.text):
        assert "cret" not in text


def test_a_missing_virtual_host_is_named(rabbitmq):
    publisher = open_publisher(rabbitmq.url_of("nowhere"))

    with pytest.raises(BrokerUnavailableError, match="nowhere"):
        publisher.publish(numbered(1))

    publisher.close()


def test_nobody_there_is_an_error_at_once():
    publisher = open_publisher(f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    before = time.monotonic()

    with pytest.raises(BrokerUnavailableError, match="ConnectionRefusedError"):
        publisher.publish(numbered(1))

    publisher.close()
    assert time.monotonic() - before < session_module.CONNECT_SECONDS


def test_a_consumer_may_start_before_its_broker(rabbitmq, rabbitmq_url, proxy, proxied_url):
    proxy.open_black_hole()
    with queue_under_test(proxied_url) as queue:
        consumer = queue.consumer()
        assert consumer.wait(0.3) is None
        assert not consumer.is_connected

        proxy.close_black_hole()
        with queue_under_test(rabbitmq_url) as direct:
            direct.publisher().publish(numbered(1))
        assert receive_and_ack(consumer, 1) == [b"0"]


def test_a_queue_with_other_arguments_is_a_clear_error(rabbitmq_url):
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        connection.channel().queue_declare(WORK_QUEUE, durable=True)  # a classic queue
    publisher = open_publisher(rabbitmq_url)

    with pytest.raises(BrokerUnavailableError, match="inequivalent arg"):
        publisher.publish(numbered(1))

    publisher.close()


def test_foreign_headers_of_any_type_do_not_stop_a_consumer(rabbitmq_url, rabbitmq_queue):
    rabbitmq_queue.publisher().publish([])
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        headers = {"list": [1, {"a": b"b"}], "none": None, "bytes": b"1.5", "text": "kept", "x-stream": 1}
        connection.channel().basic_publish("", WORK_QUEUE, b"foreign", pika.BasicProperties(headers=headers))

    delivery = receive(rabbitmq_queue.consumer())

    assert (delivery.body, delivery.headers) == (b"foreign", {"text": "kept"})


def test_all_queues_are_durable_quorum_queues_that_wait_long_for_an_ack(rabbitmq_url, rabbitmq_queue):
    rabbitmq_queue.publisher().publish([])

    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        for name in (WORK_QUEUE, DELAY_QUEUE, DEAD_QUEUE):
            channel = connection.channel()
            channel.queue_declare(name, durable=True, arguments=dict(QUEUE_ARGUMENTS[name]))
            assert QUEUE_ARGUMENTS[name]["x-queue-type"] == "quorum"
            assert QUEUE_ARGUMENTS[name]["x-consumer-timeout"] > 24 * 3600 * 1000


def test_messages_are_persistent(rabbitmq_url, rabbitmq_queue):
    rabbitmq_queue.publisher().publish([OutgoingMessage(b"{}", {"h": 1})])

    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        _, properties, _ = connection.channel().basic_get(WORK_QUEUE)

    assert properties.delivery_mode == 2
