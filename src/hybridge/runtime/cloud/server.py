"""The Open Inference Protocol v2 over gRPC, in front of a `CloudService`."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import grpc
import grpc.aio

from hybridge.errors import ConfigError
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.guard import Guard
from hybridge.runtime.cloud.health import health_handlers
from hybridge.runtime.cloud.listener import Listener
from hybridge.runtime.cloud.loop import LoopThread
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.protocol import METHODS, ProtocolMethods, retry_metadata
from hybridge.runtime.cloud.service import CloudService, verdict
from hybridge.runtime.wire import oip
from hybridge.runtime.wire.trust import Access

_OPTIONS = [
    ("grpc.max_receive_message_length", oip.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", oip.MAX_MESSAGE_BYTES),
    # Two servers on one port would share its clients between them, unnoticed.
    ("grpc.so_reuseport", 0),
    # Without these, gRPC cancels what comes in a rush, and tells nobody why.
    ("grpc.server.max_pending_requests", 1 << 14),
    ("grpc.server.max_pending_requests_hard_limit", 1 << 14),
    ("grpc.server_max_unrequested_time_in_server", 120),
]

#: Most calls at once; what comes beyond is refused before it is read. What those that are read
#: may hold together is the service's to bound.
MAX_CALLS = 4096
#: How long nothing must come to a busy server before it stops listening.
FAREWELL_S = 0.2


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
        refused = partial(service.refused, "UNAUTHENTICATED")
        guards = [] if tokens is None else [Guard(tokens, refused)]
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
        while busy and time.monotonic() < ends_s:  # what had been sent, and not read, is told so
            came = self._service.came
            await asyncio.sleep(FAREWELL_S)
            busy = self._service.came > came
        await self._server.stop(max(ends_s - time.monotonic(), FAREWELL_S))
        await self._service.close()

    def _handlers(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        methods = ProtocolMethods(self._service)
        handlers = {method: _handler(methods, method) for method in METHODS}
        return grpc.method_handlers_generic_handler(oip.SERVICE, handlers)


def _handler(methods: ProtocolMethods, method: str) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """Return what answers a method with a response or a verdict, never with what was raised."""

    async def handle(data: bytes, call: Any) -> bytes:
        left_s = call.time_remaining()
        left_ms = None if left_s is None else left_s * 1e3
        try:
            return (await methods.answer(method, data, left_ms)).SerializeToString()
        except Exception as error:
            told = verdict(error)
            status = getattr(grpc.StatusCode, told.status)
            await call.abort(status, told.text, retry_metadata(told.retry_after_ms))
            raise  # never reached: abort raises

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=bytes, response_serializer=bytes
    )


@contextmanager
def serving(
    models: Models,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    batching: Batching | None = None,
    grace_s: float = 10.0,
    access: Access | None = None,
    listeners: Sequence[Listener] = (),
) -> Iterator[str]:
    """Serve on a thread of this process for as long as the context lasts.

    Args:
        models: What is served.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        batching: How requests are run together; None for the defaults.
        grace_s: How long requests under way may take at the end of the context.
        access: Who may ask, and how; None for anybody on this machine.
        listeners: Told of everything that happens, on that thread.

    Yields:
        The target for a transport, such as ``127.0.0.1:41234``.

    Raises `ConfigError` where the port is taken, or ``access`` forbids to listen at ``host``.
    """
    loop = LoopThread()

    async def start() -> CloudServer:
        service = CloudService(models, batching, listeners=listeners)
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
