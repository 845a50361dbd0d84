"""AMQP over TLS: believed with the right authority, refused without."""

import pytest

from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.report import broker_report
from tasks.errors import BrokerUnavailableError
from tests.services.certificates import make_certificates
from tests.support.queues import numbered, receive_and_ack

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def tls_url(rabbitmq, rabbitmq_url):
    return rabbitmq.tls_url_of(rabbitmq_url.rpartition("/")[2])


def test_tasks_go_over_tls(rabbitmq, tls_url):
    publisher = open_publisher(tls_url, ca_file=rabbitmq.ca_file)
    consumer = open_consumer(tls_url, delay_seconds=1, ca_file=rabbitmq.ca_file)
    consumer.start()

    publisher.publish(numbered(2000))

    assert receive_and_ack(consumer, 3) == [b"0", b"1", b"2"]
    assert all(finding.verdict == "ok" for finding in broker_report(tls_url, ca_file=rabbitmq.ca_file)[2:])
    publisher.close()
    consumer.close()


def test_a_broker_that_another_authority_vouches_for_is_refused(rabbitmq, tls_url, tmp_path):
    publisher = open_publisher(tls_url, ca_file=make_certificates(tmp_path))

    with pytest.raises(BrokerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        publisher.publish(numbered(1))

    publisher.close()


def test_a_broker_whose_certificate_is_for_another_host_is_refused(rabbitmq, tls_url):
    publisher = open_publisher(tls_url.replace("127.0.0.1", "localhost"), ca_file=rabbitmq.ca_file)

    with pytest.raises(BrokerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        publisher.publish(numbered(1))

    publisher.close()
