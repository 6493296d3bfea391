"""Codecs: how a value becomes bytes for the link, and comes back.

A codec's sizes are the sizes that cross: everything that prices a link uses them.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

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


class Codec(Protocol):
    """Turns a batch ``(B, ...)`` into bytes and back.

    Attributes:
        name: Name in the registry, settings included, such as ``jpeg-90``.
        lossless: Whether decoding gives back exactly what was encoded.
    """

    name: str
    lossless: bool

    def encode(self, array: Array) -> Encoded:
        """Encode a batch; raises `SignatureError` where the codec does not fit it."""
        ...

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Decode a batch.

        Raises `DataError` for a payload that is corrupt, not of the shape it claims, or would
        decode to more than ``max_bytes``.
        """
        ...


codecs: Registry[Codec] = Registry("codec")
"""Every codec, by name."""
