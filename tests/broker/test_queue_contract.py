"""What every queue must do, on SQLite and on a real RabbitMQ."""

import time

import pytest

from tasks.broker.protocol import DELIVERY_LIMIT, REASON_HEADER, SEEN_GENERATION_HEADER, OutgoingMessage
from tasks.errors import BrokerUnavailableError
from tests.services.processes import wait_until
from tests.support.queues import (
    PATIENCE_SECONDS,
    holder_process,
    kill,
    numbered,
    pump_until,
    receive,
    receive_and_ack,
)


def becomes(publisher, **expected):
    """Wait until the depth is as expected: a server counts what it was told a moment ago."""
    wait_until(
        lambda: {name: getattr(publisher.depth(), name) for name in expected} == expected,
        seconds=PATIENCE_SECONDS,
        what=f"the depth is {expected}",
    )


def test_messages_come_in_the_order_in_which_they_were_sent(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(20))
    publisher.publish(numbered(20, first=20))

    bodies = receive_and_ack(queue.consumer(), 40)

    assert bodies == [message.body for message in numbered(40)]


def test_messages_outlive_their_publisher(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(3))
    publisher.close()

    assert receive_and_ack(queue.consumer(), 3) == [b"0", b"1", b"2"]


def test_publishing_nothing_does_nothing(queue):
    publisher = queue.publisher()
    publisher.publish([])

    assert publisher.depth().ready == 0


def test_ten_thousand_messages_are_all_there(queue):
    publisher = queue.publisher()

    publisher.publish(numbered(10_000))

    becomes(publisher, ready=10_000)


def test_body_and_headers_arrive_as_they_were_sent(queue):
    headers = {"prefect_flow_run_id": "a-b-c", SEEN_GENERATION_HEADER: 2**53}
    body = bytes(range(256))
    queue.publisher().publish([OutgoingMessage(body, headers)])

    delivery = receive(queue.consumer())

    assert delivery.body == body
    assert delivery.headers == headers


def test_an_acked_message_is_gone(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(1))
    consumer = queue.consumer()

    assert consumer.ack(receive(consumer))

    consumer.close()
    becomes(publisher, ready=0, delayed=0, dead=0)


def test_nothing_more_comes_before_the_message_in_hand_is_done(queue):
    queue.publisher().publish(numbered(2))
    consumer = queue.consumer()
    first = receive(consumer)

    assert consumer.wait(0.5) is None

    assert consumer.ack(first)
    assert receive(consumer).body == b"1"


def test_two_consumers_never_hold_the_same_message(queue):
    queue.publisher().publish(numbered(2))

    bodies = {receive(queue.consumer()).body, receive(queue.consumer()).body}

    assert bodies == {b"0", b"1"}


def test_an_unacked_message_comes_back_when_its_consumer_leaves(queue):
    queue.publisher().publish(numbered(1))
    first, second = queue.consumer(), queue.consumer()
    holder, other = (first, second) if first.wait(5) is not None else (second, first)

    holder.close()

    assert receive(other).body == b"0"


def test_an_unacked_message_comes_back_when_its_holder_is_killed(queue):
    queue.publisher().publish([OutgoingMessage(b"task", {"h": 1})])
    with holder_process(queue.url) as pid:
        consumer = queue.consumer()
        assert consumer.wait(0.3) is None

        kill(pid)

        delivery = receive(consumer)
    assert (delivery.body, delivery.headers) == (b"task", {"h": 1})


def test_a_released_message_comes_back_at_once_with_its_headers(queue):
    queue.publisher().publish([OutgoingMessage(b"task", {"h": 1})])
    consumer = queue.consumer()
    delivery = receive(consumer)
    consumer.stop()

    assert consumer.requeue(delivery)

    again = receive(queue.consumer())
    assert (again.body, again.headers) == (b"task", {"h": 1})


def test_a_message_answered_twice_is_answered_once(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(1))
    consumer = queue.consumer()
    delivery = receive(consumer)
    assert consumer.delay(delivery, {})
    consumer.close()

    assert not consumer.ack(delivery)
    assert not consumer.is_current(delivery)
    becomes(publisher, delayed=1)


def test_a_delayed_message_stays_away_for_the_delay_and_comes_back_with_its_new_headers(queue):
    publisher = queue.publisher()
    publisher.publish([OutgoingMessage(b"task", {"old": "header"})])
    consumer = queue.consumer(delay_seconds=2.0)
    delivery = receive(consumer)
    before = time.monotonic()

    assert consumer.delay(delivery, {SEEN_GENERATION_HEADER: 17})

    becomes(publisher, ready=0, delayed=1)
    again = receive(consumer)
    assert time.monotonic() - before >= 2.0
    assert (again.body, again.headers) == (b"task", {SEEN_GENERATION_HEADER: 17})
    assert consumer.ack(again)


def test_delayed_messages_come_back_in_their_order_and_behind_those_that_wait(queue):
    queue.publisher().publish(numbered(3))
    consumer = queue.consumer()
    for _ in range(2):
        assert consumer.delay(receive(consumer), {})
    pump = receive(consumer)
    wait_until(lambda: consumer.wait(0.0) is None and queue.publisher().depth().delayed == 0, seconds=30, what="due")

    assert consumer.ack(pump)

    assert receive_and_ack(consumer, 2) == [b"0", b"1"]


def test_a_delay_outlives_its_consumer(queue):
    queue.publisher().publish(numbered(1))
    consumer = queue.consumer()
    assert consumer.delay(receive(consumer), {"h": 1})
    consumer.close()

    assert receive(queue.consumer()).headers == {"h": 1}


def test_a_message_may_be_delayed_many_times(queue):
    queue.publisher().publish(numbered(1))
    consumer = queue.consumer(delay_seconds=0.05)

    for turn in range(30):
        delivery = receive(consumer)
        assert delivery.headers.get("turn", 0) == turn
        assert consumer.delay(delivery, {"turn": turn + 1})


def test_a_buried_message_lies_in_the_dead_queue_with_the_reason(queue):
    publisher = queue.publisher()
    publisher.publish([OutgoingMessage(b"not json", {"h": 1})])
    consumer = queue.consumer()

    assert consumer.dead_letter(receive(consumer), "not JSON")

    becomes(publisher, ready=0, dead=1)
    (dead,) = publisher.take_dead(10)
    assert (dead.body, dead.headers) == (b"not json", {"h": 1, REASON_HEADER: "not JSON"})


def test_dead_messages_that_are_not_acked_lie_in_the_dead_queue_again(queue):
    consumer = queue.consumer()
    publisher = queue.publisher()
    publisher.publish(numbered(3))
    for _ in range(3):
        assert consumer.dead_letter(receive(consumer), "no status")

    taken = publisher.take_dead(2)
    assert [dead.body for dead in taken] == [b"0", b"1"]
    publisher.ack(taken[0])
    publisher.close()

    other = queue.publisher()
    assert sorted(dead.body for dead in other.take_dead(10)) == [b"1", b"2"]


def test_a_dead_message_cannot_be_acked_after_its_publisher_left(queue):
    consumer = queue.consumer()
    publisher = queue.publisher()
    publisher.publish(numbered(1))
    assert consumer.dead_letter(receive(consumer), "no status")
    (dead,) = publisher.take_dead(1)
    publisher.close()
    other = queue.publisher()

    with pytest.raises(BrokerUnavailableError, match="dead queue again"):
        other.ack(dead)


def test_a_message_that_comes_back_too_often_is_dead_and_not_lost(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(1))
    consumer = queue.consumer()

    deliveries = 0
    while (delivery := consumer.wait(0.2)) is not None or publisher.depth().dead == 0:
        if delivery is not None:
            deliveries += 1
            assert consumer.requeue(delivery)

    assert deliveries == DELIVERY_LIMIT + 1
    assert DELIVERY_LIMIT >= 1000, "a task of many hours may be given back often: on spot machines, or by drain limits"
    assert [dead.body for dead in publisher.take_dead(5)] == [b"0"]


def test_a_stopped_consumer_receives_nothing_until_it_is_started_again(queue):
    consumer = queue.consumer()
    consumer.wait(0)
    consumer.stop()
    queue.publisher().publish(numbered(1))

    assert consumer.wait(0.5) is None

    consumer.start()
    assert receive(consumer).body == b"0"


def test_a_consumer_that_stops_leaves_what_it_has_not_seen_to_others(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(2))
    consumer = queue.consumer()
    first = receive(consumer)
    assert consumer.ack(first)  # a server sends the second one at once

    consumer.stop()

    other, received = queue.consumer(), []

    def has_come():
        assert consumer.wait(0.05) is None  # served, it gives back what was on its way to it when it stopped
        received.append(other.wait(0.05))
        return received[-1] is not None

    wait_until(has_come, seconds=PATIENCE_SECONDS, what="the other one receives it")
    assert received[-1].body == b"1"
    assert consumer.wait(0.1) is None


def test_a_stopped_consumer_can_still_ack_what_it_holds(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(1))
    consumer = queue.consumer()
    delivery = receive(consumer)

    consumer.stop()

    pump_until(consumer, lambda: consumer.is_current(delivery), "the delivery is current")
    assert consumer.ack(delivery)
    consumer.close()
    becomes(publisher, ready=0)


def test_depth_counts_what_lies_where(queue):
    publisher = queue.publisher()
    publisher.publish(numbered(5))
    consumer = queue.consumer(delay_seconds=60)
    assert consumer.delay(receive(consumer), {})
    assert consumer.dead_letter(receive(consumer), "bad")
    held = receive(consumer)

    becomes(publisher, ready=2, delayed=1, dead=1)
    assert publisher.depth().unacked in (1, -1)
    assert consumer.is_current(held)


def test_a_wait_ends_in_about_its_time(queue):
    consumer = queue.consumer()
    pump_until(consumer, lambda: consumer.is_connected, "the consumer is connected")
    before = time.monotonic()

    assert consumer.wait(0.3) is None

    assert 0.25 < time.monotonic() - before < 1.5


def test_closing_twice_does_no_harm(queue):
    consumer, publisher = queue.consumer(), queue.publisher()
    consumer.wait(0)
    publisher.depth()

    for client in (consumer, publisher, consumer, publisher):
        client.close()

    assert not consumer.is_connected
