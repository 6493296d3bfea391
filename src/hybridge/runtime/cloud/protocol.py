"""The methods of the Open Inference Protocol v2, whatever carries their messages."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message as ProtobufMessage

from hybridge import __version__
from hybridge.errors import DataError, RefusedError, SignatureError
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.cloud.service import CloudService, Unread
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import RETRY_AFTER, Array, Message

_Method = Callable[[Any, float | None], Awaitable[ProtobufMessage]]

METHODS: dict[str, type[ProtobufMessage]] = {
    "ServerLive": pb.ServerLiveRequest,
    "ServerReady": pb.ServerReadyRequest,
    "ServerMetadata": pb.ServerMetadataRequest,
    "ModelReady": pb.ModelReadyRequest,
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelInfer": pb.ModelInferRequest,
}
"""What each method is asked with."""


class ProtocolMethods:
    """Answers the protocol's messages from a service.

    Args:
        service: What computes.
    """

    def __init__(self, service: CloudService) -> None:
        self._service = service
        self._methods: dict[str, _Method] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }

    async def answer(self, method: str, data: bytes, left_ms: float | None) -> ProtobufMessage:
        """Return the response to one call.

        Args:
            method: One of `METHODS`.
            data: The request, serialised.
            left_ms: Time left until the call's own deadline, or None where it has none.

        Raises what `hybridge.runtime.cloud.service.verdict` tells clients of.
        """
        try:
            request = oip.parse(METHODS[method], data)
        except DataError:
            self._service.refused("INVALID_ARGUMENT")
            raise
        return await self._methods[method](request, left_ms)

    async def _live(
        self, request: pb.ServerLiveRequest, left_ms: float | None
    ) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(
        self, request: pb.ServerReadyRequest, left_ms: float | None
    ) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=not self._service.draining)

    async def _metadata(
        self, request: pb.ServerMetadataRequest, call: Any
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="hybridge", version=__version__)

    async def _model_ready(
        self, request: pb.ModelReadyRequest, left_ms: float | None
    ) -> pb.ModelReadyResponse:
        try:
            self._service.find(request.name, request.version)
        except RefusedError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=not self._service.draining)

    async def _model_metadata(
        self, request: pb.ModelMetadataRequest, call: Any
    ) -> pb.ModelMetadataResponse:
        program = self._service.find(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[program.sha256],
            platform="onnxruntime_onnx",
            inputs=map(_tensor_metadata, program.inputs),
            outputs=map(_tensor_metadata, program.outputs),
        )

    async def _infer(
        self, request: pb.ModelInferRequest, left_ms: float | None
    ) -> pb.ModelInferResponse:
        version = request.model_version or oip.program_hash(request)
        # Nobody asks for one output more often than once, and some would ask for millions.
        wanted = [output.name for output in request.outputs[: oip.MAX_OUTPUTS + 1]]

        def read(program: Program) -> Message | Unread:
            served = {spec.name for spec in program.outputs}
            if not set(wanted) <= served or len(wanted) > oip.MAX_OUTPUTS:
                raise SignatureError(
                    f"program {program.name!r} gives {sorted(served)}, not {wanted[:16]}"
                )
            # The call's own deadline has been running since the call came, not since it was read.
            limits_ms = [left for left in (oip.left_ms(request), left_ms) if left is not None]
            within_ms = min(limits_ms, default=None)

            def message() -> Message:
                message = oip.from_request(request, program)
                checksum.check_request(request)
                return replace(message, left_ms=within_ms)

            if request.raw_input_contents:
                return message()
            rows = oip.claimed_rows(request, program)
            return Unread(rows, request.ByteSize(), within_ms, message)

        program, reply = await self._service.answer(request.model_name, version, read)
        served = [spec.name for spec in program.outputs]
        tensors: dict[str, Array] = {name: reply.tensors[name] for name in wanted or served}
        response = oip.to_response(
            tensors,
            program=request.model_name,
            sha256=program.sha256,
            id_=request.id,
            cloud_ms=reply.cloud_ms,
        )
        checksum.seal_reply(response, checksum.of_request(request))
        return response


def _tensor_metadata(spec: TensorSpec) -> pb.TensorMetadata:
    return pb.TensorMetadata(
        name=spec.name, datatype=oip.DATATYPES[spec.dtype], shape=(-1, *spec.shape)
    )


def retry_metadata(retry_after_ms: int | None) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that say when to ask again, as we and as gRPC name them."""
    if retry_after_ms is None:
        return ()
    return ((RETRY_AFTER, str(retry_after_ms)), ("grpc-retry-pushback-ms", str(retry_after_ms)))
