"""Residual networks for 32x32 images, as in He et al. 2016, section 4.2.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from hybridge.design.nets.network import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Builder,
    Classifier,
    network,
)

DEPTHS = (8, 14, 20, 32, 44, 56, 110)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (out_channels - in_channels) // 2
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` feature maps."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(images)))))
        return F.relu(residual + self.shortcut(images))

    def shortcut(self, images: Tensor) -> Tensor:
        """Take every ``stride``-th pixel, and pad the channels with zeros on either side."""
        if self.stride == 1:
            return images
        thinned = images[:, :, :: self.stride, :: self.stride]
        return F.pad(thinned, (0, 0, 0, 0, self.padding, self.padding))


class CifarResNet(Classifier):
    """A stem, three stages of residual blocks, and one linear layer.

    Args:
        class_count: ``K``.
        blocks: Residual blocks in each stage; the depth is ``6 * blocks + 2``.
        width: Channels of the first stage; the next two have twice and four times as many.
        stem_stride: Stride of the first convolution; 2 quarters the cost.
        channels: Channels of the image.
    """

    def __init__(
        self, class_count: int, blocks: int, width: int, stem_stride: int, channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(blocks, width, width, 1)
        self.layer2 = _stage(blocks, width, 2 * width, 2)
        self.layer3 = _stage(blocks, 2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, class_count)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @property
    def head(self) -> nn.Module:
        """The linear layer, under the name that published weights give it."""
        return self.linear

    def embed(self, images: Tensor) -> Tensor:
        """Return the pooled features ``(B, F)`` of float images ``(B, C, H, W)``."""
        maps = F.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return cast(Tensor, maps.mean(dim=(2, 3)))


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride)
    rest = (ResidualBlock(out_channels, out_channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _builder(depth: int) -> Builder:
    def builder(
        class_count: int, *, width: int = 16, stem_stride: int = 1, channels: int = 3
    ) -> nn.Module:
        return CifarResNet(class_count, (depth - 2) // 6, width, stem_stride, channels)

    return builder


for _depth in DEPTHS:
    network(
        f"cifar_resnet{_depth}",
        resolution=32,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        about=f"ResNet-{_depth} for 32x32 images (He et al. 2016)",
    )(_builder(_depth))
