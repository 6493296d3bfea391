import numpy as np
import pytest

from hybridge.errors import TransportError
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.wire.message import Message, Reply

MESSAGE = Message("p", "a" * 64, {})


def test_answers_with_a_reply_or_a_function_and_remembers():
    reply = Reply({"y": np.zeros((1, 2))})
    with MockTransport(reply) as cloud:
        assert cloud.send(MESSAGE) is reply
    with MockTransport(lambda message: Reply(cloud_ms=len(message.program))) as cloud:
        assert cloud.send(MESSAGE, timeout_ms=5).cloud_ms == 1
        assert cloud.messages == [MESSAGE]


def test_plays_an_outage():
    cloud = MockTransport(fail=TransportError("away"))
    with pytest.raises(TransportError, match="away"):
        cloud.send(MESSAGE)
    cloud.fail = None
    assert cloud.send(MESSAGE) == Reply()
    assert len(cloud.messages) == 2


def test_closed_answers_no_more():
    cloud = MockTransport()
    cloud.close()
    with pytest.raises(TransportError, match="closed"):
        cloud.send(MESSAGE)
