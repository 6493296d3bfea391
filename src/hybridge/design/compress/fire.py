"""C3: a convolution as a Fire layer (model tree, table II; Iandola 2016).

Letters: ``B`` batch, ``C`` channels read and ``M`` channels given, ``H`` height, ``W`` width,
``S`` channels that are squeezed, ``P`` positions of a kernel.
"""

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybridge.design.compress.fitting import (
    fit_linear,
    padding_of,
    rows_of,
    set_weights,
    some_images,
)
from hybridge.design.compress.replacement import Replacement, narrow_reader
from hybridge.design.compress.separable import channel_axes, conv_misfit, share_of
from hybridge.design.compress.technique import MapShape, Technique, techniques

#: How far squeezed maps start above zero, in their standard deviations, where ReLU would clip.
_CENTRE = 2.0


@final
class Fire(Replacement):
    """A 1x1 convolution and ReLU, then a 1x1 and a 3x3 convolution side by side.

    Each of the two gives half of the channels. Stride and padding are in them.

    Args:
        layer: A convolution without groups, whose place this takes.
        squeezed: Channels after the first, ``S``.
    """

    def __init__(self, layer: nn.Conv2d, squeezed: int) -> None:
        super().__init__()
        wide = layer.out_channels // 2
        stride = cast(tuple[int, int], layer.stride)
        self.squeeze = nn.Conv2d(layer.in_channels, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, layer.out_channels - wide, 1, stride, _margin(layer, 1))
        self.expand3 = nn.Conv2d(squeezed, wide, 3, stride, _margin(layer, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, M, H, W)`` of maps ``(B, C, H, W)``."""
        squeezed = F.relu(self.squeeze(maps))
        return torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the channels ``kept``."""
        narrow_reader(self.squeeze, kept)


def _margin(layer: nn.Conv2d, kernel: int) -> tuple[int, int]:
    """Return the padding with which another kernel gives maps of the same size."""
    height, width = (
        pad - (size - kernel) // 2
        for pad, size in zip(padding_of(layer), layer.kernel_size, strict=True)
    )
    return height, width


@final
class C3(Technique):
    """A Fire layer, as in SqueezeNet.

    The first part turns the channels to the axes on which the kernel depends most; the parts side
    by side are fitted by least squares.
    """

    name = "C3"
    about = "a Fire layer in the place of a convolution"
    meaning = "squeezed channels, as a share of those read, at most 1"
    strengths = (0.25, 0.5)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        if reason := conv_misfit(layer):
            return reason
        assert isinstance(layer, nn.Conv2d)
        if any(size < 3 or size % 2 == 0 for size in layer.kernel_size):
            return f"its kernel is {layer.kernel_size}, expected odd sizes from 3 on"
        if layer.dilation != (1, 1):
            return f"its kernel is spread by {layer.dilation}"
        if layer.out_channels < 2:
            return "it gives one channel, which cannot be shared between two parts"
        if min(_margin(layer, 1)) < 0:
            return f"its padding {layer.padding} takes pixels away that a 1x1 kernel keeps"
        return None

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> Fire:
        assert isinstance(layer, nn.Conv2d)
        return Fire(layer, share_of(layer.in_channels, strength))

    def _start(self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor) -> Fire:
        assert isinstance(layer, nn.Conv2d)
        made = self._outline(layer, strength, reads)
        maps = some_images(inputs, reads[1] * reads[2])
        kernel, axes = channel_axes(layer, maps, made.squeeze.out_channels)
        (pixels,) = rows_of(maps)
        turned = pixels @ axes.T
        set_weights(made.squeeze, axes, _CENTRE * turned.std(0) - turned.mean(0))
        squeezed = F.relu(made.squeeze(maps))
        targets = layer(maps)
        wide = made.expand1.out_channels
        _fit(made.expand1, kernel[:wide], squeezed, targets[:, :wide], layer)
        _fit(made.expand3, kernel[wide:], squeezed, targets[:, wide:], layer)
        return made


def _fit(
    part: nn.Conv2d, kernel: Tensor, squeezed: Tensor, targets: Tensor, layer: nn.Conv2d
) -> None:
    """Fit a part ``(m, S, size, size)``, from the middle of the kernel ``(m, S, P)``."""
    size = part.kernel_size[0]
    start = kernel.reshape(*kernel.shape[:2], *layer.kernel_size)
    top, left = ((whole - size) // 2 for whole in layer.kernel_size)
    start = start[:, :, top : top + size, left : left + size].flatten(1)
    columns = F.unfold(squeezed, size, part.dilation, padding_of(part), part.stride)
    columns = columns.reshape(*columns.shape[:2], *targets.shape[2:])  # (B, S * size * size, H, W)
    features, goal = rows_of(columns, targets)
    set_weights(part, *fit_linear(features, goal, start))


techniques.add(C3.name, C3())
