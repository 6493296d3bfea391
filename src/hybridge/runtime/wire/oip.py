"""Messages and replies as the Open Inference Protocol v2 has them.

A tensor as it is crosses in the raw contents under its own datatype, so that any client of the
protocol can ask. An encoded one crosses as a ``BYTES`` tensor of shape ``[B]``, one element an
item, with the codec's name in the tensor's parameter ``codec``. The request's parameter
``left_ms`` is the time left, the reply's ``cloud_ms`` the time the server took, and ``sha256`` in
both the hash of the program.

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
from hybridge.errors import DataError
from hybridge.plan.program import Claim, Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire import outline
from hybridge.runtime.wire.message import Array, Message, Reply

SERVICE = "inference.GRPCInferenceService"
#: Longest message that either end takes.
MAX_MESSAGE_BYTES = 64 << 20
#: Most rows of a request, and most axes of a tensor.
MAX_ROWS, MAX_RANK = 1 << 15, 8
#: Most outputs that a request may name.
MAX_OUTPUTS = 64
#: Most elements of typed contents that are converted without letting other threads run.
_ELEMENTS = 1 << 14

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
    """Return ``message`` as a request.

    The program's hash is its version, and a parameter too, for servers with versions of their own.
    """
    request = pb.ModelInferRequest(model_name=message.program, model_version=message.sha256)
    request.parameters["sha256"].string_param = message.sha256
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

    What the request claims is checked before its content is touched. Raises `DataError` where it
    is malformed or of more than `MAX_ROWS` rows, `SignatureError` where it has other inputs than
    the program.
    """
    rows = claimed_rows(request, program)
    tensors = request.inputs
    specs = {spec.name: spec for spec in program.inputs}
    contents = _contents(tensors, request.raw_input_contents)
    encoded = {
        tensor.name: _encoded(tensor, content, specs[tensor.name], rows)
        for tensor, content in zip(tensors, contents, strict=True)
    }
    return Message(program.name, program.sha256, encoded, left_ms(request))


def claimed_rows(request: pb.ModelInferRequest, program: Program) -> int:
    """Return how many rows a request for ``program`` claims to have; raises as `from_request`.

    What it holds is not touched.
    """
    tensors = request.inputs
    specs = {spec.name: spec for spec in program.inputs}
    # One too many is as wrong as a million.
    claimed = tensors[: len(specs) + 1]
    rows = program.check_claims([_claim(tensor, specs) for tensor in claimed])
    row_bytes = sum(spec.bytes_per_item for spec in program.inputs)
    if rows > MAX_ROWS or rows * row_bytes > MAX_MESSAGE_BYTES:
        raise DataError(
            f"expected at most {MAX_ROWS} rows and {MAX_MESSAGE_BYTES} bytes once decoded, got "
            f"{rows} rows of {row_bytes} bytes; send smaller batches"
        )
    return rows


def left_ms(request: pb.ModelInferRequest) -> float | None:
    """Return the time that a request says is left; `DataError` where it says something else."""
    return _number(request.parameters, "left_ms")


def _claim(tensor: pb.Tensor, specs: Mapping[str, TensorSpec]) -> Claim:
    """Return what a tensor claims to be, once decoded where it is encoded."""
    shape = tuple(tensor.shape[: MAX_RANK + 1])
    spec = specs.get(tensor.name)
    if spec is not None and tensor.datatype == "BYTES" and len(shape) == 1:
        return Claim(tensor.name, spec.dtype, (*shape, *spec.shape))
    return Claim(tensor.name, _DTYPES.get(tensor.datatype, tensor.datatype[:16]), shape)


def to_response(
    tensors: Mapping[str, Array], *, program: str, sha256: str, id_: str, cloud_ms: float
) -> pb.ModelInferResponse:
    """Return a program's outputs as a response."""
    response = pb.ModelInferResponse(model_name=program, model_version=sha256, id=id_)
    response.parameters["cloud_ms"].double_param = cloud_ms
    response.parameters["sha256"].string_param = sha256
    for name, array in tensors.items():
        response.outputs.add(name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response


def from_response(response: pb.ModelInferResponse) -> Reply:
    """Return the response as a reply; raises `DataError` where it is malformed."""
    for tensor in response.outputs:
        _check_shape(tensor)
    contents = _contents(response.outputs, response.raw_output_contents)
    tensors = {}
    for tensor, content in zip(response.outputs, contents, strict=True):
        dtype = _dtype(tensor)
        if len(content) != math.prod(tensor.shape) * dtype.itemsize:
            raise _misfit(tensor, content)
        tensors[tensor.name] = np.frombuffer(content, dtype).reshape(tensor.shape)
    return Reply(tensors, cloud_ms=_number(response.parameters, "cloud_ms") or 0.0)


def program_hash(message: pb.ModelInferRequest | pb.ModelInferResponse) -> str:
    """Return the program's hash from a message's parameters, or ``""`` where there is none."""
    return message.parameters["sha256"].string_param if "sha256" in message.parameters else ""


def parse(kind: type[ProtobufMessage], data: bytes) -> Any:
    """Return ``data`` as a message of this ``kind``; raises `DataError` where it is none.

    A request whose inputs, and so its typed contents, are longer than `outline.MAX_INPUTS_BYTES`
    is none: parsed, each byte of them might be one of eight.
    """
    if kind is pb.ModelInferRequest:
        outline.check_inputs(data)
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
    if any(tensor.HasField("contents") for tensor in tensors):
        raise DataError("expected contents in the raw form or in the typed one, got both")
    return raw


def _from_typed(tensor: pb.Tensor) -> bytes:
    """Return typed contents in the raw form; the tensor's shape has been checked."""
    name = "bytes_contents" if tensor.datatype == "BYTES" else _TYPED.get(tensor.datatype)
    if name is None:
        raise DataError(
            f"tensor {tensor.name[:40]!r}: datatype {tensor.datatype[:16]!r} has no typed "
            "contents here; send it in the raw contents"
        )
    elements = getattr(tensor.contents, name)
    if len(elements) != math.prod(tensor.shape):
        raise DataError(
            f"tensor {tensor.name[:40]!r}: expected {math.prod(tensor.shape)} elements for its "
            f"shape {list(tensor.shape)}, got {len(elements)}"
        )
    if tensor.datatype == "BYTES":
        return _with_lengths(elements)
    dtype, parts = _dtype(tensor), []
    for at in range(0, len(elements), _ELEMENTS):
        given = np.array(elements[at : at + _ELEMENTS])
        values = given.astype(dtype)
        if not np.array_equal(values, given, equal_nan=True):
            raise DataError(f"tensor {tensor.name[:40]!r}: values beyond {tensor.datatype}")
        parts.append(values.tobytes())
    return b"".join(parts)


def _encoded(tensor: pb.Tensor, content: bytes, spec: TensorSpec, rows: int) -> Encoded:
    """Return an input whose claims have been checked."""
    if tensor.datatype == "BYTES":
        codec = tensor.parameters["codec"].string_param if "codec" in tensor.parameters else ""
        if not codec:
            raise DataError(f"input {tensor.name!r}: BYTES without a parameter 'codec'")
        return Encoded(codec, _without_lengths(content, rows), spec.dtype, spec.shape)
    item_bytes = spec.bytes_per_item
    if len(content) != rows * item_bytes:
        raise _misfit(tensor, content)
    items = (content[item * item_bytes : (item + 1) * item_bytes] for item in range(rows))
    return Encoded("raw", tuple(items), spec.dtype, spec.shape)


def _check_shape(tensor: pb.Tensor) -> None:
    """Raise `DataError` for extents that no message can hold, before they are multiplied."""
    shape = tensor.shape
    if not 1 <= len(shape) <= MAX_RANK or not 0 <= min(shape) <= max(shape) <= MAX_MESSAGE_BYTES:
        raise DataError(
            f"tensor {tensor.name[:40]!r}: expected 1 to {MAX_RANK} axes, batch first, of 0 to "
            f"{MAX_MESSAGE_BYTES} each, got {list(shape[:MAX_RANK])}"
            + (f" and {len(shape) - MAX_RANK} more" if len(shape) > MAX_RANK else "")
        )


def _misfit(tensor: pb.Tensor, content: bytes) -> DataError:
    return DataError(
        f"tensor {tensor.name[:40]!r}: {len(content)} bytes are no {tensor.datatype} "
        f"{list(tensor.shape)}, batch axis first"
    )


def _dtype(tensor: pb.Tensor) -> np.dtype[Any]:
    if tensor.datatype not in _DTYPES:
        raise DataError(
            f"tensor {tensor.name[:40]!r}: datatype {tensor.datatype[:16]!r} is not served; "
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


def _without_lengths(content: bytes, count: int) -> tuple[bytes, ...]:
    """Return the ``count`` elements of ``BYTES`` contents; `DataError` where there are others."""
    elements = []
    at = 0
    for _ in range(count):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(content, at)[0] if begin <= len(content) else begin
        if at > len(content):
            raise DataError(
                f"BYTES contents end within {count} elements, or in the middle of one; "
                "the shape says how many there are"
            )
        elements.append(content[begin:at])
    if at < len(content):
        raise DataError(f"BYTES contents hold more than the {count} elements of their shape")
    return tuple(elements)
