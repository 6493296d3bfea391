"""What crosses a program's border: typed tensors, and the geometry of images.

Letters: ``B`` batch, ``H`` height, ``W`` width, ``C`` channels.
"""

import math
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hybridge.errors import SignatureError

DType = Literal["uint8", "int8", "int32", "int64", "float16", "float32", "bool"]


class Frozen(BaseModel):
    """A value that is written down: immutable, and strict about its keys."""

    # Infinity as a string: JSON has no number for it.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class TensorSpec(Frozen):
    """One tensor of a program's signature.

    Attributes:
        name: Name of the tensor in the program.
        dtype: Element type, in NumPy's words.
        shape: Extent of each axis *after* the batch axis, which is always first and free.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]

    def check(self, array: np.ndarray[Any, Any]) -> None:
        """Raise `SignatureError` unless ``array`` is a ``(B, *shape)`` tensor of this dtype."""
        self.check_claim(array.dtype, array.shape)

    def check_claim(self, dtype: str | np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Raise `SignatureError` unless a tensor of this dtype and shape would be ``(B, *shape)``.

        Args:
            dtype: Element type of the tensor.
            shape: Its extents, the batch axis first.
        """
        if dtype != self.dtype or shape[1:] != self.shape or not shape:
            expected = ", ".join(map(str, ("B", *self.shape)))
            raise SignatureError(
                f"tensor {self.name!r}: expected {self.dtype} ({expected}), "
                f"got {dtype} {shape[:16]}"
            )

    @property
    def bytes_per_item(self) -> int:
        """Size of one item of a batch, in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Geometry(Frozen):
    """How an image becomes the ``(H, W, C)`` uint8 pixels that a program reads.

    `hybridge.codecs.pixels` alone applies it, in design, on the edge and in the cloud.

    Attributes:
        height: Rows, in pixels.
        width: Columns, in pixels.
        channels: 3 for RGB, 1 for grey.
        fit: ``stretch`` resizes both axes; ``crop`` resizes the shorter side to
            ``1 / crop_share`` of its target and cuts out the centre.
        crop_share: Share of the resized shorter side that is kept by ``crop``.
    """

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3] = 3
    fit: Literal["stretch", "crop"] = "stretch"
    crop_share: float = Field(default=1.0, gt=0, le=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, C)`` of the pixels."""
        return self.height, self.width, self.channels
