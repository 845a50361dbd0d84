"""Opens a queue by its URL: RabbitMQ for amqp and amqps, one file for sqlite."""

from pathlib import Path

from tasks.broker.consumer import RabbitConsumer
from tasks.broker.protocol import Consumer, Publisher
from tasks.broker.publisher import RabbitPublisher
from tasks.broker.session import BrokerAddress
from tasks.broker.sqlite import SqliteConsumer, SqlitePublisher
from tasks.broker.urls import SQLITE_SCHEME, scheme_of, sqlite_path


def open_publisher(url: str, *, ca_file: Path | None = None) -> Publisher:
    """Return a publisher for the queue; it connects when it is first used.

    Parameters
    ----------
    url : amqp://..., amqps://... or sqlite:///PATH.
    ca_file : CA certificates to believe for amqps; None: those of the system.

    Raises
    ------
    BadInputError
        If the URL names no queue, or the CA file can't be read.
    """
    if scheme_of(url) == SQLITE_SCHEME:
        return SqlitePublisher(sqlite_path(url))
    return RabbitPublisher(BrokerAddress(url, ca_file))


def open_consumer(url: str, *, delay_seconds: float, ca_file: Path | None = None, priority: int = 0) -> Consumer:
    """Return a consumer for the queue; it connects when it is first pumped.

    Parameters
    ----------
    url : amqp://..., amqps://... or sqlite:///PATH.
    delay_seconds : how long `Consumer.delay` keeps a message away; the same in every worker of a queue, because a
        message does not overtake another in the delay queue.
    ca_file : CA certificates to believe for amqps; None: those of the system.
    priority : of the free workers those with the highest get a message; a queue in a file does not heed it.

    Raises
    ------
    BadInputError
        If the URL names no queue, or the CA file can't be read.
    """
    if scheme_of(url) == SQLITE_SCHEME:
        return SqliteConsumer(sqlite_path(url), delay_seconds=delay_seconds)
    return RabbitConsumer(BrokerAddress(url, ca_file), delay_seconds=delay_seconds, priority=priority)
