"""Parts of mobile networks: squeeze and excitation, and inverted residuals.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

Activation = Literal["relu", "relu6", "h_swish"]
_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "h_swish": nn.Hardswish}


def activation(kind: Activation) -> nn.Module:
    """Return a new activation, which works in place."""
    return _ACTIVATIONS[kind](inplace=True)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Return the multiple of ``divisor`` nearest to ``channels``, at least 90 % of it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def convolution(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    act: Activation | None = None,
) -> nn.Sequential:
    """Return a convolution that pads to keep its size, normalised and perhaps activated."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        bn=nn.BatchNorm2d(out_channels),
    )
    if act is not None:
        layers["act"] = activation(act)
    return nn.Sequential(layers)


class SqueezeExcite(nn.Module):
    """Scales every channel by a number in 0..1 that all channels' means decide (Hu et al. 2018).

    Args:
        channels: ``C``.
        squeezed: Channels in between; a quarter where left out.
    """

    def __init__(self, channels: int, squeezed: int | None = None) -> None:
        super().__init__()
        middle = squeezed or round_channels(channels / 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, middle, 1)
        self.relu = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(middle, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, C, H, W)``, scaled."""
        scale: Tensor = self.gate(self.expand(self.relu(self.reduce(self.pool(maps)))))
        return maps * scale


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual, before it is built.

    Attributes:
        in_channels: Channels it reads.
        middle: Channels of its depthwise convolution; as many as it reads: nothing is expanded.
        out_channels: Channels it gives.
        kernel: Side of its depthwise kernel.
        stride: Of the depthwise convolution.
        act: Activation after expansion and depthwise convolution.
        squeeze: Channels of its squeeze and excitation; None has none.
        skips: Whether what it reads is added to what it gives, where shapes allow.
    """

    in_channels: int
    middle: int
    out_channels: int
    kernel: int
    stride: int = 1
    act: Activation = "relu"
    squeeze: int | None = None
    skips: bool = True

    @property
    def residual(self) -> bool:
        """Whether what it reads is added to what it gives."""
        return self.skips and self.stride == 1 and self.in_channels == self.out_channels


class MBConv(nn.Module):
    """Expands channels, convolves each alone, scales them, and projects (Howard et al. 2019).

    Args:
        block: What to build.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.residual = block.residual
        self._could_be_residual = replace(block, skips=True).residual
        self.expand: nn.Module | None = None
        if block.middle != block.in_channels:
            self.expand = convolution(block.in_channels, block.middle, act=block.act)
        self.depthwise = convolution(
            block.middle,
            block.middle,
            block.kernel,
            stride=block.stride,
            groups=block.middle,
            act=block.act,
        )
        self.squeeze: nn.Module | None = None
        if block.squeeze is not None:
            self.squeeze = SqueezeExcite(block.middle, block.squeeze)
        self.project = convolution(block.middle, block.out_channels)

    def extra_repr(self) -> str:
        """Say what weights do not: that a block adds nothing whose shapes would allow it."""
        return "" if self.residual == self._could_be_residual else f"residual={self.residual}"

    def forward(self, maps: Tensor) -> Tensor:
        """Return feature maps ``(B, C', H', W')`` of ``(B, C, H, W)``."""
        middle = maps if self.expand is None else self.expand(maps)
        middle = self.depthwise(middle)
        if self.squeeze is not None:
            middle = self.squeeze(middle)
        projected: Tensor = self.project(middle)
        return maps + projected if self.residual else projected
