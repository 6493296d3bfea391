"""What a device behind a serial line asks, and what it is told: two messages, byte by byte.

A message ends with a CRC-32: an ask's begins from its request number, a reply's goes on from its
ask's. So what was put together from damaged fragments, or is the reply to something else, is never
taken: a frame's own CRC-16 lets one damaged frame in 65,536 pass.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from hybridge.errors import DataError
from hybridge.runtime.wire.frames import MAX_FRAME_BYTES, MIN_FRAME_BYTES

Array = np.ndarray[Any, Any]

_ASK = struct.Struct("<BBHI8sfi")
_REPLY = struct.Struct("<BBHHHHfi")
_CRC = struct.Struct("<I")
_U16 = 0xFFFF


class Form(IntEnum):
    """What an ask's payload is."""

    RAW = 0
    """The program's input as it is, little-endian, in C order."""
    IMAGE = 1
    """An encoded image, such as JPEG."""
    INT8 = 2
    """The program's input as 8-bit integers: ``value = (integer - zero_point) * scale``."""


class Wants(IntEnum):
    """What beside class and probability a reply is to hold."""

    CLASS = 0
    """Nothing."""
    INT8 = 1
    """The logits as 8-bit integers with a scale and a zero point."""
    FLOAT16 = 2
    """The logits in half precision."""


class Status(IntEnum):
    """Whether the cloud answered, or why not."""

    ANSWERED = 0
    UNKNOWN_PROGRAM = 1
    """The gateway's bundle has no program that begins so."""
    BAD_INPUT = 2
    """The payload is not what the program takes."""
    NO_CLOUD = 3
    """The cloud cannot be reached, failed, or is left alone for a while since it failed."""
    CLOUD_REFUSED = 4
    """The cloud said no."""
    TOO_LATE = 5
    """The time was up before the cloud answered."""
    BUSY = 6
    """The gateway asks for as many others as it may."""


_FORMS, _WANTS, _STATUSES = frozenset(Form), frozenset(Wants), frozenset(Status)


@dataclass(frozen=True, slots=True)
class SerialAsk:
    """A question over the serial line.

    Attributes:
        program: First `PROGRAM_BYTES` bytes of the sha256 of the program's ONNX file.
        payload: The input.
        left_ms: Time left until the answer is of no use.
        form: What the payload is.
        wants: What the reply is to hold.
        frame_bytes: How long frames of the reply may be.
        scale: Of an int8 payload.
        zero_point: Of an int8 payload.
    """

    program: bytes
    payload: bytes
    left_ms: int
    form: Form = Form.RAW
    wants: Wants = Wants.CLASS
    frame_bytes: int = MIN_FRAME_BYTES
    scale: float = 1.0
    zero_point: int = 0

    def to_bytes(self, request: int) -> bytes:
        """Return the message of request number ``request``, its CRC-32 included."""
        head = _ASK.pack(
            self.form,
            self.wants,
            self.frame_bytes,
            self.left_ms,
            self.program,
            self.scale,
            self.zero_point,
        )
        content = head + self.payload
        return content + _CRC.pack(_ask_crc(content, request))


@dataclass(frozen=True, slots=True)
class SerialReply:
    """The reply to a question over the serial line.

    Attributes:
        status: Whether it is an answer; all else is zero where it is none.
        label: The most probable class.
        probability: Its probability.
        cloud_ms: Time the server spent, in whole milliseconds.
        wants: What ``values`` are.
        values: Logits ``(C,)`` as they cross: int8, float16 or none.
        scale: Of int8 logits.
        zero_point: Of int8 logits.
    """

    status: Status
    label: int = 0
    probability: float = 0.0
    cloud_ms: int = 0
    wants: Wants = Wants.CLASS
    values: bytes = b""
    scale: float = 0.0
    zero_point: int = 0

    @property
    def logits(self) -> Array | None:
        """Logits ``(C,)`` in float32, or None where they were not wanted."""
        match self.wants:
            case Wants.INT8:
                integers = np.frombuffer(self.values, np.int8).astype(np.float32)
                return (integers - np.float32(self.zero_point)) * np.float32(self.scale)
            case Wants.FLOAT16:
                return np.frombuffer(self.values, "<f2").astype(np.float32)
            case _:
                return None

    def to_bytes(self, ask: bytes) -> bytes:
        """Return the message, with the CRC-32 that makes it the reply to the message ``ask``."""
        head = _REPLY.pack(
            self.status,
            self.wants,
            self.label,
            round(self.probability * _U16),
            min(self.cloud_ms, _U16),
            len(self.values) // _value_bytes(self.wants),
            self.scale,
            self.zero_point,
        )
        content = head + self.values
        return content + _CRC.pack(zlib.crc32(content, _told_crc(ask)))


def answered(logits: Array, wants: Wants, cloud_ms: float) -> SerialReply:
    """Return the answer that logits ``(C,)`` are, at most 65,535 of them.

    Integers are chosen such that zero is exact, as quantised programs have it.
    """
    powers = np.exp(logits.astype(np.float64) - logits.max())
    label = int(logits.argmax())
    probability = float(powers[label] / powers.sum())
    values, scale, zero_point = _as_wanted(logits, wants)
    duration_ms = round(min(max(cloud_ms, 0.0), float(_U16)))
    return SerialReply(
        Status.ANSWERED, label, probability, duration_ms, wants, values, scale, zero_point
    )


def ask_of(message: bytes, request: int) -> SerialAsk:
    """Return the ask that a message of request number ``request`` is.

    Raises `DataError` where it is damaged, or says what cannot be.
    """
    content = _checked(message, _ASK.size, crc32_from=_number_crc(request))
    form, wants, frame_bytes, left_ms, program, scale, zero_point = _ASK.unpack_from(content)
    if (
        form not in _FORMS
        or wants not in _WANTS
        or not MIN_FRAME_BYTES <= frame_bytes <= MAX_FRAME_BYTES
        or not math.isfinite(scale)
    ):
        raise DataError(
            f"expected an ask, got form {form}, wants {wants}, frames of {frame_bytes} bytes and "
            f"scale {scale}; see docs/gateway.md"
        )
    payload = content[_ASK.size :]
    return SerialAsk(
        program, payload, left_ms, Form(form), Wants(wants), frame_bytes, scale, zero_point
    )


def reply_of(message: bytes, ask: bytes) -> SerialReply:
    """Return the reply that a message is; raises `DataError` unless it is one to ``ask``."""
    content = _checked(message, _REPLY.size, crc32_from=_told_crc(ask))
    status, wants, label, probability, cloud_ms, count, scale, zero_point = _REPLY.unpack_from(
        content
    )
    values = content[_REPLY.size :]
    whole = wants in _WANTS and status in _STATUSES
    if not whole or len(values) != count * (0 if wants == Wants.CLASS else _value_bytes(wants)):
        raise DataError(f"expected a reply, got status {status} with {len(values)} bytes of logits")
    return SerialReply(
        Status(status),
        label,
        probability / _U16,
        cloud_ms,
        Wants(wants),
        values,
        scale,
        zero_point,
    )


def is_whole(message: bytes, request: int) -> bool:
    """Return whether a message is an ask of request number ``request``, and not damaged."""
    content, told = message[: -_CRC.size], message[-_CRC.size :]
    return len(told) == _CRC.size and _CRC.pack(_ask_crc(content, request)) == told


def _as_wanted(logits: Array, wants: Wants) -> tuple[bytes, float, int]:
    """Return logits as they cross, their scale and their zero point."""
    if wants == Wants.CLASS:
        return b"", 0.0, 0
    if wants == Wants.FLOAT16:
        limit = float(np.finfo(np.float16).max)
        return np.clip(logits, -limit, limit).astype("<f2").tobytes(), 0.0, 0
    lowest, highest = min(float(logits.min()), 0.0), max(float(logits.max()), 0.0)
    scale = float(np.float32(max((highest - lowest) / 255, 1e-30)))
    zero_point = round(-128 - lowest / scale)
    integers = np.clip(np.rint(logits / scale) + zero_point, -128, 127)
    return integers.astype(np.int8).tobytes(), scale, zero_point


def _value_bytes(wants: int) -> int:
    return 2 if wants == Wants.FLOAT16 else 1


def _checked(message: bytes, head_bytes: int, crc32_from: int) -> bytes:
    """Return a message without its CRC-32; raises `DataError` where that is another."""
    content, told = message[: -_CRC.size], message[-_CRC.size :]
    if len(content) < head_bytes or _CRC.pack(zlib.crc32(content, crc32_from)) != told:
        raise DataError(
            f"expected a message of at least {head_bytes + _CRC.size} bytes with its checksum, "
            f"got {len(message)} bytes that are damaged or another message; send it again"
        )
    return content


def _number_crc(request: int) -> int:
    return zlib.crc32(struct.pack("<H", request))


def _ask_crc(content: bytes, request: int) -> int:
    return zlib.crc32(content, _number_crc(request))


def _told_crc(message: bytes) -> int:
    """Return the checksum that a message ends with."""
    return int(_CRC.unpack(message[-_CRC.size :])[0])
