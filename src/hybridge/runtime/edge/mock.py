"""A transport without a cloud, for tests of whatever asks one."""

from collections.abc import Callable

from hybridge.closing import Closing
from hybridge.runtime.wire.message import Message, Reply, UnsentError


class MockTransport(Closing):
    """Answers from a function, and remembers what it was asked.

    ::

        with MockTransport(lambda message: Reply({"logits": logits})) as cloud: ...
        with MockTransport(fail=TransportError("the cloud is away")) as cloud: ...

    Args:
        reply: What every message is answered with, or a function from the message to it; a
            function may raise what a cloud would.
        fail: Raised by every ``send``, once the message has been noted. May be set and cleared
            at any time, to play an outage.

    Attributes:
        messages: Every message sent, in order.
    """

    def __init__(
        self,
        reply: Callable[[Message], Reply] | Reply | None = None,
        fail: Exception | None = None,
    ) -> None:
        self.reply = Reply() if reply is None else reply
        self.fail = fail
        self.messages: list[Message] = []
        self._closed = False

    def send(self, message: Message, timeout_ms: float | None = None) -> Reply:
        """Note ``message`` and answer; raises `UnsentError` once closed, or ``fail``."""
        if self._closed:
            raise UnsentError("this transport is closed; make a new one")
        self.messages.append(message)
        if self.fail is not None:
            raise self.fail
        return self.reply(message) if callable(self.reply) else self.reply

    def close(self) -> None:
        """Answer no more."""
        self._closed = True
