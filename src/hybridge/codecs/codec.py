"""Codecs: how a value becomes bytes for the link, and comes back.

A codec's sizes are the sizes that cross: everything that prices a link uses them.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hybridge.errors import DataError
from hybridge.registry import Registry

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded batch.

    Attributes:
        codec: Name of the codec that made it.
        payload: The bytes, one item of the batch each.
        dtype: Element type of the decoded array.
        shape: Shape of one decoded item, without the batch axis.
    """

    codec: str
    payload: tuple[bytes, ...]
    dtype: str
    shape: tuple[int, ...]

    @property
    def payload_bytes(self) -> int:
        """Bytes of the whole batch."""
        return sum(map(len, self.payload))

    @property
    def item_bytes(self) -> int:
        """Bytes of one decoded item."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def check_decoded_size(self, max_bytes: int) -> None:
        """Raise `DataError` where the batch would decode to more than ``max_bytes``."""
        decoded_bytes = len(self.payload) * self.item_bytes
        if decoded_bytes > max_bytes:
            raise DataError(
                f"expected at most {max_bytes} bytes once decoded, got {len(self.payload)} items "
                f"of {self.item_bytes} bytes; send smaller batches"
            )


class Codec(Protocol):
    """Turns a batch ``(B, ...)`` into bytes and back.

    Attributes:
        name: Name in the registry, settings included, such as ``jpeg-90``.
        lossless: Whether decoding gives back exactly what was encoded.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def lossless(self) -> bool:
        """Whether decoding gives back exactly what was encoded."""
        ...

    def encode(self, array: Array) -> Encoded:
        """Encode a batch; raises `SignatureError` where the codec does not fit it."""
        ...

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Decode a batch.

        Raises `DataError` for a payload that is corrupt, not of the shape it claims, or would
        decode to more than ``max_bytes``.
        """
        ...


#: Characters of a name that count; no codec's name is as long.
MAX_NAME = 40

codecs: Registry[Codec] = Registry("codec")
"""Every codec, by name."""


def codec_named(name: str) -> Codec:
    """Return the codec called ``name``, such as ``jpeg-90``.

    Raises `UnknownNameError` with the nearest name where there is none.
    """
    # A name from the wire may be of any length, and finding the nearest takes its square.
    return codecs.get(name[:MAX_NAME])


def decode(encoded: Encoded, max_bytes: int) -> Array:
    """Decode a batch by the codec it names; raises as `Codec.decode` and `codec_named` do."""
    return codec_named(encoded.codec).decode(encoded, max_bytes)
