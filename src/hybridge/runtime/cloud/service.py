"""What the cloud does with a message, whatever carried it: check, decode, queue, run."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hybridge.codecs.codec import decode
from hybridge.errors import DataError, SignatureError, UnknownNameError
from hybridge.plan.program import Claim, Program
from hybridge.runtime.cloud.admission import ExpiredError, OverloadedError, Room
from hybridge.runtime.cloud.batcher import SHUTTING_DOWN, Batcher, Batching, DrainingError
from hybridge.runtime.cloud.listener import Listener, Outcome
from hybridge.runtime.cloud.model_thread import Computed
from hybridge.runtime.cloud.models import Models, OtherVersionError, UnservedError
from hybridge.runtime.cloud.shelf import Shelf
from hybridge.runtime.sessions import ProgramSession
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
        retry_after_ms: When it may ask again, or None where that would not help.
    """

    status: str
    text: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """A message that takes long to read, and what it claims: read only once it has been let in.

    Attributes:
        rows: How many it has.
        payload_bytes: How many bytes it came in.
        left_ms: Time left, or None.
        read: Returns it; called on another thread, raises as reading does.
    """

    rows: int
    payload_bytes: int
    left_ms: float | None
    read: Callable[[], Message]


_STATUSES: tuple[tuple[type[BaseException], str], ...] = (
    (SignatureError, "INVALID_ARGUMENT"),
    (DataError, "INVALID_ARGUMENT"),
    (UnknownNameError, "INVALID_ARGUMENT"),
    (UnservedError, "NOT_FOUND"),
    (OtherVersionError, "FAILED_PRECONDITION"),
    (OverloadedError, "RESOURCE_EXHAUSTED"),
    (ExpiredError, "DEADLINE_EXCEEDED"),
    (DrainingError, "UNAVAILABLE"),
    (asyncio.CancelledError, "CANCELLED"),
)


def status_of(error: BaseException) -> str:
    """Return the name of the gRPC status by which an error is told."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), "INTERNAL")


def verdict(error: Exception) -> Verdict:
    """Return what a client is told of ``error``; what is not its doing is logged instead."""
    status = status_of(error)
    if status == "INTERNAL":
        _log.error("a request failed", exc_info=error)
        return Verdict(status, "the program could not be run; the server's log says why")
    after_ms = error.retry_after_ms if isinstance(error, OverloadedError) else None
    return Verdict(status, str(error)[:MAX_TEXT], after_ms)


class CloudService:
    """Answers messages from models. Lives in one event loop.

    Args:
        models: What is served.
        batching: How requests are run together; None for the defaults.
        max_decoded_bytes: Most bytes that one input of a request may decode to.
        max_held_bytes: Most bytes that requests under way may hold together, as they came and
            decoded; what comes beyond is refused.
        listeners: Told of everything that happens.

    Attributes:
        draining: Whether it takes no more requests.
        came: How many requests have come so far.
    """

    def __init__(
        self,
        models: Models,
        batching: Batching | None = None,
        *,
        max_decoded_bytes: int = 64 << 20,
        max_held_bytes: int = 1 << 30,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.draining = False
        self.came = 0
        self._shelf = Shelf(models)
        self._batching = batching or Batching()
        self._max_decoded_bytes = max_decoded_bytes
        self._room = Room(max_held_bytes)
        self._listeners = tuple(listeners)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._batchers: dict[str, Batcher] = {}
        self._open_batchers()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._under_way > 0

    @property
    def models(self) -> Models:
        """What is served now."""
        return self._shelf.models

    def find(self, name: str, sha256: str = "") -> Program:
        """Return a program that is answered for; raises as `Models.find` does."""
        return self._shelf.find(name, sha256).program

    def listen(self, listener: Listener) -> None:
        """Tell ``listener``, too, from now on."""
        self._listeners = (*self._listeners, listener)

    def waiting(self) -> list[tuple[Program, int]]:
        """Return how many rows wait for each program."""
        programs = [session.program for session in self._shelf]
        return [(each, self._batchers[each.sha256].admission.waiting) for each in programs]

    async def infer(self, message: Message) -> Reply:
        """Answer ``message``; raises as `answer` does."""
        _, reply = await self.answer(message.program, message.sha256, lambda program: message)
        return reply

    async def answer(
        self, name: str, sha256: str, read: Callable[[Program], Message | Unread]
    ) -> tuple[Program, Reply]:
        """Answer the message that ``read`` makes of a request, once its program is known.

        Raises what `verdict` tells clients of: `SignatureError` and `DataError` for inputs that
        do not fit, before any session is touched, and the errors of `Models`, `Admission` and
        `Batcher`.
        """
        with self._noted() as note:
            if self.draining:
                raise DrainingError(SHUTTING_DOWN)
            note.program = program = self.find(name, sha256)
            # Held from here on: the program may be taken away while the input is decoded.
            batcher = self._batchers[program.sha256]
            asked = read(program)
            note.rows = asked.rows if isinstance(asked, Unread) else _rows(program, asked)
            expires_at_s = _expiry_s(note.began_s, asked.left_ms)
            decoded_bytes = note.rows * sum(spec.bytes_per_item for spec in program.inputs)
            with (
                self._room.held(asked.payload_bytes + decoded_bytes),
                batcher.admission.place(note.rows, expires_at_s),
            ):
                tensors = await self._decoded(asked)
                program.check_inputs(tensors)
                note.computed = computed = await batcher.submit(tensors, expires_at_s)
        return program, Reply(computed.outputs, cloud_ms=note.passed_ms)

    async def _decoded(self, asked: Message | Unread) -> dict[str, Array]:
        message = await asyncio.to_thread(asked.read) if isinstance(asked, Unread) else asked
        if all(encoded.codec == "raw" for encoded in message.tensors.values()):
            return self._decode(message)
        return await asyncio.to_thread(self._decode, message)

    def _decode(self, message: Message) -> dict[str, Array]:
        limit = self._max_decoded_bytes
        return {name: decode(encoded, limit) for name, encoded in message.tensors.items()}

    def refused(self, status: str) -> None:
        """Tell the listeners of what was refused before it was known what it is for."""
        self._tell(Outcome(None, status))

    def _tell(self, outcome: Outcome) -> None:
        for listener in self._listeners:
            listener.on_outcome(outcome)

    @contextmanager
    def _noted(self) -> Iterator["_Note"]:
        """Count a request as under way, and tell the listeners how it ended."""
        note = _Note()
        status, shed = "OK", False
        self.came += 1
        self._under_way += 1
        self._idle.clear()
        try:
            yield note
        except BaseException as error:
            status, shed = status_of(error), isinstance(error, OverloadedError)
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
            self._tell(note.outcome(status, shed))

    def swap(self, models: Models) -> Models:
        """Serve ``models`` from now on; returns those before, to be retired.

        Until then whoever asks for an older version by its hash still gets it.
        """
        older = self.models
        self._shelf.put(models)
        self._open_batchers()
        return older

    async def retire(self, models: Models) -> None:
        """Take no more requests for older ``models``, and finish those that were taken."""
        self._shelf.take_away(models)
        kept = {session.program.sha256 for session in self._shelf}
        gone = [self._batchers.pop(sha256) for sha256 in self._batchers.keys() - kept]
        await asyncio.gather(*(_finish(batcher) for batcher in gone))

    def _open_batchers(self) -> None:
        for session in self._shelf:
            if session.program.sha256 not in self._batchers:
                self._batchers[session.program.sha256] = self._batcher(session)

    def _batcher(self, session: ProgramSession) -> Batcher:
        def on_batch(rows: int) -> None:
            for listener in self._listeners:
                listener.on_batch(session.program, rows)

        return Batcher(session.run, self._batching, on_batch)

    async def drain(self) -> None:
        """Take nothing more, and return once nothing is under way."""
        self.draining = True
        await self._idle.wait()

    async def close(self) -> None:
        """Take nothing more, finish what has been taken, and stop the threads."""
        await self.drain()
        await asyncio.gather(*(batcher.close() for batcher in self._batchers.values()))


@dataclass(slots=True)
class _Note:
    """What is known of a request so far."""

    began_s: float = field(default_factory=time.perf_counter)
    program: Program | None = None
    rows: int = 0
    computed: Computed | None = None

    @property
    def passed_ms(self) -> float:
        return (time.perf_counter() - self.began_s) * 1e3

    def outcome(self, status: str, shed: bool) -> Outcome:
        queue_ms, run_ms = 0.0, 0.0
        if self.computed is not None:
            queue_ms, run_ms = self.computed.queue_ms, self.computed.run_ms
        return Outcome(self.program, status, self.rows, self.passed_ms, queue_ms, run_ms, shed=shed)


def _rows(program: Program, message: Message) -> int:
    """Return how many rows a message claims to have; `SignatureError` where it does not fit."""
    return program.check_claims(
        [
            Claim(name, encoded.dtype, (len(encoded.payload), *encoded.shape))
            for name, encoded in message.tensors.items()
        ]
    )


def _expiry_s(began_s: float, left_ms: float | None) -> float | None:
    """Return when an answer is of no more use; `ExpiredError` where that has passed."""
    if left_ms is not None and left_ms <= 0:
        raise ExpiredError("its time was spent when it came")
    return None if left_ms is None else began_s + left_ms / 1e3


async def _finish(batcher: Batcher) -> None:
    await batcher.admission.emptied()
    await batcher.close()
