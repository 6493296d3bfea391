"""The transport over gRPC, to any server of the Open Inference Protocol v2."""

import re
import time
from collections.abc import Mapping
from typing import Any

import grpc

from hybridge.closing import Closing
from hybridge.errors import DataError, RefusedError, TransportError
from hybridge.runtime.clock import limit_ms
from hybridge.runtime.edge.lines import Lines
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import (
    REFUSALS,
    RETRY_AFTER,
    LateError,
    Message,
    Reply,
    UnsentError,
)
from hybridge.runtime.wire.tokens import authorization
from hybridge.runtime.wire.trust import Tls, open_channel

_OPTIONS = [
    ("grpc.max_receive_message_length", oip.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", oip.MAX_MESSAGE_BYTES),
    # Whether to ask again is the walk's business.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Nothing connects unless somebody asks, and whether to ask is the breaker's business: a cloud
    # that comes back is not to be missed because of a second, longer patience.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    # Despite its name, how long one attempt at connecting may take.
    ("grpc.min_reconnect_backoff_ms", 3000),
    # Transports to one target share no connection, so that none inherits another's back-off.
    ("grpc.use_local_subchannel_pool", 1),
]

#: gRPC has no other word for a connection that was never made, or a name that was not found.
_UNSENT = re.compile(
    "failed to connect|errors resolving|DNS resolution failed|address lookup failed", re.IGNORECASE
)
#: A status that says that time ran out, and comes before this share of it is over, is the server's.
_VERDICT_BEFORE = 0.9


class GrpcTransport(Closing):
    """Asks a cloud over one gRPC connection, which it makes on first use and mends by itself.

    One over which nothing is heard any more is left for a new one, see `Lines`. May be used from
    several threads at once.

    Args:
        target: Where the cloud listens, such as ``cloud.example:8001``.
        timeout_ms: Time limit of a message that is sent without one.
        names: What the server calls a program, by the plan's name for it; those left out are
            called alike.
        version: Version to ask for, for a server that has its own, such as ``1``; the program's
            hash where None. The hash crosses as a parameter in any case.
        tls: How to encrypt, and whom to trust; in plaintext where None.
        token: Sent with every message, so that the cloud knows who asks.
        insecure: Whether to speak beyond this machine in plaintext.

    Raises `ConfigError` where ``timeout_ms`` is NaN, the target would be spoken to in plaintext
    unasked for, ``token`` is none, or files that ``tls`` names cannot be used.
    """

    def __init__(
        self,
        target: str,
        timeout_ms: float = 1000.0,
        *,
        names: Mapping[str, str] | None = None,
        version: str | None = None,
        tls: Tls | None = None,
        token: str | None = None,
        insecure: bool = False,
    ) -> None:
        self.target = target
        self._names = dict(names or {})
        self._version = version
        self.timeout_ms = limit_ms(timeout_ms, "timeout_ms")
        self._headers = None if token is None else authorization(token)
        self._lines = Lines(
            lambda: open_channel(target, tls, _OPTIONS, insecure=insecure),
            f"/{oip.SERVICE}/ModelInfer",
        )

    def send(self, message: Message, timeout_ms: float | None = None) -> Reply:
        """Send ``message`` and wait for its reply; a call that runs out of time is cancelled.

        Raises `LateError` where no reply comes within ``timeout_ms`` (a day at most),
        `RefusedError` where the cloud refuses, `UnsentError` where no connection is made,
        `TransportError` where the reply is of no use, says that it would be too late, or the
        connection breaks.
        """
        within_ms = self.timeout_ms if timeout_ms is None else limit_ms(timeout_ms, "timeout_ms")
        request, sent_checksum = self._request(message)
        try:
            response = self._call(request, within_ms)
        except ValueError as error:  # raised for a closed channel, and for nothing else
            raise UnsentError(
                f"the transport to {self.target} is closed; make a new one"
            ) from error
        return self._reply(response, message, sent_checksum)

    def _call(self, request: bytes, within_ms: float) -> bytes:
        began_s = time.perf_counter()
        with self._lines.taken() as line:
            try:
                response: bytes = line.infer(
                    request, timeout=max(within_ms, 0.0) / 1e3, metadata=self._headers
                )
            except grpc.RpcError as error:
                waited_ms = (time.perf_counter() - began_s) * 1e3
                failure = self._translated(error, within_ms, waited_ms)
                if isinstance(failure, LateError):
                    self._lines.silent(line)
                else:
                    self._lines.heard(line)
                raise failure from error
            self._lines.heard(line)
        return response

    def _request(self, message: Message) -> tuple[bytes, int]:
        request = oip.to_request(message)
        request.model_name = self._names.get(message.program, message.program)
        if self._version is not None:
            request.model_version = self._version
        sent_checksum = checksum.seal_request(request)
        return request.SerializeToString(), sent_checksum

    def _reply(self, data: bytes, message: Message, sent_checksum: int) -> Reply:
        try:
            response = oip.parse(pb.ModelInferResponse, data)
            reply = oip.from_response(response)
        except DataError as error:
            raise self._damaged(error) from error
        answered = oip.program_hash(response)
        if answered not in ("", message.sha256):
            raise TransportError(
                f"{self.target} answered with another version of {message.program!r} "
                f"({answered[:12]}, not {message.sha256[:12]}); deploy one bundle to both ends"
            )
        try:
            checksum.check_reply(response, sent_checksum)
        except DataError as error:
            raise self._damaged(error) from error
        return reply

    def _damaged(self, error: DataError) -> TransportError:
        return TransportError(f"{self.target} sent a reply that is damaged: {error}")

    def _translated(self, error: Any, within_ms: float, waited_ms: float) -> TransportError:
        code, details = error.code(), error.details()
        if code.name in REFUSALS:
            refused = RefusedError(f"{self.target} refused ({code.name}): {details}")
            refused.retry_after_ms = _retry_after_ms(error)
            return refused
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            if waited_ms < _VERDICT_BEFORE * within_ms:  # link and server are well
                return TransportError(f"{self.target} answered that it is too late: {details}")
            return LateError(f"{self.target} did not answer within {within_ms:.0f} ms")
        unsent = code is grpc.StatusCode.UNAVAILABLE and _UNSENT.search(str(details)) is not None
        kind = UnsentError if unsent else TransportError
        return kind(f"{self.target} could not be asked ({code.name}): {details}")

    def close(self) -> None:
        """Close the connection, cancelling what is under way."""
        self._lines.close()


def _retry_after_ms(error: Any) -> int | None:
    """Return when the cloud may be asked again, where it says so in whole milliseconds."""
    told = next((value for key, value in error.trailing_metadata() or () if key == RETRY_AFTER), "")
    return int(told) if re.fullmatch(r"[0-9]{1,9}", str(told)) else None
