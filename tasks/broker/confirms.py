"""Messages sent on one channel in confirm mode, and what became of them."""

from collections.abc import Callable
from typing import Any, Final

from pika.spec import Basic

from tasks.broker.protocol import OutgoingMessage
from tasks.broker.topology import ChannelRequest, message_properties

CONFIRM_WORDS: Final = "switch on publisher confirms"


class Confirms:
    """Counts what one channel has sent and the broker has not yet stored safely. Belongs to one session."""

    def __init__(self, stir: Callable[[], None]) -> None:
        self._stir = stir
        self._sent = 0
        # Delivery tags in their order: a dict, because "multiple" confirms take all from the front.
        self._unconfirmed: dict[int, None] = {}
        self.refused = 0
        self.unroutable = 0

    @property
    def unconfirmed(self) -> int:
        """How many messages were sent and not answered."""
        return len(self._unconfirmed)

    @property
    def has_failed(self) -> bool:
        """Whether a message was refused, or there was no queue for it."""
        return bool(self.refused or self.unroutable)

    def setup(self) -> tuple[str, ChannelRequest]:
        """Return the request that puts a channel into confirm mode, with this as its bookkeeper."""

        def ask(channel: Any, done: Callable[..., None]) -> None:
            channel.add_on_return_callback(self._on_return)
            channel.confirm_delivery(self._on_answer, callback=done)

        return CONFIRM_WORDS, ask

    def send(self, channel: Any, queue: str, message: OutgoingMessage, *, delay_ms: int | None = None) -> None:
        """Send a message to a queue; it is stored safely once `unconfirmed` is 0 and nothing `has_failed`."""
        self._sent += 1
        self._unconfirmed[self._sent] = None
        properties = message_properties(message.headers, delay_ms=delay_ms)
        # mandatory: a message to a queue that is not there comes back instead of being confirmed and dropped.
        channel.basic_publish("", queue, message.body, properties, mandatory=True)

    def _on_answer(self, frame: Any) -> None:
        method = frame.method
        if method.multiple:
            answered = [tag for tag in self._unconfirmed if tag <= method.delivery_tag]
        else:
            answered = [method.delivery_tag]
        for tag in answered:
            self._unconfirmed.pop(tag, None)
        if isinstance(method, Basic.Nack):
            self.refused += len(answered)
        self._stir()

    def _on_return(self, *_: Any) -> None:
        self.unroutable += 1
        self._stir()
