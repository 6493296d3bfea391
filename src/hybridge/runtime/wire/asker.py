"""The device's end of the serial protocol, without I/O: one ask at a time.

The same state machine as `src/hybridge/firmware/hybridge_link.c`, for devices that run Python.
"""

from dataclasses import dataclass

from hybridge.errors import ConfigError, DataError
from hybridge.runtime.wire.frames import Frame, FrameReader, Kind, bitmap, fragments, of_bitmap
from hybridge.runtime.wire.serial import SerialAsk, SerialReply, reply_of

_NUMBERS = 65536


@dataclass(frozen=True, slots=True)
class Patience:
    """How a device repeats itself.

    Attributes:
        retry_ms: How long it waits for a sign of the gateway before it repeats what it sent last.
            At least what a burst and its acknowledgement take on the line.
        tries: How often in a row it does so, without any sign, before it gives up.
        window: Fragments that it sends before it waits for an acknowledgement.
    """

    retry_ms: float = 200.0
    tries: int = 8
    window: int = 8

    def __post_init__(self) -> None:
        if not (self.retry_ms > 0 and self.tries > 0 and self.window > 0):
            raise ConfigError(f"expected retry_ms, tries and window above zero, got {self}")


class Asker:
    """One ask under way: give it what comes in, send what `poll` returns, until it has ended.

    Args:
        ask: What is asked.
        request: Its number, 0 to 65535; another one than that of the ask before. Where the gateway
            knows it of an ask of before, as after a reset, the next one is taken.
        now_ms: When it begins.
        patience: How it repeats itself; None for the defaults.

    Attributes:
        request: Its number now: the next ask is to take one behind it.
        reply: What came of it, or None: still nothing, or nothing in time.
        has_ended: Whether there is a reply, or no hope of one: the device then answers itself.

    Raises `DataError` where the ask does not fit into frames of the length that it names.
    """

    def __init__(
        self, ask: SerialAsk, request: int, now_ms: float, patience: Patience | None = None
    ) -> None:
        self.reply: SerialReply | None = None
        self.has_ended = False
        self._patience = patience or Patience()
        self._ask = ask
        self._is_due = True
        self._ask_as(request)
        self._reader = FrameReader()
        self._due_ms = now_ms + ask.left_ms
        self._tries = 0
        self._silent_since_ms = now_ms

    def receive(self, data: bytes, now_ms: float) -> None:
        """Take bytes from the line, in whatever pieces."""
        for frame in self._reader.read(data):
            if not self.has_ended and frame.request == self.request:
                self._take(frame, now_ms)

    def poll(self, now_ms: float) -> bytes:
        """Return what is to be sent now, and perhaps nothing."""
        if self.has_ended or now_ms >= self._due_ms:
            self.has_ended = True
            return b""
        if not self._is_due:
            if now_ms - self._silent_since_ms < self._patience.retry_ms:
                return b""
            self._tries += 1
            if self._tries > self._patience.tries:
                self.has_ended = True
                return b""
        self._is_due = False
        self._silent_since_ms = now_ms
        missing = [n for n in range(len(self._fragments)) if n not in self._held]
        burst = missing[: self._patience.window]
        if not burst:
            return self._have()
        return b"".join(self._fragment(number, number == burst[-1]) for number in burst)

    def _ask_as(self, request: int) -> None:
        """Begin to send the ask under a number."""
        self.request = request
        self._message = self._ask.to_bytes(request)
        self._fragments = fragments(self._message, self._ask.frame_bytes)
        self._held: set[int] = set()
        self._replies: dict[int, bytes] = {}
        self._reply_count = 0
        self._is_due = True  # something is to be said at once

    def _take(self, frame: Frame, now_ms: float) -> None:
        if frame.kind == Kind.HELD:
            self._take_held(frame)
        elif frame.kind == Kind.REPLY and frame.number < frame.count:
            self._take_reply(frame)
        else:
            return
        self._tries = 0
        self._silent_since_ms = now_ms

    def _take_held(self, frame: Frame) -> None:
        # Where the gateway has started anew, it holds less than before.
        known = frame.count == len(self._fragments)
        self._held = of_bitmap(frame.body, frame.count) if known else set()
        self._is_due = len(self._held) < len(self._fragments)

    def _take_reply(self, frame: Frame) -> None:
        self._held = set(range(len(self._fragments)))
        self._is_due = False
        if frame.count != self._reply_count:
            self._replies, self._reply_count = {}, frame.count
        self._replies[frame.number] = frame.body
        if len(self._replies) == frame.count:
            self._put_together()
        elif frame.number == frame.count - 1:
            self._is_due = True

    def _put_together(self) -> None:
        message = b"".join(self._replies[number] for number in range(self._reply_count))
        try:
            self.reply = reply_of(message, self._message)
        except DataError:
            # It answers what was asked under this number before a reset, or is damaged.
            self._ask_as((self.request + 1) % _NUMBERS)
            return
        self.has_ended = True

    def _fragment(self, number: int, please: bool) -> bytes:
        body = self._fragments[number]
        count = len(self._fragments)
        return Frame(Kind.ASK, self.request, number, count, body, please).to_wire()

    def _have(self) -> bytes:
        count = self._reply_count
        body = bitmap(self._replies, count)
        return Frame(Kind.HAVE, self.request, 0, count, body).to_wire()
