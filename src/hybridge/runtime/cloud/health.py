"""gRPC's own health protocol, ``grpc.health.v1``, which probes and load balancers speak.

Its messages have one field each, a string and an enumeration, so protobuf's wrappers of a string
and an integer are the same bytes.
"""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from hybridge.runtime.wire import oip

SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
#: What may be asked for: the server as a whole, or its one service.
_NAMES = frozenset({"", oip.SERVICE})


def health_handlers(ready: Callable[[], bool]) -> "grpc.GenericRpcHandler[bytes, bytes]":
    """Return the method ``Check``, which answers ``SERVING`` for as long as ``ready()`` holds.

    ``Watch`` is not implemented; clients fall back to no health checking where it is missing.
    """

    async def check(data: bytes, context: Any) -> bytes:
        try:
            name = StringValue.FromString(data).value
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected a HealthCheckRequest")
        if name not in _NAMES:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no such service; there is {oip.SERVICE}"
            )
        status = SERVING if ready() else NOT_SERVING
        return Int32Value(value=status).SerializeToString()

    handler = grpc.unary_unary_rpc_method_handler(
        check, request_deserializer=bytes, response_serializer=bytes
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Check": handler})
