"""The Open Inference Protocol v2 over gRPC, in front of a `CloudService`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from hybridge import __version__
from hybridge.errors import ConfigError, RefusedError, SignatureError
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.guard import Guard
from hybridge.runtime.cloud.health import health_handlers
from hybridge.runtime.cloud.loop import LoopThread
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.service import CloudService, verdict
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Array, Message
from hybridge.runtime.wire.trust import Access

_OPTIONS = [
    ("grpc.max_receive_message_length", oip.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", oip.MAX_MESSAGE_BYTES),
    # Two servers on one port would share its clients between them, unnoticed.
    ("grpc.so_reuseport", 0),
    # Without these, gRPC cancels what comes in a rush, and tells nobody why.
    ("grpc.server.max_pending_requests", 1 << 14),
    ("grpc.server.max_pending_requests_hard_limit", 1 << 14),
]

#: Most calls at once; what comes beyond is refused before it is read, so that memory is bounded.
MAX_CALLS = 4096
#: Trailing metadata of a refusal: milliseconds after which to ask again.
RETRY_AFTER = "retry-after-ms"
#: How long a busy server goes on listening once all that was taken has been answered.
FAREWELL_S = 0.2

_Answer = Callable[[Any, Any], Awaitable[Any]]


class CloudServer:
    """One listening port; made, started and stopped within one event loop.

    Args:
        service: What answers.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        access: Who may ask, and how; None for anybody on this machine.
    """

    def __init__(
        self,
        service: CloudService,
        host: str = "127.0.0.1",
        port: int = 8001,
        access: Access | None = None,
    ) -> None:
        self._service = service
        self._host = host
        self.port = port
        self._access = access or Access()
        tokens = self._access.tokens
        guards = [] if tokens is None else [Guard(tokens)]
        self._server = grpc.aio.server(
            interceptors=guards, options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS
        )
        ready = health_handlers(lambda: not service.draining)
        self._server.add_generic_rpc_handlers([self._handlers(), ready])

    async def start(self) -> None:
        """Listen, and set ``port`` to the one that was bound.

        Raises `ConfigError` where the port is taken, the address is not this machine's, or
        ``access`` forbids to listen there or names files that cannot be used.
        """
        self._access.check_host(self._host)
        tls = self._access.tls
        credentials = None if tls is None else tls.credentials()
        host = f"[{self._host}]" if ":" in self._host else self._host
        address = f"{host}:{self.port}"
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise self._cannot_listen() from error
        if bound == 0:
            raise self._cannot_listen()
        self.port = bound
        await self._server.start()

    def _cannot_listen(self) -> ConfigError:
        return ConfigError(
            f"cannot listen on port {self.port} of {self._host}: it is in use, not permitted, or "
            "no address of this machine; choose another port, or 0 for any that is free"
        )

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take no more requests, and answer within ``grace_s`` those that have been taken.

        Until they are answered, it goes on listening, to say that it is shutting down.
        """
        ends_s = time.monotonic() + grace_s
        busy = self._service.busy
        with suppress(TimeoutError):
            await asyncio.wait_for(self._service.drain(), grace_s)
        if busy:  # what had been sent, and not been read, is told so
            await asyncio.sleep(FAREWELL_S)
        await self._server.stop(max(ends_s - time.monotonic(), FAREWELL_S))
        await self._service.close()

    def _handlers(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        methods: dict[str, tuple[type[ProtobufMessage], _Answer]] = {
            "ServerLive": (pb.ServerLiveRequest, self._live),
            "ServerReady": (pb.ServerReadyRequest, self._ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self._metadata),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": (pb.ModelInferRequest, self._infer),
        }
        handlers = {name: _handler(kind, answer) for name, (kind, answer) in methods.items()}
        return grpc.method_handlers_generic_handler(oip.SERVICE, handlers)

    async def _live(self, request: pb.ServerLiveRequest, call: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: pb.ServerReadyRequest, call: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=not self._service.draining)

    async def _metadata(
        self, request: pb.ServerMetadataRequest, call: Any
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="hybridge", version=__version__)

    async def _model_ready(self, request: pb.ModelReadyRequest, call: Any) -> pb.ModelReadyResponse:
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

    async def _infer(self, request: pb.ModelInferRequest, call: Any) -> pb.ModelInferResponse:
        version = request.model_version or oip.program_hash(request)
        wanted = [output.name for output in request.outputs]

        def read(program: Program) -> Message:
            served = {spec.name for spec in program.outputs}
            if not set(wanted) <= served:
                raise SignatureError(
                    f"program {program.name!r} gives {sorted(served)}, not {wanted[:16]}"
                )
            message = oip.from_request(request, program)
            # The call's own deadline has been running since the call came, not since it was read.
            limits_ms = [left for left in (message.left_ms, _left_ms(call)) if left is not None]
            return replace(message, left_ms=min(limits_ms, default=None))

        program, reply = await self._service.answer(request.model_name, version, read)
        served = [spec.name for spec in program.outputs]
        tensors: dict[str, Array] = {name: reply.tensors[name] for name in wanted or served}
        return oip.to_response(
            tensors,
            program=request.model_name,
            sha256=program.sha256,
            id_=request.id,
            cloud_ms=reply.cloud_ms,
        )


def _tensor_metadata(spec: TensorSpec) -> pb.TensorMetadata:
    return pb.TensorMetadata(
        name=spec.name, datatype=oip.DATATYPES[spec.dtype], shape=(-1, *spec.shape)
    )


def _left_ms(call: Any) -> float | None:
    """Return the milliseconds until the call's own deadline, or None where it has none."""
    left_s = call.time_remaining()
    return None if left_s is None else left_s * 1e3


def _handler(kind: type[ProtobufMessage], answer: _Answer) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """Wrap ``answer`` so that a client reads a verdict, and nothing else, of what it raises."""

    async def handle(data: bytes, context: Any) -> bytes:
        try:
            response: bytes = (await answer(oip.parse(kind, data), context)).SerializeToString()
            return response
        except Exception as error:
            told = verdict(error)
            status = getattr(grpc.StatusCode, told.status)
            await context.abort(status, told.text, retry_metadata(told.retry_after_ms))
            raise  # never reached: abort raises

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=bytes, response_serializer=bytes
    )


def retry_metadata(retry_after_ms: int | None) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that say when to ask again, for our edge and for gRPC's own."""
    if retry_after_ms is None:
        return ()
    return ((RETRY_AFTER, str(retry_after_ms)), ("grpc-retry-pushback-ms", str(retry_after_ms)))


@contextmanager
def serving(
    models: Models,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    batching: Batching | None = None,
    grace_s: float = 10.0,
    access: Access | None = None,
) -> Iterator[str]:
    """Serve on a thread of this process for as long as the context lasts.

    Args:
        models: What is served.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        batching: How requests are run together; None for the defaults.
        grace_s: How long requests under way may take at the end of the context.
        access: Who may ask, and how; None for anybody on this machine.

    Yields:
        The target for a transport, such as ``127.0.0.1:41234``.

    Raises `ConfigError` where the port is taken, or ``access`` forbids to listen at ``host``.
    """
    loop = LoopThread()

    async def start() -> CloudServer:
        service = CloudService(models, batching)
        server = CloudServer(service, host, port, access)
        await server.start()
        return server

    try:
        server = loop.submit(start()).result()
        try:
            yield f"{host}:{server.port}"
        finally:
            loop.submit(server.stop(grace_s)).result()
    finally:
        loop.close()
