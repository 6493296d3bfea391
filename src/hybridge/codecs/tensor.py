"""Tensor codecs: any array as it is, or floats at half or quarter their size.

Letters: ``B`` items in a batch, ``n`` elements of an item.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zstandard

from hybridge.codecs.codec import Array, Encoded, codecs
from hybridge.errors import DataError, SignatureError

_FLOATS = ("float16", "float32")
_HEADER = struct.Struct("<ff")  # an item's lowest value and its step
_LEVELS = 255
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LARGEST = _FLOAT32_MAX / 4  # so that no range, and no rounding of it, overflows


@dataclass(frozen=True, slots=True)
class Raw:
    """The array's own bytes, little-endian: every dtype, every shape."""

    name: str = "raw"
    lossless: bool = True

    def encode(self, array: Array) -> Encoded:
        """Encode a batch ``(B, ...)``; raises `SignatureError` where there is no batch axis."""
        _check_batch(array, self.name)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return Encoded(
            self.name, tuple(item.tobytes() for item in little), array.dtype.name, array.shape[1:]
        )

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Return the batch, read-only; raises `DataError` as `Codec.decode` does."""
        encoded.check_decoded_size(max_bytes)
        return _from_bytes(encoded, encoded.dtype)


@dataclass(frozen=True, slots=True)
class Half:
    """Floats as IEEE half precision: relative error at most 2^-11 in its normal range."""

    name: str = "fp16"
    lossless: bool = False

    def encode(self, array: Array) -> Encoded:
        """Encode a batch of floats; raises `SignatureError` for other dtypes or beyond 65504."""
        _check_floats(array, self.name)
        with np.errstate(over="ignore"):
            half = array.astype("<f2")
        if not np.isfinite(half).all():
            raise SignatureError(
                f"codec {self.name!r} holds values within ±65504, got larger ones or NaN; "
                "use 'raw' or 'int8-zstd'"
            )
        return Encoded(
            self.name, tuple(item.tobytes() for item in half), array.dtype.name, array.shape[1:]
        )

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Return the batch in its own dtype; raises `DataError` as `Codec.decode` does."""
        _check_claims_floats(encoded)
        encoded.check_decoded_size(max_bytes)
        return _from_bytes(encoded, "<f2").astype(encoded.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Int8Zstd:
    """Floats as 8-bit steps between each item's own extremes, compressed by Zstandard.

    An element's error is at most half a step, which is ``(highest - lowest) / 255`` of its item.
    """

    name: str = "int8-zstd"
    lossless: bool = False

    def encode(self, array: Array) -> Encoded:
        """Encode a batch of floats.

        Raises `SignatureError` for other dtypes, items without elements, and values that are
        not finite or beyond a quarter of what float32 can hold.
        """
        _check_floats(array, self.name)
        flat = array.reshape(len(array), math.prod(array.shape[1:])).astype(np.float32, copy=False)
        if not flat.shape[1]:
            raise SignatureError(f"codec {self.name!r} takes items of one element or more")
        lowest, highest = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
        if not ((lowest >= -_LARGEST) & (highest <= _LARGEST)).all():
            raise SignatureError(
                f"codec {self.name!r} takes values within ±{_LARGEST:.1e}, got larger ones, "
                "infinity or NaN; use 'raw'"
            )
        step = (highest - lowest) / np.float32(_LEVELS)
        # A flat item, or one whose step is too small for float32, is all lowest value.
        divisor = np.where(step > 0, step, np.float32(1))
        levels = np.minimum(np.rint((flat - lowest) / divisor), _LEVELS).astype(np.uint8)
        compress = zstandard.ZstdCompressor(level=3).compress
        payload = tuple(
            _HEADER.pack(low, wide) + compress(item.tobytes())
            for low, wide, item in zip(lowest[:, 0], step[:, 0], levels, strict=True)
        )
        return Encoded(self.name, payload, array.dtype.name, array.shape[1:])

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Return the batch in its own dtype; raises `DataError` as `Codec.decode` does."""
        _check_claims_floats(encoded)
        encoded.check_decoded_size(max_bytes)
        elements = math.prod(encoded.shape)
        decoded = np.empty((len(encoded.payload), elements), np.float32)
        decompress = zstandard.ZstdDecompressor().decompress
        for values, payload in zip(decoded, encoded.payload, strict=True):
            _dequantise(payload, values, decompress)
        shaped = decoded.reshape(len(decoded), *encoded.shape)
        # Only a forged header exceeds float16 here; it then reads as infinity.
        with np.errstate(over="ignore"):
            return shaped.astype(encoded.dtype, copy=False)


def _dequantise(payload: bytes, values: Array, decompress: Callable[..., bytes]) -> None:
    """Fill ``values`` ``(n,)``; raises `DataError` where the payload is not ``n`` levels."""
    try:
        lowest, step = _HEADER.unpack_from(payload)
        frame = payload[_HEADER.size :]
        # A frame that claims another size is never decompressed: that is how bombs are made.
        fits = zstandard.frame_content_size(frame) == len(values)
        levels = decompress(frame, allow_extra_data=False) if fits else b""
    except (struct.error, zstandard.ZstdError) as error:
        raise DataError(f"expected 8-bit steps, got {len(payload)} damaged bytes") from error
    in_range = abs(lowest) + _LEVELS * abs(step) <= _FLOAT32_MAX
    if len(levels) != len(values) or not in_range:
        raise DataError(f"expected {len(values)} finite 8-bit steps, got something else")
    np.multiply(np.frombuffer(levels, np.uint8), np.float32(step), out=values)
    values += np.float32(lowest)


def _check_batch(array: Array, codec: str) -> None:
    if array.ndim == 0 or array.dtype.hasobject:
        raise SignatureError(
            f"codec {codec!r} takes a batch (B, ...) of numbers, got {array.dtype} {array.shape}"
        )


def _check_floats(array: Array, codec: str) -> None:
    _check_batch(array, codec)
    if array.dtype.name not in _FLOATS:
        raise SignatureError(
            f"codec {codec!r} takes {' or '.join(_FLOATS)}, got {array.dtype}; use 'raw'"
        )


def _check_claims_floats(encoded: Encoded) -> None:
    if encoded.dtype not in _FLOATS:
        raise DataError(
            f"codec {encoded.codec!r} carries {' or '.join(_FLOATS)}, but the payload stands for "
            f"{encoded.dtype}; encode it with 'raw'"
        )


def _from_bytes(encoded: Encoded, dtype: str) -> Array:
    """Return ``(B, ...)`` elements of ``dtype``; raises `DataError` where sizes differ."""
    wire_dtype = np.dtype(dtype).newbyteorder("<")
    item_bytes = math.prod(encoded.shape) * wire_dtype.itemsize
    for payload in encoded.payload:
        if len(payload) != item_bytes:
            raise DataError(
                f"expected {item_bytes} bytes for an item of {encoded.shape}, got {len(payload)}; "
                "the payload is damaged or of another shape"
            )
    joined = encoded.payload[0] if len(encoded.payload) == 1 else b"".join(encoded.payload)
    return np.frombuffer(joined, wire_dtype).reshape(len(encoded.payload), *encoded.shape)


codecs.add("raw", Raw())
codecs.add("fp16", Half())
codecs.add("int8-zstd", Int8Zstd())
