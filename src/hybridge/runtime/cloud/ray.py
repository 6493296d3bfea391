"""The same service on Ray Serve, for more than one machine.

Ray's proxies speak gRPC and hand the bytes of each call to one of the replicas; a replica is a
`CloudService`, so it checks, batches and refuses as the server of one machine does.
"""

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message as ProtobufMessage

from hybridge.errors import ConfigError, MissingExtraError
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.journal import Journal, log_as_json, tell
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.protocol import METHODS, ProtocolMethods, retry_metadata
from hybridge.runtime.cloud.service import CloudService, verdict
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb

APPLICATION = "hybridge"


@dataclass(frozen=True, slots=True)
class OnRay:
    """How a service is spread; raises `ConfigError` for what cannot be.

    Attributes:
        replicas: How many copies of the service there are, on whichever machines have room.
        cores: Cores that are kept for each.
        address: The Ray cluster, such as ``auto``; None for one on this machine, made for it.
    """

    replicas: int = 1
    cores: float = 1.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.replicas < 1 or not 0 < self.cores < 1e6:
            raise ConfigError(
                "expected replicas of 1 or more and cores above 0, "
                f"got {self.replicas} and {self.cores}"
            )


class Replica:
    """One copy of the service; Ray calls its methods by the names of the protocol's.

    Args:
        load: Reads the bundles, on the replica's own machine.
        batching: How requests are run together.
        slow_ms: How long a request may take before the journal tells of it.
        log_json: Whether the replica's process writes events as lines of JSON.
    """

    def __init__(
        self,
        load: Callable[[], Models],
        batching: Batching,
        slow_ms: float = 1000.0,
        log_json: bool = False,
    ) -> None:
        if log_json:
            log_as_json()
        service = CloudService(load(), batching, listeners=[Journal(slow_ms)])
        self._methods = ProtocolMethods(service)

    async def ServerLive(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ServerLive``."""
        return await self._answer("ServerLive", request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ServerReady``."""
        return await self._answer("ServerReady", request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ServerMetadata``."""
        return await self._answer("ServerMetadata", request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ModelReady``."""
        return await self._answer("ModelReady", request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ModelMetadata``."""
        return await self._answer("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: Any) -> ProtobufMessage:
        """Answer ``ModelInfer``."""
        return await self._answer("ModelInfer", request, grpc_context)

    async def _answer(self, method: str, request: bytes, context: Any) -> ProtobufMessage:
        try:
            return await self._methods.answer(method, request, None)
        except Exception as error:
            # Raised, it would cross Ray with its traceback, and be logged for every refusal.
            told = verdict(error)
            context.set_code(getattr(grpc.StatusCode, told.status))
            context.set_details(told.text)
            context.set_trailing_metadata(list(retry_metadata(told.retry_after_ms)))
            return pb.ModelInferResponse()


def add_methods(servicer: Any, server: Any) -> None:
    """Add the protocol's methods to one of Ray's proxies, which looks this function up by name."""
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method), request_deserializer=bytes, response_serializer=bytes
        )
        for method in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(oip.SERVICE, handlers),))


def serve_on_ray(
    load: Callable[[], Models],
    port: int = 8001,
    *,
    batching: Batching | None = None,
    on_ray: OnRay | None = None,
    slow_ms: float = 1000.0,
    log_json: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what has been taken and return.

    On SIGHUP nothing is read again, and a line says so. Ray's proxies listen at every address of
    their machines, unencrypted and open to anybody.

    Args:
        load: Reads the bundles; called on the machine of every replica, so the bundles must lie
            at the same paths there. Ray pickles it, as it does whatever it moves.
        port: Port that the proxies listen at.
        batching: How requests are run together; None for the defaults.
        on_ray: How the service is spread; None for one replica on this machine.
        slow_ms: How long a request may take before its replica's journal tells of it.
        log_json: Whether replicas write events as lines of JSON, on their standard error, which
            is in Ray's logs.
        ready: Called once it serves.

    Raises `MissingExtraError` where Ray Serve is not installed, `ConfigError` where the service
    cannot be started.
    """
    ray, serve = _ray()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    settings = on_ray or OnRay()
    stopped = threading.Event()
    try:
        try:
            _start(ray, serve, settings, port)
            limits = batching or Batching()
            deployment = _deployment(serve, limits, settings)
            serve.run(deployment.bind(load, limits, slow_ms, log_json), name=APPLICATION)
        except Exception as error:  # Ray raises bare ones, too
            raise ConfigError(f"Ray Serve could not be started: {_first_line(error)}") from error
        for number in (signal.SIGTERM, signal.SIGINT):  # after Ray's own, which end the process
            signal.signal(number, lambda *_: stopped.set())
        signal.signal(signal.SIGHUP, lambda *_: _not_reloaded())
        ready()
        tell("started", port=port, replicas=settings.replicas)
        stopped.wait()
        tell("draining")
        serve.shutdown()
        tell("drained")
    finally:
        ray.shutdown()


def _start(ray: Any, serve: Any, settings: OnRay, port: int) -> None:
    ray.init(
        address=settings.address or "local",
        log_to_driver=False,
        include_dashboard=False if settings.address is None else None,
        configure_logging=False,
    )
    serve.start(
        proxy_location="EveryNode",
        http_options={"port": 0, "host": "127.0.0.1"},
        grpc_options={
            "port": port,
            "grpc_servicer_functions": [f"{__name__}.{add_methods.__name__}"],
            "enable_reflection": False,
        },
    )


def _not_reloaded() -> None:
    tell(
        "not reloaded",
        level=logging.WARNING,
        reason="replicas read bundles when they start; start the service again",
    )


def _deployment(serve: Any, batching: Batching, settings: OnRay) -> Any:
    return serve.deployment(
        name="programs",
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.cores},
        # The replica's own queue is the one that counts: it knows deadlines and durations.
        max_ongoing_requests=batching.max_waiting + batching.max_batch,
        max_queued_requests=batching.max_waiting,
        graceful_shutdown_timeout_s=10.0,
    )(Replica)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _ray() -> tuple[Any, Any]:
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray, serve
