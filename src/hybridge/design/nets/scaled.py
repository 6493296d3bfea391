"""Images scaled down as the first layer of a network, so that its input stays as it is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridge.errors import ConfigError


class ScaledDown(nn.Module):
    """Scales square images down, each pixel a mean of those it stands for.

    The same as bilinear interpolation with antialiasing, written as sums of rows and columns:
    every runtime has these, and few have that. As part of preparing an image, it counts no
    multiply-accumulates. Letters: ``B`` batch, ``C`` channels.

    Args:
        given: Height and width of what it reads, in pixels.
        wanted: Height and width of what it gives, at most ``given``.

    Raises:
        ConfigError: ``wanted`` is not between 1 and ``given``.
    """

    def __init__(self, given: int, wanted: int) -> None:
        super().__init__()
        if not 1 <= wanted <= given:
            raise ConfigError(
                f"expected a resolution from 1 to {given}, that of the images, got {wanted}"
            )
        self.given, self.wanted = given, wanted
        device = torch.get_default_device()
        indices, weights = (each.to(device) for each in _taps(given, wanted))
        self.register_buffer("indices", indices, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    indices: Tensor
    weights: Tensor

    def extra_repr(self) -> str:
        """Say what it is made for: it has no weights that would tell."""
        return f"{self.given}, {self.wanted}"

    def forward(self, images: Tensor) -> Tensor:
        """Return float images ``(B, C, given, given)`` as ``(B, C, wanted, wanted)``."""
        return self._along(self._along(images, 2), 3)

    def _along(self, images: Tensor, axis: int) -> Tensor:
        shape = [-1 if each == axis else 1 for each in range(4)]
        taps = [
            images.index_select(axis, self.indices[tap]) * self.weights[tap].view(shape)
            for tap in range(self.indices.shape[0])
        ]
        total = taps[0]
        for tap in taps[1:]:
            total = total + tap
        return total


def _taps(given: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Return which pixels each one is a mean of, and their weights: ``(taps, wanted)`` both."""
    with torch.device("cpu"):
        rows = F.interpolate(
            torch.eye(given, dtype=torch.float64)[None, None],
            (wanted, given),
            mode="bilinear",
            antialias=True,
        )[0, 0]
    count = int((rows > 0).sum(1).max())
    weights, indices = rows.topk(count, dim=1)
    return indices.T.contiguous(), weights.T.contiguous().float()
