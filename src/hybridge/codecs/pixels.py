"""Image → the pixels a program reads: the only place where a `Geometry` is applied.

Letters: ``H`` height, ``W`` width, ``C`` channels.
"""

import io
import math
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybridge.errors import DataError, SignatureError
from hybridge.plan.tensors import Geometry

#: Images with more pixels than this are refused: a small file can claim an enormous image.
MAX_PIXELS = 64_000_000

#: Pillow's mode for a number of channels.
MODES = {1: "L", 3: "RGB"}

#: Raster formats only: some of the others run an interpreter. The commonest come first.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
_filtering = threading.Lock()


Picture = bytes | bytearray | memoryview | Image.Image | np.ndarray[Any, Any]
"""An encoded image, an opened one, or pixels."""


def to_pixels(image: Picture, geometry: Geometry) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return ``image`` as the pixels that a program of this ``geometry`` reads.

    Args:
        image: An encoded file, an opened image, or uint8 pixels ``(H', W')`` or
            ``(H', W', 1 or 3)``. Pixels of the right shape are returned untouched.
        geometry: Size, channels and how to fit.

    Returns:
        ``(H, W, C)`` uint8 pixels.

    Raises:
        DataError: The bytes are no image, or one of more than `MAX_PIXELS` pixels (before or
            after it is scaled) or of more than 8 bits per channel.
        SignatureError: It is nothing of that, or the array is not uint8 or of no image's shape.
    """
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == geometry.shape:
        return image
    opened = _opened(image)
    _check_size(opened.width, opened.height)
    fitted = _fit(_converted(opened, geometry.channels), geometry)
    return np.asarray(fitted, dtype=np.uint8).reshape(geometry.shape)


def open_image(file: bytes | bytearray | memoryview | Path) -> Image.Image:
    """Return an image whose header has been read, and whose pixels have not.

    Args:
        file: The content of an encoded file, or the file's path.

    Raises `DataError` where it is no image of a raster format, `OSError` where it cannot be read.
    """
    source = file if isinstance(file, Path) else io.BytesIO(file)
    try:
        # Pillow would warn of sizes that are refused by us; filters are the whole process's.
        with _filtering, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(source, formats=_FORMATS)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        what = f"{file}, which" if isinstance(file, Path) else f"{len(file)} bytes that"
        raise DataError(
            f"expected an encoded image such as PNG, JPEG or WebP, got {what} cannot be decoded"
        ) from error


def _opened(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return open_image(image)
    raise SignatureError(
        "expected an encoded image as bytes, an opened one, or uint8 pixels, "
        f"got {type(image).__name__}; read the file first"
    )


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


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"expected an image of at most {MAX_PIXELS:,} pixels, got {width} x {height}; "
            "scale it down first"
        )


def _converted(image: Image.Image, channels: int) -> Image.Image:
    """Decode, as grey or RGB; raises `DataError` for damage and for deep modes, being clipped."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"expected 8 bits per channel, got mode {image.mode!r}; convert it first")
    mode = MODES[channels]
    try:
        image.load()
        return image if image.mode == mode else image.convert(mode)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise DataError(
            f"expected an encoded image such as PNG, JPEG or WebP, got one of {image.width} x "
            f"{image.height} pixels that cannot be decoded: {error}"
        ) from error


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
    if width * height > MAX_PIXELS:
        raise DataError(
            f"an image of {image.width} x {image.height} would be scaled to {width} x {height} "
            f"before it is cropped, and at most {MAX_PIXELS:,} pixels are; crop it first"
        )
    left, top = (width - geometry.width) // 2, (height - geometry.height) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + geometry.width, top + geometry.height))
