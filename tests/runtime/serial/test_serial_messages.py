"""Asks and replies: what comes back is what was meant, or nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import DataError
from hybridge.runtime.wire.serial import (
    Form,
    SerialAsk,
    SerialReply,
    Status,
    Wants,
    answered,
    ask_of,
    reply_of,
)

requests = st.integers(0, 65535)
asks = st.builds(
    SerialAsk,
    program=st.binary(min_size=8, max_size=8),
    payload=st.binary(max_size=200),
    left_ms=st.integers(0, 2**32 - 1),
    form=st.sampled_from(Form),
    wants=st.sampled_from(Wants),
    frame_bytes=st.integers(48, 1024),
    scale=st.floats(width=32, allow_nan=False, allow_infinity=False),
    zero_point=st.integers(-(2**31), 2**31 - 1),
)


@given(ask=asks, request=requests)
def test_asks_come_back(ask, request):
    assert ask_of(ask.to_bytes(request), request) == ask


@given(ask=asks, request=requests, data=st.data())
def test_no_change_of_an_ask_is_taken(ask, request, data):
    message = bytearray(ask.to_bytes(request))
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError, match="checksum"):
        ask_of(bytes(message), request)


@given(ask=asks, request=requests, other=requests)
def test_an_ask_is_of_one_request(ask, request, other):
    if other != request:
        with pytest.raises(DataError, match="another message"):
            ask_of(ask.to_bytes(request), other)


@given(data=st.binary(max_size=100))
def test_any_bytes_are_refused_in_our_words(data):
    for read in (lambda: ask_of(data, 1), lambda: reply_of(data, bytes(8))):
        with pytest.raises(DataError):
            read()


def test_a_reply_to_something_else_is_refused():
    one = SerialAsk(bytes(8), b"one", 1000).to_bytes(7)
    other = SerialAsk(bytes(8), b"two", 1000).to_bytes(7)
    reply = answered(np.array([1.0, 2.0]), Wants.CLASS, 3.0)
    assert reply_of(reply.to_bytes(one), one).label == 1
    with pytest.raises(DataError, match="another message"):
        reply_of(reply.to_bytes(one), other)


logits = st.lists(st.floats(-60_000, 60_000, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, np.float32)
)


@given(logits=logits, wants=st.sampled_from(Wants))
def test_logits_cross_as_precisely_as_asked(logits, wants):
    ask = SerialAsk(bytes(8), b"", 1000).to_bytes(1)
    reply = reply_of(answered(logits, wants, 12.6).to_bytes(ask), ask)
    assert (reply.status, reply.cloud_ms) == (Status.ANSWERED, 13)
    assert reply.label == logits.argmax()
    powers = np.exp(logits.astype(float) - logits.max())
    assert reply.probability == pytest.approx(powers.max() / powers.sum(), abs=1e-4)
    if wants == Wants.CLASS:
        assert reply.logits is None
        return
    span = max(logits.max(), 0) - min(logits.min(), 0)
    steps = {Wants.INT8: 1.01 * span / 255 + 1e-30, Wants.FLOAT16: np.abs(logits).max() * 2e-3}
    np.testing.assert_allclose(reply.logits, logits, atol=float(steps[wants]) + 1e-7)


@pytest.mark.parametrize("status", [status for status in Status if status])
def test_refusals_cross(status):
    ask = SerialAsk(bytes(8), b"", 1000).to_bytes(1)
    message = SerialReply(status).to_bytes(ask)
    assert len(message) == 22
    assert reply_of(message, ask) == SerialReply(status)
