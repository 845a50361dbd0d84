"""Broker and bucket fail while workers work: nothing is lost, and nothing is computed twice for it."""

import contextlib
import time

import pika
import pytest

from tasks.broker.topology import WORK_QUEUE
from tests.services.fake_gcs import FakeGcs
from tests.services.faults import Fault, running_fault_proxy
from tests.services.proxy import fault_proxy
from tests.services.rabbitmq import PrivateRabbitMQ, installation, private_rabbitmq
from tests.whole_system.broken import PASSING_FAULTS
from tests.whole_system.rig import Place, Rig

pytestmark = [pytest.mark.rabbitmq, pytest.mark.gcs]


@pytest.fixture(scope="module")
def node(rabbitmq):
    """A broker of these tests' own, since they kill it."""
    assert installation()
    with private_rabbitmq() as node:
        yield node


@pytest.fixture
def far(fake_gcs):
    """The bucket behind a proxy that injects faults."""
    with running_fault_proxy(fake_gcs.url) as faults:
        yield faults


def rig_on(tmp_path, node: PrivateRabbitMQ, fake_gcs: FakeGcs, *, queue_port: int | None = None, emulator: str = ""):
    url = node.url_of(node.add_virtual_host())
    return Rig(
        Place(
            bucket_url=f"gs://{fake_gcs.make_bucket()}",
            queue_url=url.replace(f":{node.port}/", f":{queue_port or node.port}/"),
            environment={"STORAGE_EMULATOR_HOST": emulator or fake_gcs.url},
            direct_emulator=fake_gcs.url,
            direct_queue_url=url,
        ),
        tmp_path,
    )


@pytest.fixture
def rig(tmp_path, node, fake_gcs):
    rig = rig_on(tmp_path, node, fake_gcs)
    yield rig
    rig.close()


def await_settled_queues(rig):
    """A quorum queue whose broker is killed in the moment of its birth never comes back: that is not tested here."""
    rig.submit(first={"seconds": 6.0})
    rig.await_state("first", "succeeded")


def test_a_broker_killed_and_restarted_while_a_task_is_computed_costs_nothing(rig, node):
    worker = rig.worker()
    await_settled_queues(rig)
    rig.submit(held={"gate": "go"})
    rig.await_computing("held")

    node.kill()
    rig.await_that(lambda: "Cannot connect" in worker.printed or "lost" in worker.printed.lower(), "it was noticed")
    node.restart()
    rig.open_gate("go")

    rig.assert_promises({"first": "succeeded", "held": "succeeded"})


def test_a_task_is_finished_while_the_broker_is_away(rig, node):
    rig.worker()
    await_settled_queues(rig)
    rig.submit(held={"gate": "go"})
    rig.await_computing("held")

    node.kill()
    rig.open_gate("go")
    rig.await_state("held", "succeeded")
    node.restart()

    rig.assert_promises({"first": "succeeded", "held": "succeeded"})


def test_connections_that_are_reset_again_and_again_cost_nothing(tmp_path, node, fake_gcs):
    with fault_proxy(node.port) as proxy:
        rig = rig_on(tmp_path, node, fake_gcs, queue_port=proxy.port)
        try:
            rig.submit(**{f"orbit-{number}": {"gate": f"go-{number}"} for number in range(4)})
            rig.worker()
            for number in range(4):
                rig.await_that(lambda: any(s == "in_progress" for s in rig.states().values()), "a task is computed")
                proxy.reset()
                rig.open_gate(f"go-{number}")
            rig.assert_promises({f"orbit-{number}": "succeeded" for number in range(4)})
        finally:
            rig.close()


def test_an_ack_timeout_of_the_broker_does_not_end_a_long_task(rig, node):
    """RabbitMQ before 3.12 closes the channel of who does not ack for half an hour; here for two seconds."""
    node.evaluate("application:set_env(rabbit, consumer_timeout, 2000).")
    node.evaluate("application:set_env(rabbit, channel_tick_interval, 500).")
    try:
        rig.submit(held={"gate": "go"})
        worker = rig.worker()
        rig.await_computing("held")
        if node.heeds_the_queues_ack_timeout:
            time.sleep(5.0)
            assert "PRECONDITION_FAILED" not in worker.printed, worker.printed
        else:
            closed = ("PRECONDITION_FAILED", "406")
            rig.await_that(lambda: any(word in worker.printed for word in closed), "the channel closed")
        rig.open_gate("go")
        rig.await_state("held", "succeeded")
    finally:
        node.evaluate("application:set_env(rabbit, consumer_timeout, 3153600000000).")
    rig.assert_promises({"held": "succeeded"})


def test_a_queue_that_was_deleted_is_made_anew_and_costs_only_the_messages_in_it(rig):
    rig.submit(held={"gate": "go"})
    rig.worker()
    rig.await_computing("held")
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rig.settings.queue_url))) as connection:
        connection.channel().queue_delete(WORK_QUEUE)
    rig.open_gate("go")
    rig.await_state("held", "succeeded")
    rig.await_that(rig.has_empty_queues, "the queue is there again")

    rig.submit(later={})

    rig.assert_promises({"held": "succeeded", "later": "succeeded"})


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bucket_that_fails_in_every_way_costs_nothing(tmp_path, node, fake_gcs, far, seed):
    rig = rig_on(tmp_path, node, fake_gcs, emulator=far.url)
    try:
        far.at_random(seed=seed, failing=0.2, kinds=PASSING_FAULTS)
        rig.submit(**{f"orbit-{number}": {} for number in range(6)})
        rig.worker()
        rig.worker()
        rig.await_rest()
        assert len(far.injected) > 10
        far.stop()
        rig.assert_promises({f"orbit-{number}": "succeeded" for number in range(6)})
    finally:
        rig.close()


def test_a_bucket_that_is_away_for_less_than_a_delay_costs_nothing(tmp_path, node, fake_gcs, far):
    rig = rig_on(tmp_path, node, fake_gcs, emulator=far.url)
    try:
        rig.submit(held={"gate": "go"})
        worker = rig.worker(THOR_BUCKET_DEADLINE_SECONDS="0.5")
        rig.await_computing("held")
        far.at_random(seed=1, failing=1.0, kinds=(Fault.UNAVAILABLE_BEFORE,))
        rig.await_that(lambda: worker.printed.count("Could not renew") >= 2, "two renewals failed")
        far.stop()
        rig.open_gate("go")
        rig.assert_promises({"held": "succeeded"})
    finally:
        rig.close()
