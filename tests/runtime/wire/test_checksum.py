import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.codecs.codec import codec_named
from hybridge.errors import DataError
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire.message import Message


def request_of(codec="raw"):
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    message = Message("p", "a" * 64, {"x": codec_named(codec).encode(pixels)})
    return oip.to_request(message)


def reply_of():
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    return oip.to_response({"y": logits}, program="p", sha256="a" * 64, id_="", cloud_ms=1.0)


@pytest.mark.parametrize("codec", ["raw", "webp"])
def test_what_was_not_damaged_passes(codec):
    request, reply = request_of(codec), reply_of()
    sent = checksum.seal_request(request)
    checksum.check_request(request)
    checksum.seal_reply(reply, checksum.of_request(request))
    checksum.check_reply(reply, sent)


@given(at=st.integers(0, 95), bit=st.integers(0, 7))
def test_any_bit_that_changes_is_seen(at, bit):
    request = request_of()
    checksum.seal_request(request)
    content = bytearray(request.raw_input_contents[0])
    content[at] ^= 1 << bit
    request.raw_input_contents[0] = bytes(content)
    with pytest.raises(DataError, match="request was damaged"):
        checksum.check_request(request)


@pytest.mark.parametrize("change", ["name", "datatype", "shape", "codec"])
def test_so_is_a_change_of_what_the_bytes_mean(change):
    request = request_of("webp")
    checksum.seal_request(request)
    tensor = request.inputs[0]
    if change == "shape":
        tensor.shape[0] = 1
    elif change == "codec":
        tensor.parameters["codec"].string_param = "raw"
    else:
        setattr(tensor, change, "z")
    with pytest.raises(DataError, match="request was damaged"):
        checksum.check_request(request)


def test_a_reply_to_another_request_does_not_pass():
    reply = reply_of()
    checksum.seal_reply(reply, 1)
    with pytest.raises(DataError, match="reply was damaged"):
        checksum.check_reply(reply, 2)


def test_whoever_speaks_as_one_of_us_gives_a_checksum_and_others_need_not():
    request, reply = request_of(), reply_of()
    for check in (lambda: checksum.check_request(request), lambda: checksum.check_reply(reply, 0)):
        with pytest.raises(DataError):
            check()
    del request.parameters["sha256"], reply.parameters["sha256"]
    checksum.check_request(request)
    checksum.check_reply(reply, 0)
