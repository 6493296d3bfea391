"""MobileNetV3, small and large, with a width multiplier (Howard et al. 2019, tables 1 and 2).

A width multiplies the channels of every block, rounded to multiples of 8; middle channels follow
from what a block reads. As in the original, features after pooling never become fewer than at
width 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from torch import nn

from hybridge.design.nets.mobilenet import MobileNet, MobileNetOutline
from hybridge.design.nets.network import (
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Builder,
    network,
)
from hybridge.design.nets.parts import Activation, Block, round_channels
from hybridge.errors import ConfigError

_STEM = 16
_DROPOUT = 0.2


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks that give the same number of channels, at width 1.

    Attributes:
        channels: That each block gives.
        stride: Of the first block.
        kernel: Side of the depthwise kernels.
        middles: Middle channels of each block.
        act: Activation.
        squeeze: Whether blocks have squeeze and excitation.
    """

    channels: int
    stride: int
    kernel: int
    middles: tuple[int, ...]
    act: Activation
    squeeze: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """All that a width does not change.

    Attributes:
        stages: In order.
        final_channels: Of the 1x1 convolution before pooling, at width 1.
        last_channels: Features after pooling.
    """

    stages: tuple[Stage, ...]
    final_channels: int
    last_channels: int

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(len(stage.middles) for stage in self.stages)


SMALL = Layout(
    (
        Stage(16, 2, 3, (16,), "relu", squeeze=True),
        Stage(24, 2, 3, (72, 88), "relu", squeeze=False),
        Stage(40, 2, 5, (96, 240, 240), "h_swish", squeeze=True),
        Stage(48, 1, 5, (120, 144), "h_swish", squeeze=True),
        Stage(96, 2, 5, (288, 576, 576), "h_swish", squeeze=True),
    ),
    final_channels=576,
    last_channels=1024,
)
LARGE = Layout(
    (
        Stage(16, 1, 3, (16,), "relu", squeeze=False),
        Stage(24, 2, 3, (64, 72), "relu", squeeze=False),
        Stage(40, 2, 5, (72, 120, 120), "relu", squeeze=True),
        Stage(80, 2, 3, (240, 200, 184, 184), "h_swish", squeeze=False),
        Stage(112, 1, 3, (480, 672), "h_swish", squeeze=True),
        Stage(160, 2, 5, (672, 960, 960), "h_swish", squeeze=True),
    ),
    final_channels=960,
    last_channels=1280,
)


def outline_of(layout: Layout, width: float, norm_eps: float = 1e-5) -> MobileNetOutline:
    """Return the network of a layout at a width.

    Args:
        layout: `SMALL` or `LARGE`.
        width: What channels are multiplied by.
        norm_eps: What normalisation adds to variances.

    Raises:
        ConfigError: The width is not above 0.
    """
    if not isinstance(width, int | float) or not 0 < width < inf:
        raise ConfigError(f"expected a width above 0, got {width!r}")
    return MobileNetOutline(
        stem_channels=round_channels(_STEM * width),
        stem_stride=2,
        blocks=tuple(_blocks(layout, width)),
        final_channels=round_channels(layout.final_channels * width),
        last_channels=round_channels(layout.last_channels * max(1.0, width)),
        dropout=_DROPOUT,
        last_bias=True,
        norm_eps=norm_eps,
    )


def _blocks(layout: Layout, width: float) -> Iterator[Block]:
    usual = _STEM
    reads = round_channels(_STEM * width)
    for stage in layout.stages:
        gives = round_channels(stage.channels * width)
        for number, wide in enumerate(stage.middles):
            middle = round_channels(reads * wide / usual)
            squeeze = round_channels(middle / 4) if stage.squeeze else None
            stride = 1 if number else stage.stride
            yield Block(reads, middle, gives, stage.kernel, stride, stage.act, squeeze)
            usual, reads = stage.channels, gives


def _builder(layout: Layout, width: float) -> Builder:
    def builder(class_count: int, *, norm_eps: float = 1e-5, channels: int = 3) -> nn.Module:
        return MobileNet(class_count, outline_of(layout, width, norm_eps), channels)

    return builder


def _wide_builder(layout: Layout) -> Builder:
    def builder(
        class_count: int, *, width: float = 1.0, norm_eps: float = 1e-5, channels: int = 3
    ) -> nn.Module:
        return MobileNet(class_count, outline_of(layout, width, norm_eps), channels)

    return builder


def _register(name: str, builder: Builder, about: str) -> None:
    network(
        name,
        resolution=224,
        class_count=IMAGENET_CLASSES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        about=f"{about} (Howard et al. 2019)",
    )(builder)


for _size, _layout in (("small", SMALL), ("large", LARGE)):
    _register(
        f"mobilenetv3_{_size}",
        _wide_builder(_layout),
        f"MobileNetV3-{_size}, of any width",
    )
for _size, _layout, _width in (
    ("small", SMALL, 1.0),
    ("large", LARGE, 0.75),
    ("large", LARGE, 1.0),
):
    _register(
        f"mobilenetv3_{_size}_{round(100 * _width):03d}",
        _builder(_layout, _width),
        f"MobileNetV3-{_size}, width {_width:g}",
    )
