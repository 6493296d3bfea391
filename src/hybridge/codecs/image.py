"""Image codecs: JPEG and WebP over uint8 pixels ``(B, H, W, 1 or 3)``.

One channel is sent as a grey JPEG; WebP has no grey, so there it is sent as three equal ones.
"""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from hybridge.codecs.codec import Array, Encoded, codecs
from hybridge.codecs.pixels import MODES
from hybridge.errors import DataError, SignatureError

#: How a scan of a JPEG begins, and more of them than any encoder makes: each costs the decoder
#: as much as an image, and takes a few bytes.
_SCAN, MAX_SCANS = b"\xff\xda", 32


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """One image format with its settings.

    Attributes:
        name: Name in the registry.
        format: Pillow's name of the format.
        options: What Pillow's encoder is told.
        lossless: Whether pixels come back exactly.
    """

    name: str
    format: Literal["JPEG", "WEBP"]
    options: dict[str, Any]
    lossless: bool = False

    def encode(self, array: Array) -> Encoded:
        """Encode ``(B, H, W, C)`` uint8 pixels.

        Raises `SignatureError` for anything else, and for images beyond the format's size.
        """
        if (
            array.dtype != np.uint8
            or array.ndim != 4
            or array.shape[3] not in MODES
            or 0 in array.shape[1:]
        ):
            raise SignatureError(
                f"codec {self.name!r} takes uint8 pixels (B, H, W, 1 or 3), "
                f"got {array.dtype} {array.shape}; use 'raw' or a tensor codec for other values"
            )
        payload = tuple(self._encode_item(pixels) for pixels in array)
        return Encoded(self.name, payload, "uint8", array.shape[1:])

    def _encode_item(self, pixels: Array) -> bytes:
        grey = pixels.shape[2] == 1
        file = io.BytesIO()
        try:
            image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
            if grey and self.format == "WEBP":
                image = image.convert("RGB")
            image.save(file, self.format, **self.options)
        except (OSError, ValueError) as error:
            raise SignatureError(
                f"codec {self.name!r} cannot hold an image of {pixels.shape[1]} x "
                f"{pixels.shape[0]} pixels; use 'raw'"
            ) from error
        return file.getvalue()

    def decode(self, encoded: Encoded, max_bytes: int) -> Array:
        """Return ``(B, H, W, C)`` uint8 pixels; raises `DataError` as `Codec.decode` does."""
        shape = encoded.shape
        if encoded.dtype != "uint8" or len(shape) != 3 or shape[2] not in MODES:
            raise DataError(
                f"codec {self.name!r} carries uint8 pixels (H, W, 1 or 3), but the payload stands "
                f"for {encoded.dtype} {shape}; encode it with 'raw' or a tensor codec"
            )
        encoded.check_decoded_size(max_bytes)
        decoded = np.empty((len(encoded.payload), *shape), np.uint8)
        for pixels, payload in zip(decoded, encoded.payload, strict=True):
            pixels[:] = self._decode_item(payload, shape)
        return decoded

    def _decode_item(self, payload: bytes, shape: tuple[int, ...]) -> Array:
        if self.format == "JPEG" and payload.count(_SCAN) > MAX_SCANS:
            raise DataError(
                f"expected a JPEG of at most {MAX_SCANS} scans, got {payload.count(_SCAN)}; "
                "encode it again"
            )
        # The decoder's own words are left out of messages: they can tell about the host.
        try:
            image = Image.open(io.BytesIO(payload), formats=[self.format])
            size = image.size
            # The header's size is checked before anything of that size is allocated.
            if size == (shape[1], shape[0]):
                pixels = np.asarray(image.convert(MODES[shape[2]]))
                return pixels.reshape(shape)
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
            raise DataError(
                f"expected a {self.format} image, got {len(payload)} bytes that are none, "
                "or a damaged one; send it again"
            ) from error
        raise DataError(
            f"expected an image of {shape[1]} x {shape[0]} pixels, got {size[0]} x {size[1]}; "
            "fit it to the program's geometry first"
        )


for _quality in (70, 80, 90, 95):
    codecs.add(f"jpeg-{_quality}", ImageCodec(f"jpeg-{_quality}", "JPEG", {"quality": _quality}))
for _quality in (80, 90):
    codecs.add(f"webp-{_quality}", ImageCodec(f"webp-{_quality}", "WEBP", {"quality": _quality}))
codecs.add("webp", ImageCodec("webp", "WEBP", {"lossless": True}, lossless=True))
