"""Image → the pixels a program reads: the only place where a `Geometry` is applied.

Letters: ``H`` height, ``W`` width, ``C`` channels.
"""

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from hybridge.errors import DataError, SignatureError
from hybridge.plan.tensors import Geometry

#: Images with more pixels than this are refused: a small file can claim an enormous image.
MAX_PIXELS = 64_000_000

_MODES = {1: "L", 3: "RGB"}


def to_pixels(
    image: bytes | Image.Image | np.ndarray[Any, Any], geometry: Geometry
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return ``image`` as the pixels that a program of this ``geometry`` reads.

    Args:
        image: An encoded file, an opened image, or uint8 pixels ``(H', W')`` or
            ``(H', W', 1 or 3)``. Pixels of the right shape are returned untouched.
        geometry: Size, channels and how to fit.

    Returns:
        ``(H, W, C)`` uint8 pixels.

    Raises:
        DataError: The bytes are no image, or one of more than `MAX_PIXELS` pixels or of
            more than 8 bits per channel.
        SignatureError: The array is not uint8, or not of an image's shape.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.shape == geometry.shape:
            return image
        image = _from_array(image)
    elif isinstance(image, bytes):
        image = _from_bytes(image)
    fitted = _fit(_convert(image, geometry.channels), geometry)
    return np.asarray(fitted, dtype=np.uint8).reshape(geometry.shape)


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    """Wrap uint8 pixels; raises `SignatureError` where they are no image's."""
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    shaped = grey.ndim == 2 or (grey.ndim == 3 and grey.shape[2] == 3)
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise SignatureError(
            "expected uint8 pixels (H, W), (H, W, 1) or (H, W, 3), "
            f"got {array.dtype} {array.shape}; scale and transpose them first"
        )
    return Image.fromarray(np.ascontiguousarray(grey))


def _from_bytes(data: bytes) -> Image.Image:
    """Decode a file; raises `DataError` for what is no image, or too large a one."""
    try:
        image = Image.open(io.BytesIO(data))
        _check_size(image)
        image.load()
    except DataError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise DataError(
            f"expected an encoded image such as PNG, JPEG or WebP, got {len(data)} bytes "
            f"that cannot be decoded: {error}"
        ) from error
    return image


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"expected an image of at most {MAX_PIXELS:,} pixels, "
            f"got {image.width} x {image.height}; scale it down first"
        )


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """Convert to grey or RGB; raises `DataError` for deep modes, which would be clipped."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"expected 8 bits per channel, got mode {image.mode!r}; convert it first")
    mode = _MODES[channels]
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image.Image, geometry: Geometry) -> Image.Image:
    """Bring an image to the geometry's height and width."""
    target = geometry.width, geometry.height
    if image.size == target and geometry.crop_share == 1:
        return image
    if geometry.fit == "stretch":
        return image.resize(target, Image.Resampling.BILINEAR)
    scale = max(geometry.width / image.width, geometry.height / image.height) / geometry.crop_share
    # Rounding up before the product is exact would make a side a pixel too long.
    width = max(geometry.width, math.floor(image.width * scale + 0.5))
    height = max(geometry.height, math.floor(image.height * scale + 0.5))
    left, top = (width - geometry.width) // 2, (height - geometry.height) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + geometry.width, top + geometry.height))
