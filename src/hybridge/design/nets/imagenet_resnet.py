"""Residual networks for ImageNet, as in He et al. 2016, section 4.1, with later strides.

The stride of a block is in its 3x3 convolution rather than in its first, which is known as version
1.5; parameters have the names that public checkpoints of it use.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from hybridge.design.nets.network import (
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Builder,
    Classifier,
    network,
)

#: Blocks in each of the four stages, by depth.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, and a shortcut that is projected where shapes change.

    Args:
        in_channels: Channels of its input.
        width: Channels of the 3x3 convolution; its output has four times as many.
        stride: Of the 3x3 convolution and of the projection.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = _EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` feature maps."""
        residual = F.relu(self.bn1(self.conv1(maps)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return F.relu(residual + shortcut)


class ImageNetResNet(Classifier):
    """A 7x7 stem, four stages of bottleneck blocks, and one linear layer.

    Args:
        class_count: ``K``.
        blocks: Blocks in each stage.
        channels: Channels of the image.
    """

    def __init__(self, class_count: int, blocks: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(blocks[0], 64, 64, 1)
        self.layer2 = _stage(blocks[1], 256, 128, 2)
        self.layer3 = _stage(blocks[2], 512, 256, 2)
        self.layer4 = _stage(blocks[3], 1024, 512, 2)
        self.fc = nn.Linear(2048, class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def head(self) -> nn.Module:
        """The linear layer, under the name that published weights give it."""
        return self.fc

    def embed(self, images: Tensor) -> Tensor:
        """Return the pooled features ``(B, F)`` of float images ``(B, C, H, W)``."""
        maps = self.maxpool(F.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return cast(Tensor, maps.mean(dim=(2, 3)))


def _stage(blocks: int, in_channels: int, width: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride)
    rest = (Bottleneck(_EXPANSION * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _builder(depth: int) -> Builder:
    def builder(class_count: int, *, channels: int = 3) -> nn.Module:
        return ImageNetResNet(class_count, DEPTHS[depth], channels)

    return builder


for _depth in DEPTHS:
    network(
        f"resnet{_depth}",
        resolution=224,
        class_count=IMAGENET_CLASSES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        about=f"ResNet-{_depth} for ImageNet (He et al. 2016, version 1.5)",
    )(_builder(_depth))
