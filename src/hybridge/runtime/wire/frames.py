"""Frames of a serial line: COBS, CRC-16, and messages in fragments that fit a frame.

On the wire a frame is COBS-encoded content and a zero. No other byte of it is zero, so whoever
lost track finds the beginning of the next one. The content is a header of five bytes, a body,
and the CRC-16/CCITT-FALSE of both. `docs/gateway.md` has the layout byte by byte, and
`src/hybridge/firmware/hybridge_frame.c` is the same in C.
"""

import binascii
import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from hybridge.errors import ConfigError, DataError

VERSION = 1
#: Fewest bytes of a frame, such that it holds the longest bitmap; most bytes of one.
MIN_FRAME_BYTES, MAX_FRAME_BYTES = 48, 1024
#: Most fragments of a message.
MAX_FRAGMENTS = 255

_HEADER = struct.Struct("<BHBB")
_CRC = struct.Struct("<H")
_PLEASE = 0x08  # the flag beside the kind: say at once what is held
_LONGEST_BLOCK = 254


class Kind(IntEnum):
    """What a frame is; the first two pairs are a message's fragments, and what is held of them."""

    ASK = 1
    """A fragment of an ask, from the device."""
    HELD = 2
    """Which fragments of an ask are held, from the gateway."""
    REPLY = 3
    """A fragment of a reply, from the gateway."""
    HAVE = 4
    """Which fragments of a reply are held, from the device; it asks for the others."""


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, decoded.

    Attributes:
        kind: What it is.
        request: Number of the request, 0 to 65535, which the device chose.
        number: Which fragment it is, from 0; 0 where it is none.
        count: Fragments of the message that it is of, or speaks of; 0 where that is not known.
        body: A fragment's bytes, or a bitmap of fragments, lowest bit of the first byte first.
        please: Whether the other end is to say at once what it holds.
    """

    kind: Kind
    request: int
    number: int = 0
    count: int = 0
    body: bytes = b""
    please: bool = False

    def to_wire(self) -> bytes:
        """Return the bytes that cross, the zero at the end included."""
        first = VERSION << 4 | (_PLEASE if self.please else 0) | self.kind
        content = _HEADER.pack(first, self.request, self.number, self.count) + self.body
        return cobs_encode(content + _CRC.pack(crc16(content))) + b"\0"


def crc16(data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE: polynomial 0x1021 from 0xFFFF, nothing reflected."""
    return binascii.crc_hqx(data, 0xFFFF)


def cobs_encode(data: bytes) -> bytes:
    """Return ``data`` without zeros (consistent overhead byte stuffing)."""
    encoded = bytearray()
    blocks = data.split(b"\0")
    for index, block in enumerate(blocks):
        while len(block) >= _LONGEST_BLOCK:
            encoded.append(_LONGEST_BLOCK + 1)
            encoded += block[:_LONGEST_BLOCK]
            block = block[_LONGEST_BLOCK:]
            if not block and index == len(blocks) - 1:
                return bytes(encoded)
        encoded.append(len(block) + 1)
        encoded += block
    return bytes(encoded)


def cobs_decode(data: bytes) -> bytes:
    """Return what `cobs_encode` was given; raises `DataError` where it cannot have been."""
    decoded = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        end = at + code
        if code == 0 or end > len(data):
            raise DataError(f"expected COBS blocks, got one of {code} at byte {at}; send it again")
        decoded += data[at + 1 : end]
        at = end
        if code <= _LONGEST_BLOCK and at < len(data):
            decoded.append(0)
    return bytes(decoded)


def body_bytes(frame_bytes: int) -> int:
    """Return the most bytes of a body such that its frame takes ``frame_bytes`` at most.

    Raises `ConfigError` where that is not `MIN_FRAME_BYTES` to `MAX_FRAME_BYTES`.
    """
    if not MIN_FRAME_BYTES <= frame_bytes <= MAX_FRAME_BYTES:
        raise ConfigError(
            f"expected frames of {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES} bytes, got {frame_bytes}"
        )
    encoded_bytes = frame_bytes - 1
    overhead_bytes = -(-encoded_bytes // (_LONGEST_BLOCK + 1))
    return encoded_bytes - overhead_bytes - _HEADER.size - _CRC.size


def fragments(message: bytes, frame_bytes: int) -> list[bytes]:
    """Return ``message`` in bodies of frames, all full but the last.

    Raises `DataError` where there would be more than `MAX_FRAGMENTS`.
    """
    size = body_bytes(frame_bytes)
    if len(message) > MAX_FRAGMENTS * size:
        raise DataError(
            f"expected a message of at most {MAX_FRAGMENTS * size} bytes in frames of "
            f"{frame_bytes}, got {len(message)}; use longer frames, or encode it smaller"
        )
    return [message[at : at + size] for at in range(0, len(message), size)] or [b""]


def bitmap(held: Collection[int], count: int) -> bytes:
    """Return which of ``count`` fragments are ``held``, lowest bit of the first byte first."""
    bits = sum(1 << number for number in held)
    return bits.to_bytes((count + 7) // 8, "little")


def of_bitmap(body: bytes, count: int) -> set[int]:
    """Return the numbers below ``count`` that a bitmap holds; what is beyond its end is not."""
    bits = int.from_bytes(body[: MAX_FRAGMENTS // 8 + 1], "little")
    return {number for number in range(count) if bits >> number & 1}


class FrameReader:
    """Finds frames in bytes as they come, in whatever pieces. Holds one frame at most.

    Attributes:
        damaged: Stretches between zeros that were no frame, so far.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._bytes = bytearray()
        self._overlong = False

    def read(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes."""
        found = []
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._add(piece)
            frame = self._end()
            if frame is not None:
                found.append(frame)
        self._add(rest)
        return found

    def _add(self, piece: bytes) -> None:
        self._overlong = self._overlong or len(self._bytes) + len(piece) > MAX_FRAME_BYTES
        if not self._overlong:
            self._bytes += piece

    def _end(self) -> Frame | None:
        encoded, overlong = bytes(self._bytes), self._overlong
        self._bytes.clear()
        self._overlong = False
        if not encoded and not overlong:
            return None
        frame = None if overlong else frame_of(encoded)
        self.damaged += frame is None
        return frame


def frame_of(encoded: bytes) -> Frame | None:
    """Return the frame that stood before a zero, or None where it was none or is damaged."""
    try:
        content = cobs_decode(encoded)
    except DataError:
        return None
    if len(content) < _HEADER.size + _CRC.size:
        return None
    covered, (told,) = content[: -_CRC.size], _CRC.unpack(content[-_CRC.size :])
    first, request, number, count = _HEADER.unpack_from(covered)
    kind = first & (_PLEASE - 1)
    if told != crc16(covered) or first >> 4 != VERSION or kind not in _KINDS:
        return None
    body = covered[_HEADER.size :]
    return Frame(Kind(kind), request, number, count, body, bool(first & _PLEASE))
