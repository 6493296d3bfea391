"""Messages and replies as the Open Inference Protocol v2 has them.

A tensor as it is crosses in the raw contents under its own datatype, so that any client of the
protocol can ask. An encoded one crosses as a ``BYTES`` tensor of shape ``[B]``, one element an
item, with the codec's name in the tensor's parameter ``codec``. The request's parameter
``left_ms`` is the time left, the reply's ``cloud_ms`` the time the server took.

``oip_pb2`` is generated from ``oip.proto`` with the oldest compiler that the package supports
(grpcio-tools 1.66)::

    python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src \
        src/hybridge/runtime/wire/oip.proto
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from hybridge.codecs.codec import Encoded
from hybridge.errors import DataError, SignatureError
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Array, Message, Reply

SERVICE = "inference.GRPCInferenceService"
#: Longest message that either end takes.
MAX_MESSAGE_BYTES = 64 << 20
#: What gRPC puts before each message: one byte of flags, four of length.
FRAMING_BYTES = 5

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
}
"""The protocol's name for each dtype of a signature."""

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_TYPED = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT8": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
}
_LENGTH = struct.Struct("<I")


def to_request(message: Message) -> pb.ModelInferRequest:
    """Return ``message`` as a request."""
    request = pb.ModelInferRequest(model_name=message.program, model_version=message.sha256)
    if message.left_ms is not None:
        request.parameters["left_ms"].double_param = message.left_ms
    for name, encoded in message.tensors.items():
        items = len(encoded.payload)
        if encoded.codec == "raw":
            shape = (items, *encoded.shape)
            request.inputs.add(name=name, datatype=DATATYPES[encoded.dtype], shape=shape)
            request.raw_input_contents.append(b"".join(encoded.payload))
        else:
            tensor = request.inputs.add(name=name, datatype="BYTES", shape=(items,))
            tensor.parameters["codec"].string_param = encoded.codec
            request.raw_input_contents.append(_with_lengths(encoded.payload))
    return request


def from_request(request: pb.ModelInferRequest, program: Program) -> Message:
    """Return the request as a message for ``program``, its payload still encoded.

    Raises `DataError` where the request is malformed, `SignatureError` where it has other inputs
    than the program.
    """
    tensors = request.inputs
    specs = {spec.name: spec for spec in program.inputs}
    names = [tensor.name for tensor in tensors]
    if sorted(names) != sorted(specs):
        raise SignatureError(
            f"program {program.name!r} takes {sorted(specs)}, got {sorted(names)[:16]}"
        )
    contents = _contents(tensors, request.raw_input_contents)
    encoded = {
        tensor.name: _encoded(tensor, content, specs[tensor.name])
        for tensor, content in zip(tensors, contents, strict=True)
    }
    left_ms = _number(request.parameters, "left_ms")
    return Message(program.name, program.sha256, encoded, left_ms)


def to_response(
    tensors: Mapping[str, Array], *, program: str, sha256: str, id_: str, cloud_ms: float
) -> pb.ModelInferResponse:
    """Return a program's outputs as a response."""
    response = pb.ModelInferResponse(model_name=program, model_version=sha256, id=id_)
    response.parameters["cloud_ms"].double_param = cloud_ms
    for name, array in tensors.items():
        response.outputs.add(name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response


def from_response(response: pb.ModelInferResponse) -> Reply:
    """Return the response as a reply; raises `DataError` where it is malformed."""
    contents = _contents(response.outputs, response.raw_output_contents)
    tensors = {}
    for tensor, content in zip(response.outputs, contents, strict=True):
        shape = _checked_shape(tensor, content)
        tensors[tensor.name] = np.frombuffer(content, _dtype(tensor)).reshape(shape)
    return Reply(tensors, cloud_ms=_number(response.parameters, "cloud_ms") or 0.0)


def parse(kind: type[ProtobufMessage], data: bytes) -> Any:
    """Return ``data`` as a message of this ``kind``; raises `DataError` where it is none."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise DataError(
            f"expected a {kind.DESCRIPTOR.name}, got {len(data)} bytes that are none"
        ) from error


def _contents(tensors: Sequence[pb.Tensor], raw: Sequence[bytes]) -> Iterable[bytes]:
    """Return each tensor's content in the raw form, whichever form it came in."""
    if not raw:
        return map(_from_typed, tensors)
    if len(raw) != len(tensors):
        raise DataError(f"expected raw contents for {len(tensors)} tensors, got {len(raw)}")
    return raw


def _from_typed(tensor: pb.Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        return _with_lengths(tensor.contents.bytes_contents)
    field = _TYPED.get(tensor.datatype)
    if field is None:
        raise DataError(
            f"tensor {tensor.name!r}: datatype {tensor.datatype[:16]!r} has no typed contents "
            "here; send it in the raw contents"
        )
    given = np.array(getattr(tensor.contents, field))
    values = given.astype(_dtype(tensor))
    if not np.array_equal(values, given, equal_nan=True):
        raise DataError(f"tensor {tensor.name!r}: values beyond {tensor.datatype}")
    return values.tobytes()


def _encoded(tensor: pb.Tensor, content: bytes, spec: TensorSpec) -> Encoded:
    if tensor.datatype == "BYTES":
        payload = _without_lengths(content)
        if list(tensor.shape) != [len(payload)]:
            raise DataError(
                f"input {tensor.name!r}: {len(payload)} elements of BYTES, "
                f"but its shape is {list(tensor.shape)[:16]}"
            )
        codec = tensor.parameters["codec"].string_param if "codec" in tensor.parameters else ""
        if not codec:
            raise DataError(f"input {tensor.name!r}: BYTES without a parameter 'codec'")
        return Encoded(codec, payload, spec.dtype, spec.shape)
    shape = _checked_shape(tensor, content)
    dtype = _dtype(tensor)
    if not content:
        raise DataError(f"input {tensor.name!r}: expected items with elements, got {shape}")
    item_bytes = len(content) // shape[0]
    starts = range(0, len(content), item_bytes)
    payload = tuple(content[start : start + item_bytes] for start in starts)
    return Encoded("raw", payload, dtype.name, shape[1:])


def _checked_shape(tensor: pb.Tensor, content: bytes) -> tuple[int, ...]:
    """Return a tensor's shape; raises `DataError` where the content is not of that size."""
    shape = tuple(tensor.shape)
    expected = math.prod(shape) * _dtype(tensor).itemsize
    if not shape or min(shape) < 0 or len(content) != expected:
        raise DataError(
            f"tensor {tensor.name!r}: {len(content)} bytes are no {tensor.datatype} "
            f"{list(shape)[:16]}, batch axis first"
        )
    return shape


def _dtype(tensor: pb.Tensor) -> np.dtype[Any]:
    if tensor.datatype not in _DTYPES:
        raise DataError(
            f"tensor {tensor.name!r}: datatype {tensor.datatype[:16]!r} is not served; "
            f"known: {', '.join(_DTYPES)}, BYTES with a codec"
        )
    return np.dtype(_DTYPES[tensor.datatype]).newbyteorder("<")


def _number(parameters: Mapping[str, pb.Parameter], name: str) -> float | None:
    if name not in parameters:
        return None
    choice = parameters[name].WhichOneof("choice")
    if choice not in {"double_param", "int64_param", "uint64_param"}:
        raise DataError(f"expected a number for the parameter {name!r}, got {choice}")
    number = float(getattr(parameters[name], choice))
    if math.isnan(number):
        raise DataError(f"expected a number for the parameter {name!r}, got NaN")
    return number


def _with_lengths(elements: Iterable[bytes]) -> bytes:
    """Return ``BYTES`` elements in the raw form: each after its length, 4 bytes little-endian."""
    return b"".join(part for item in elements for part in (_LENGTH.pack(len(item)), item))


def _without_lengths(content: bytes) -> tuple[bytes, ...]:
    elements = []
    at = 0
    while at < len(content):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(content, at)[0] if begin <= len(content) else begin
        if at > len(content):
            raise DataError("BYTES contents end in the middle of an element")
        elements.append(content[begin:at])
    return tuple(elements)
