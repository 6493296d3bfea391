"""What the cloud does with a message, whatever carried it: check, decode, queue, run."""

import asyncio
import logging
import time
from dataclasses import dataclass

from hybridge.codecs.codec import decode
from hybridge.errors import DataError, SignatureError, UnknownNameError
from hybridge.plan.program import Claim
from hybridge.runtime.cloud.batcher import Batcher, Batching, DrainingError, ExpiredError
from hybridge.runtime.cloud.models import Models, OtherVersionError, UnservedError
from hybridge.runtime.wire.message import Array, Message, Reply

_log = logging.getLogger(__name__)

#: Most characters of a status that a client reads: what it sent may be repeated in them.
MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a failure is told to a client.

    Attributes:
        status: Name of the gRPC status.
        text: What the client reads; nothing in it is about the host.
    """

    status: str
    text: str


_STATUSES: tuple[tuple[type[Exception], str], ...] = (
    (SignatureError, "INVALID_ARGUMENT"),
    (DataError, "INVALID_ARGUMENT"),
    (UnknownNameError, "INVALID_ARGUMENT"),
    (UnservedError, "NOT_FOUND"),
    (OtherVersionError, "FAILED_PRECONDITION"),
    (ExpiredError, "DEADLINE_EXCEEDED"),
    (DrainingError, "UNAVAILABLE"),
)


def verdict(error: Exception) -> Verdict:
    """Return what a client is told of ``error``; what is not its doing is logged instead."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return Verdict(status, str(error)[:MAX_TEXT])
    _log.error("a request failed", exc_info=error)
    return Verdict("INTERNAL", "the program could not be run; the server's log says why")


class CloudService:
    """Answers messages from models. Lives in one event loop.

    Args:
        models: What is served.
        batching: How requests are run together; None for the defaults.
        max_decoded_bytes: Most bytes that one input of a request may decode to.
    """

    def __init__(
        self,
        models: Models,
        batching: Batching | None = None,
        *,
        max_decoded_bytes: int = 64 << 20,
    ) -> None:
        self.models = models
        self.draining = False
        self._max_decoded_bytes = max_decoded_bytes
        self._batchers = {
            session.program.sha256: Batcher(session.run, batching or Batching())
            for session in models
        }

    async def infer(self, message: Message) -> Reply:
        """Answer ``message``.

        Raises what `verdict` tells clients of: `SignatureError` and `DataError` for inputs that
        do not fit, before any session is touched, and the errors of `Models` and `Batcher`.
        """
        began_s = time.perf_counter()
        program = self.models.find(message.program, message.sha256).program
        expires_at_s = None if message.left_ms is None else began_s + message.left_ms / 1e3
        if expires_at_s is not None and expires_at_s <= began_s:
            raise ExpiredError("its time was spent when it came")
        program.check_claims(
            [
                Claim(name, encoded.dtype, (len(encoded.payload), *encoded.shape))
                for name, encoded in message.tensors.items()
            ]
        )
        tensors = await self._decoded(message)
        program.check_inputs(tensors)
        outputs = await self._batchers[program.sha256].submit(tensors, expires_at_s)
        return Reply(outputs, cloud_ms=(time.perf_counter() - began_s) * 1e3)

    async def _decoded(self, message: Message) -> dict[str, Array]:
        if all(encoded.codec == "raw" for encoded in message.tensors.values()):
            return self._decode(message)
        return await asyncio.to_thread(self._decode, message)

    def _decode(self, message: Message) -> dict[str, Array]:
        limit = self._max_decoded_bytes
        return {name: decode(encoded, limit) for name, encoded in message.tensors.items()}

    async def close(self) -> None:
        """Take nothing more, and finish what has been taken."""
        self.draining = True
        await asyncio.gather(*(batcher.close() for batcher in self._batchers.values()))
