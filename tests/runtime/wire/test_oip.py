import struct
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybridge.codecs.codec import codec_named, decode
from hybridge.errors import DataError, SignatureError
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.wire import oip, outline
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Message

DTYPES = sorted(oip.DATATYPES)
LIMIT = 1 << 20


def program(*inputs):
    return Program(
        name="p",
        sha256="a" * 64,
        size_bytes=1,
        inputs=[TensorSpec(name=n, dtype=d, shape=s) for n, d, s in inputs],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(2,))],
    )


def crossed(message, target):
    data = oip.to_request(message).SerializeToString()
    return oip.from_request(oip.parse(pb.ModelInferRequest, data), target)


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    """Return a length-delimited protobuf field, by hand."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@settings(deadline=None, max_examples=60)
@given(data=st.data(), left_ms=st.none() | st.floats(-10, 1e6))
def test_raw_tensors_of_every_dtype_cross_unchanged(data, left_ms):
    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4)))
    target = program(("x", dtype, array.shape[1:]))
    message = Message("p", target.sha256, {"x": codec_named("raw").encode(array)}, left_ms)
    arrived = crossed(message, target)
    assert arrived == message
    np.testing.assert_array_equal(decode(arrived.tensors["x"], LIMIT), array)


def test_raw_and_encoded_inputs_cross_together():
    target = program(
        ("image", "uint8", (8, 8, 3)), ("features", "float32", (4,)), ("n", "int64", ())
    )
    rng = np.random.default_rng(0)
    message = Message(
        "p",
        target.sha256,
        {
            "image": codec_named("jpeg-90").encode(rng.integers(0, 256, (3, 8, 8, 3), np.uint8)),
            "features": codec_named("int8-zstd").encode(rng.random((3, 4), np.float32)),
            "n": codec_named("raw").encode(np.arange(3)),
        },
        left_ms=12.5,
    )
    assert crossed(message, target) == message


def test_request_has_the_protocols_field_numbers():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    request = oip.to_request(Message("net", "f" * 64, {"x": codec_named("raw").encode(array)}, 7.5))
    left = field(1, b"left_ms") + field(2, varint(4 << 3 | 1) + struct.pack("<d", 7.5))
    tensor = field(1, b"x") + field(2, b"FP32") + field(3, bytes([2, 3]))
    expected = (
        field(1, b"net")
        + field(2, b"f" * 64)
        + field(4, left)
        + field(4, field(1, b"sha256") + field(2, field(3, b"f" * 64)))
        + field(5, tensor)
        + field(7, array.tobytes())
    )
    assert request.SerializeToString(deterministic=True) == expected


def test_encoded_inputs_are_bytes_tensors_with_their_codec():
    encoded = codec_named("jpeg-90").encode(np.zeros((2, 4, 4, 3), np.uint8))
    request = oip.to_request(Message("p", "a" * 64, {"x": encoded}))
    (tensor,) = request.inputs
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [2])
    assert tensor.parameters["codec"].string_param == "jpeg-90"
    first = encoded.payload[0]
    (raw,) = request.raw_input_contents
    assert raw.startswith(struct.pack("<I", len(first)) + first)


@pytest.mark.parametrize(
    ("dtype", "contents"),
    [
        ("uint8", {"uint_contents": [1, 2, 255, 4]}),
        ("int8", {"int_contents": [1, -2, 3, -128]}),
        ("int32", {"int_contents": [1, -2, 3, 4]}),
        ("int64", {"int64_contents": [1, -2, 3, 2**40]}),
        ("float32", {"fp32_contents": [1, -2.5, 3, 4]}),
        ("bool", {"bool_contents": [True, False, True, True]}),
    ],
)
def test_typed_contents_are_taken_too(dtype, contents):
    request = pb.ModelInferRequest(model_name="p")
    tensor = request.inputs.add(name="x", datatype=oip.DATATYPES[dtype], shape=[2, 2])
    tensor.contents.CopyFrom(pb.Contents(**contents))
    message = oip.from_request(request, program(("x", dtype, (2,))))
    (values,) = contents.values()
    np.testing.assert_array_equal(
        decode(message.tensors["x"], LIMIT), np.array(values, dtype).reshape(2, 2)
    )


def test_typed_bytes_carry_a_codec():
    encoded = codec_named("webp").encode(np.zeros((2, 4, 4, 3), np.uint8))
    request = pb.ModelInferRequest(model_name="p")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[2])
    tensor.parameters["codec"].string_param = "webp"
    tensor.contents.bytes_contents.extend(encoded.payload)
    assert oip.from_request(request, program(("x", "uint8", (4, 4, 3)))).tensors["x"] == encoded


def raw_request(datatype="FP32", shape=(1, 2), raw=(bytes(8),), parameters=None, name="x"):
    request = pb.ModelInferRequest(model_name="p", raw_input_contents=raw)
    tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
    for key, value in (parameters or {}).items():
        tensor.parameters[key].string_param = value
    return request


@pytest.mark.parametrize(
    "request_",
    [
        raw_request(datatype="FP64"),
        raw_request(shape=(1, 3)),
        raw_request(shape=()),
        raw_request(shape=(-1, -2)),
        raw_request(shape=(0, 2), raw=(b"",)),
        raw_request(shape=(2**40, 0), raw=(b"",)),
        raw_request(raw=(bytes(8), bytes(8))),
        raw_request(datatype="FP16", raw=()),
        raw_request(raw=()),
        raw_request(datatype="BYTES", shape=(1,), raw=(b"\4\0\0\0abcd",)),
        raw_request("BYTES", (2,), (b"\4\0\0\0abcd",), {"codec": "raw"}),
        raw_request("BYTES", (1,), (b"\5\0\0\0abcd",), {"codec": "raw"}),
        raw_request("BYTES", (1,), (b"\5\0",), {"codec": "raw"}),
        raw_request("BYTES", (1,), (b"\xff\xff\xff\xff",), {"codec": "raw"}),
    ],
)
def test_malformed_requests_are_refused(request_):
    with pytest.raises((DataError, SignatureError)):
        oip.from_request(request_, program(("x", "float32", (2,))))


def seconds_to_refuse(request, target, match):
    began_s = time.perf_counter()
    with pytest.raises((DataError, SignatureError), match=match) as caught:
        oip.from_request(request, target)
    assert len(str(caught.value)) < 500
    return time.perf_counter() - began_s


IMAGES = program(("x", "uint8", (32, 32, 3)))


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (raw_request("UINT8", [2**62] * 50_000), "expected uint8"),
        (raw_request("UINT8", [4 << 20], (bytes(4 << 20),)), "expected uint8"),
        (raw_request("UINT8", [2**62, 32, 32, 3]), "smaller batches"),
        (raw_request("BYTES", [1 << 20], (bytes(4 << 20),), {"codec": "raw"}), "smaller batches"),
        (raw_request("BYTES", [2], (bytes(4 << 20),), {"codec": "raw"}), "more than the 2"),
        (raw_request(name="n" * 2_000_000), "takes"),
    ],
)
def test_a_claim_is_refused_before_its_content_is_touched(request_, match):
    assert seconds_to_refuse(request_, IMAGES, match) < 0.1


def test_a_request_of_many_tensors_is_refused_at_once():
    request = pb.ModelInferRequest()
    for _ in range(200_000):
        request.inputs.add()
    assert seconds_to_refuse(request, IMAGES, "takes") < 0.02


def test_typed_contents_of_another_length_are_refused_at_once():
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype="UINT8", shape=[1, 32, 32, 3])
    tensor.contents.uint_contents.extend(bytes(2_000_000))
    assert seconds_to_refuse(request, IMAGES, "expected 3072 elements") < 0.05


def test_contents_in_both_forms_are_refused():
    request = raw_request()
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(DataError, match="got both"):
        oip.from_request(request, program(("x", "float32", (2,))))


@pytest.mark.parametrize("shape", [[2**62] * 50_000, [1] * 9, [2**40, 0]])
def test_a_reply_of_enormous_extents_is_refused_at_once(shape):
    response = pb.ModelInferResponse(raw_output_contents=[b""])
    response.outputs.add(name="y", datatype="FP32", shape=shape)
    began_s = time.perf_counter()
    with pytest.raises(DataError, match="1 to 8 axes") as caught:
        oip.from_response(response)
    assert time.perf_counter() - began_s < 0.1
    assert len(str(caught.value)) < 500


def test_typed_values_beyond_their_datatype_are_refused():
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype="UINT8", shape=[1, 1])
    tensor.contents.uint_contents.append(300)
    with pytest.raises(DataError, match="UINT8"):
        oip.from_request(request, program(("x", "uint8", (1,))))


def test_other_inputs_than_the_programs_are_refused():
    for request in (raw_request(name="z"), pb.ModelInferRequest()):
        with pytest.raises(SignatureError, match="'x'"):
            oip.from_request(request, program(("x", "float32", (2,))))


@pytest.mark.parametrize(
    "parameter", [pb.Parameter(string_param="soon"), pb.Parameter(double_param=float("nan"))]
)
def test_time_left_must_be_a_number(parameter):
    request = raw_request()
    request.parameters["left_ms"].CopyFrom(parameter)
    with pytest.raises(DataError, match="left_ms"):
        oip.from_request(request, program(("x", "float32", (2,))))


def test_time_left_may_be_an_integer():
    request = raw_request()
    request.parameters["left_ms"].int64_param = 40
    assert oip.from_request(request, program(("x", "float32", (2,)))).left_ms == 40


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_parsed(data):
    try:
        request = oip.parse(pb.ModelInferRequest, data)
        oip.from_request(request, program(("x", "float32", (2,))))
    except (DataError, SignatureError):
        pass


def test_reply_crosses_unchanged():
    tensors = {
        "logits": np.random.default_rng(0).random((3, 4), np.float32),
        "score": np.zeros(3, np.float32),
    }
    response = oip.to_response(tensors, program="p", sha256="a" * 64, id_="7", cloud_ms=1.5)
    assert (response.model_name, response.model_version, response.id) == ("p", "a" * 64, "7")
    reply = oip.from_response(oip.parse(pb.ModelInferResponse, response.SerializeToString()))
    assert reply.cloud_ms == 1.5
    for name, array in tensors.items():
        np.testing.assert_array_equal(reply.tensors[name], array)


def test_reply_of_another_server_needs_no_cloud_time():
    response = pb.ModelInferResponse()
    tensor = response.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([1, 2])
    reply = oip.from_response(response)
    assert reply.cloud_ms == 0
    np.testing.assert_array_equal(reply.tensors["y"], [[1, 2]])


def test_damaged_reply_is_a_data_error():
    response = oip.to_response(
        {"y": np.zeros((1, 2), np.float32)}, program="p", sha256="", id_="", cloud_ms=0
    )
    response.raw_output_contents[0] = b"short"
    with pytest.raises(DataError, match="'y'"):
        oip.from_response(response)


def test_long_typed_contents_cross_whole_and_are_checked_to_the_end():
    values = [turn % 256 for turn in range(40_000)]
    request = pb.ModelInferRequest(model_name="p")
    tensor = request.inputs.add(name="x", datatype="UINT8", shape=[2, 20_000])
    tensor.contents.uint_contents.extend(values)
    target = program(("x", "uint8", (20_000,)))
    message = oip.from_request(request, target)
    assert b"".join(message.tensors["x"].payload) == bytes(values)
    tensor.contents.uint_contents[-1] = 256
    with pytest.raises(DataError, match="beyond"):
        oip.from_request(request, target)


def test_inputs_that_take_long_to_parse_are_refused_before():
    long = bytes(outline.MAX_INPUTS_BYTES + 1)
    for data in (
        field(5, field(1, b"x") + field(5, field(3, long))),
        field(1, b"p") + field(5, long[: len(long) // 2]) * 2 + field(5, b"x"),
        varint(6 << 3 | 3) + field(5, long),
        b"\x08\x01" * len(long),
        b"\xff" * len(long),
    ):
        with pytest.raises(DataError):
            outline.check_inputs(data)
        with pytest.raises(DataError):
            oip.parse(pb.ModelInferRequest, data)


def test_raw_contents_may_be_long():
    request = raw_request("UINT8", (1, 1 << 23), (bytes(1 << 23),))
    request.parameters["left_ms"].double_param = 1.0
    data = request.SerializeToString() + b"\x7d\0\0\0\0" + b"\x79" + bytes(8)
    assert oip.from_request(
        oip.parse(pb.ModelInferRequest, data), program(("x", "uint8", (1 << 23,)))
    )


@settings(max_examples=200)
@given(data=st.binary(max_size=40), limit=st.integers(0, 20))
def test_an_outline_raises_nothing_else(data, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "MAX_INPUTS_BYTES", limit)
        with suppress(DataError):
            outline.check_inputs(data)
