"""What crosses is what was sent: a CRC-32 of every request's tensors, and of every reply's.

The checksums of TCP are weak, and end wherever something in between ends the connection; gRPC has
none of its own. So the parameter ``crc32`` says what the tensors came to where they were sent. The
reply's goes on from its request's: a reply to another request does not fit either. Whoever sends
our parameter ``sha256`` sends this one too; other clients and servers of the protocol know neither.
"""

import zlib
from collections.abc import Iterable, Mapping

from hybridge.errors import DataError
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb

NAME = "crc32"


def seal_request(request: pb.ModelInferRequest) -> int:
    """Add the checksum to a request that is ready to be sent, and return it."""
    checksum = _of(request.inputs, request.raw_input_contents, 0)
    request.parameters[NAME].int64_param = checksum
    return checksum


def check_request(request: pb.ModelInferRequest) -> None:
    """Raise `DataError` where a request is damaged, or has no checksum though it is of our own."""
    if NAME in request.parameters or oip.program_hash(request):
        checksum = _of(request.inputs, request.raw_input_contents, 0)
        _check(request.parameters, checksum, "request")


def of_request(request: pb.ModelInferRequest) -> int:
    """Return the checksum that a request says it has; 0 where it says none."""
    return request.parameters[NAME].int64_param if NAME in request.parameters else 0


def seal_reply(response: pb.ModelInferResponse, request_checksum: int) -> None:
    """Add the checksum to a reply to the request that has ``request_checksum``."""
    checksum = _of(response.outputs, response.raw_output_contents, request_checksum)
    response.parameters[NAME].int64_param = checksum


def check_reply(response: pb.ModelInferResponse, request_checksum: int) -> None:
    """Raise `DataError` where a reply of our own cloud's is damaged, or to another request."""
    if NAME in response.parameters or oip.program_hash(response):
        checksum = _of(response.outputs, response.raw_output_contents, request_checksum)
        _check(response.parameters, checksum, "reply")


def _of(tensors: Iterable[pb.Tensor], contents: Iterable[bytes], checksum: int) -> int:
    for tensor in tensors:
        codec = tensor.parameters["codec"].string_param if "codec" in tensor.parameters else ""
        about = f"{tensor.name}\0{tensor.datatype}\0{list(tensor.shape)}\0{codec}\0"
        checksum = zlib.crc32(about.encode(), checksum)
    for content in contents:
        checksum = zlib.crc32(content, checksum)
    return checksum


def _check(parameters: Mapping[str, pb.Parameter], checksum: int, what: str) -> None:
    told = parameters[NAME].int64_param if NAME in parameters else None
    if told != checksum:
        raise DataError(
            f"the {what} was damaged on the way: expected tensors of checksum {told}, "
            f"got {checksum}; send it again"
        )
