"""The last inputs as small PNG files, for people who watch."""

import io
import logging
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybridge.errors import ConfigError
from hybridge.files import write_atomically

_logger = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{8})\.png")


class PictureRing:
    """Keeps so many pictures in a folder, the newest; safe to use from several threads.

    Each has a name of its own, which never comes back. A folder that cannot be written never costs
    an answer.

    Args:
        folder: Where to; made where it is missing. Pictures of earlier runs count, too.
        keep: How many.
        longest_side: What larger pictures are scaled down to, in pixels.

    Raises:
        ConfigError: ``keep`` or ``longest_side`` is less than one.
    """

    def __init__(self, folder: str | Path, keep: int = 48, longest_side: int = 96) -> None:
        if keep < 1 or longest_side < 1:
            raise ConfigError(
                f"expected to keep 1 or more pictures of 1 or more pixels, got {keep} of "
                f"{longest_side}"
            )
        self.folder = Path(folder)
        self.keep = keep
        self._size = (longest_side, longest_side)
        self._lock = threading.Lock()
        self._warned = False
        self._numbers = self._there()
        self._next = max(self._numbers, default=-1) + 1

    def _there(self) -> list[int]:
        try:
            found = [_NAME.fullmatch(path.name) for path in self.folder.iterdir()]
        except OSError:
            return []
        return sorted(int(match[1]) for match in found if match is not None)

    def add(self, pixels: np.ndarray[Any, Any]) -> str | None:
        """Keep ``pixels`` ``(H, W, 1 or 3)`` uint8; return the file's name, or None where it fails.

        Warns once, through `logging`, where the folder cannot be written.
        """
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        image.thumbnail(self._size)
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._numbers.append(number)
            gone, self._numbers = self._numbers[: -self.keep], self._numbers[-self.keep :]
        path = self._path(number)
        try:
            write_atomically(path, _png(image))
            for old in gone:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            if not self._warned:
                _logger.warning("picture %s cannot be kept: %s", path, error)
            self._warned = True
            return None
        return path.name

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.png"


def _png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    # Little squeezing: it is soon replaced.
    image.save(target, "PNG", compress_level=1)
    return target.getvalue()
