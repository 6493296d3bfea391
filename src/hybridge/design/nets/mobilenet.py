"""Mobile networks of inverted residuals, and the elastic families they are drawn from.

A `Family` gives the channels, strides and activations (Cai et al. 2020); an `Architecture` the
kernels, expansions and depths. Together they are a `MobileNetOutline`, which `MobileNet` builds.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from hybridge.design.nets.architecture import Architecture, Space
from hybridge.design.nets.network import Classifier
from hybridge.design.nets.parts import (
    Activation,
    Block,
    MBConv,
    activation,
    convolution,
    round_channels,
)
from hybridge.design.nets.scaled import ScaledDown


@dataclass(frozen=True, slots=True)
class MobileNetOutline:
    """A network of inverted residuals, before it is built.

    Attributes:
        stem_channels: Of the first convolution, 3x3.
        stem_stride: Of the first convolution.
        blocks: Inverted residuals, in order.
        final_channels: Of the 1x1 convolution before pooling; None has none.
        last_channels: Features after pooling; None leaves the pooled channels.
        act: Activation of stem and head.
        dropout: Share of features that training leaves out.
        last_bias: Whether the layer that gives `last_channels` adds a bias.
        norm_eps: What normalisation adds to variances.
    """

    stem_channels: int
    stem_stride: int
    blocks: tuple[Block, ...]
    final_channels: int | None
    last_channels: int | None
    act: Activation = "h_swish"
    dropout: float = 0.0
    last_bias: bool = False
    norm_eps: float = 1e-5


class MobileNet(Classifier):
    """A stem, inverted residuals, and a head of one or two layers.

    Args:
        class_count: ``K``.
        outline: What to build.
        channels: Channels of the image.
        blocks: Inverted residuals instead of the outline's, which give as many channels.
        scaled: Scales images down before all else.
    """

    def __init__(
        self,
        class_count: int,
        outline: MobileNetOutline,
        channels: int = 3,
        *,
        blocks: nn.Sequential | None = None,
        scaled: ScaledDown | None = None,
    ) -> None:
        super().__init__()
        self.scaled: nn.Module = scaled or nn.Identity()
        stem, act = outline.stem_channels, outline.act
        self.stem = convolution(channels, stem, 3, stride=outline.stem_stride, act=act)
        if blocks is None:
            blocks = nn.Sequential(*(MBConv(block) for block in outline.blocks))
        self.blocks = blocks
        features = outline.blocks[-1].out_channels
        self.final: nn.Module = nn.Identity()
        if outline.final_channels is not None:
            self.final = convolution(features, outline.final_channels, act=act)
            features = outline.final_channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last: nn.Module = nn.Identity()
        if outline.last_channels is not None:
            self.last = nn.Sequential(
                nn.Conv2d(features, outline.last_channels, 1, bias=outline.last_bias),
                activation(act),
            )
            features = outline.last_channels
        self.dropout = nn.Dropout(outline.dropout)
        self.classifier = nn.Linear(features, class_count)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = outline.norm_eps
        initialise(self)

    @property
    def head(self) -> nn.Module:
        """The linear layer."""
        return self.classifier

    def embed(self, images: Tensor) -> Tensor:
        """Return what the linear layer reads, ``(B, F)``, of float images ``(B, C, H, W)``."""
        maps = self.final(self.blocks(self.stem(self.scaled(images))))
        return cast(Tensor, self.dropout(self.last(self.pool(maps)).flatten(1)))


def initialise(network: nn.Module) -> None:
    """Draw weights as He et al. 2015 do, by what each convolution gives; not on the meta device."""
    if next(network.parameters()).is_meta:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


@dataclass(frozen=True, slots=True)
class StageShape:
    """What the blocks of a stage share, whatever the architecture.

    Attributes:
        channels: That each block gives.
        stride: Of the first block; the others have 1.
        act: Activation.
        squeeze: Whether blocks have squeeze and excitation.
    """

    channels: int
    stride: int
    act: Activation
    squeeze: bool


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that share weights: all that an architecture does not choose.

    Attributes:
        stem_channels: Of the first convolution, 3x3.
        stem_stride: Of the first convolution.
        first: The block before the stages, the same in all.
        stages: Shapes of the stages.
        final_channels: Of the 1x1 convolution before pooling.
        last_channels: Features after pooling.
        space: Architectures.
        resolutions: Heights and widths, in pixels, that its networks may be used at.
    """

    stem_channels: int
    stem_stride: int
    first: Block
    stages: tuple[StageShape, ...]
    final_channels: int
    last_channels: int
    space: Space
    resolutions: tuple[int, ...]

    def outline(self, architecture: Architecture) -> MobileNetOutline:
        """Return the network of an architecture.

        Raises:
            ConfigError: The architecture is not of this family's space.
        """
        self.space.check(architecture)
        blocks = [self.first]
        for stage in range(len(self.stages)):
            blocks += self.stage_blocks(stage, architecture)
        return MobileNetOutline(
            self.stem_channels,
            self.stem_stride,
            tuple(blocks),
            self.final_channels,
            self.last_channels,
        )

    def stage_blocks(self, stage: int, architecture: Architecture) -> tuple[Block, ...]:
        """Return the blocks that an architecture has in a stage."""
        shape = self.stages[stage]
        before = self.stages[stage - 1].channels if stage else self.first.out_channels
        made = []
        for number, (kernel, expansion) in enumerate(architecture.blocks(stage)):
            reads = shape.channels if number else before
            middle = round_channels(reads * expansion)
            made.append(
                Block(
                    reads,
                    middle,
                    shape.channels,
                    kernel,
                    1 if number else shape.stride,
                    shape.act,
                    round_channels(middle / 4) if shape.squeeze else None,
                )
            )
        return tuple(made)
