"""The gateway's end of the serial protocol, without I/O: fragments in, asks out, replies back.

All patience is the device's: it repeats itself until it is heard, and the desk has no timers. It
says what it holds when it is asked to, and gives a reply again as often as the device wants it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from hybridge.errors import ConfigError, DataError
from hybridge.runtime.wire.frames import (
    MIN_FRAME_BYTES,
    Frame,
    Kind,
    bitmap,
    fragments,
    of_bitmap,
)
from hybridge.runtime.wire.serial import (
    SerialAsk,
    SerialReply,
    Status,
    ask_of,
    is_whole,
)


class Arrival(NamedTuple):
    """An ask that is whole.

    Attributes:
        ticket: What its reply is to be handed in with.
        ask: The ask.
        due_ms: When its time is up, by the clock that the desk was told.
    """

    ticket: int
    ask: SerialAsk
    due_ms: float


@dataclass
class DeskCounts:
    """What a desk has seen.

    Attributes:
        fragments: Fragments of asks, those that came again included.
        repeated: Fragments that were held already.
        asks: Asks that were whole.
        damaged: Asks whose fragments did not fit together; they are asked for again.
        forgotten: Requests that made room for others before they had a reply.
    """

    fragments: int = 0
    repeated: int = 0
    asks: int = 0
    damaged: int = 0
    forgotten: int = 0


@dataclass
class _Request:
    ticket: int
    number: int
    count: int
    began_ms: float
    held: dict[int, bytes] = field(default_factory=dict)
    message: bytes = b""
    frame_bytes: int = MIN_FRAME_BYTES
    reply: list[bytes] | None = None

    def contradicts(self, frame: Frame) -> bool:
        """Return whether a fragment is of another message than what is held."""
        held = self.held.get(frame.number)
        return frame.count != self.count or (held is not None and held != frame.body)


class Desk:
    """Takes frames, hands out whole asks, and keeps replies until the device has them.

    Its memory is bounded: of the requests it holds, the oldest that has its reply makes room for
    a new one, and otherwise the oldest that is not whole.

    Args:
        most: Most requests held at once.

    Attributes:
        counts: What it has seen.

    Raises `ConfigError` where ``most`` is not positive.
    """

    def __init__(self, most: int = 16) -> None:
        if most < 1:
            raise ConfigError(f"expected a desk for at least one request, got {most}")
        self.counts = DeskCounts()
        self._most = most
        self._requests: dict[int, _Request] = {}
        self._tickets = 0

    def take(self, frame: Frame, now_ms: float) -> tuple[list[bytes], Arrival | None]:
        """Return what is to be sent at once, and the ask that ``frame`` makes whole, if any."""
        match frame.kind:
            case Kind.ASK if frame.number < frame.count:
                return self._take_fragment(frame, now_ms)
            case Kind.HAVE:
                return self._take_want(frame), None
            case _:  # the other direction's, or nonsense that has the right checksum
                return [], None

    def hand_in(self, ticket: int, reply: SerialReply) -> list[bytes]:
        """Return the frames of a reply; none where its request has been forgotten."""
        request = next((r for r in self._requests.values() if r.ticket == ticket), None)
        if request is None:
            return []
        try:
            request.reply = fragments(reply.to_bytes(request.message), request.frame_bytes)
        except DataError:  # more logits than frames of that length hold
            refusal = SerialReply(Status.BAD_INPUT).to_bytes(request.message)
            request.reply = fragments(refusal, request.frame_bytes)
        return _frames(request, range(len(request.reply)))

    def _take_fragment(self, frame: Frame, now_ms: float) -> tuple[list[bytes], Arrival | None]:
        request = self._request_of(frame, now_ms)
        self.counts.fragments += 1
        self.counts.repeated += frame.number in request.held
        request.held[frame.number] = frame.body
        if request.message or len(request.held) < request.count:
            return self._say(request) if frame.please else [], None
        arrival = self._put_together(request)
        return self._say(request), arrival

    def _say(self, request: _Request) -> list[bytes]:
        """Return the reply where there is one, or else what is held of the ask."""
        if request.reply is None:
            return [_held(request)]
        return _frames(request, range(len(request.reply)))

    def _put_together(self, request: _Request) -> Arrival | None:
        """Return the ask of a request all of whose fragments are held."""
        message = b"".join(request.held[number] for number in range(request.count))
        if not is_whole(message, request.number):
            self.counts.damaged += 1
            request.held.clear()
            return None
        self.counts.asks += 1
        request.message = message
        try:
            ask = ask_of(message, request.number)
        except DataError:
            self.hand_in(request.ticket, SerialReply(Status.BAD_INPUT))
            return None
        request.frame_bytes = ask.frame_bytes
        return Arrival(request.ticket, ask, request.began_ms + ask.left_ms)

    def _take_want(self, frame: Frame) -> list[bytes]:
        request = self._requests.get(frame.request)
        if request is None:  # as after a restart: the device is to begin again
            return [Frame(Kind.HELD, frame.request).to_wire()]
        if request.reply is None:
            return [_held(request)]
        has = of_bitmap(frame.body, len(request.reply)) if frame.count else set()
        return _frames(request, (n for n in range(len(request.reply)) if n not in has))

    def _request_of(self, frame: Frame, now_ms: float) -> _Request:
        request = self._requests.get(frame.request)
        if request is not None and not request.contradicts(frame):
            return request
        # A device that started anew may use a number again, for another message.
        self._requests.pop(frame.request, None)
        if len(self._requests) >= self._most:
            self._make_room()
        self._tickets += 1
        request = _Request(self._tickets, frame.request, frame.count, now_ms)
        self._requests[frame.request] = request
        return request

    def _make_room(self) -> None:
        oldest = sorted(
            self._requests.values(), key=lambda r: (r.reply is None, bool(r.message), r.ticket)
        )[0]
        self.counts.forgotten += oldest.reply is None
        del self._requests[oldest.number]


def _held(request: _Request) -> bytes:
    body = bitmap(request.held, request.count)
    return Frame(Kind.HELD, request.number, 0, request.count, body).to_wire()


def _frames(request: _Request, numbers: Iterable[int]) -> list[bytes]:
    reply = request.reply or []
    return [Frame(Kind.REPLY, request.number, n, len(reply), reply[n]).to_wire() for n in numbers]
