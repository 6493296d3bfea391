"""One message to the cloud, its reply, and what carries them."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from hybridge.codecs.codec import Encoded
from hybridge.errors import TransportError

Array = np.ndarray[Any, Any]

#: Trailing metadata of a refusal: milliseconds after which to ask again.
RETRY_AFTER = "retry-after-ms"
#: Statuses by which a cloud says no, rather than not being able to answer.
REFUSALS = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
    }
)


class UnsentError(TransportError):
    """The cloud could not be asked: nothing of the message left the device."""


class LateError(TransportError):
    """The cloud did not answer within the time that there was."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request for one program in the cloud.

    Attributes:
        program: Name of the program.
        sha256: Hash of the program's ONNX file, so that both ends mean the same one.
        tensors: Encoded inputs, by the program's names for them.
        left_ms: Time left until the answer is of no use, or None. Never a timestamp.
    """

    program: str
    sha256: str
    tensors: dict[str, Encoded]
    left_ms: float | None = None

    @property
    def payload_bytes(self) -> int:
        """Encoded bytes of all inputs, without what protocols add."""
        return sum(encoded.payload_bytes for encoded in self.tensors.values())


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        tensors: The program's outputs, by its names for them.
        cloud_ms: Time the server spent on the request, by its own clock, queueing included.
    """

    tensors: dict[str, Array] = field(default_factory=dict)
    cloud_ms: float = 0.0


class Transport(Protocol):
    """Moves one message, and cancels its own call when time is up.

    Policy (whether to ask, what to do on failure) belongs to the walk, not here.
    """

    def send(self, message: Message, timeout_ms: float | None = None) -> Reply:
        """Send ``message`` and wait for its reply.

        Raises `LateError` where the cloud does not answer within ``timeout_ms`` (the transport's
        own default where None), `RefusedError` where it refuses, `UnsentError` where there is no
        connection to send it over, and `TransportError` where it fails otherwise.
        """
        ...

    def close(self) -> None:
        """Release sockets and threads; sending afterwards raises `UnsentError`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
