"""VGG networks: a chain of 3x3 convolutions and pools, then linear layers (Simonyan 2015).

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from hybridge.design.nets.network import (
    CIFAR_MEAN,
    CIFAR_STD,
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Classifier,
    network,
)

#: Channels of a convolution, or where a max-pool halves the maps.
Stage = int | Literal["M"]
_VGG11: tuple[Stage, ...] = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512)
_VGG19: tuple[Stage, ...] = (
    *(64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M"),
    *(512, 512, 512, 512, "M", 512, 512, 512, 512, "M"),
)


class CifarVGG(Classifier):
    """Convolutions with normalisation, the maximum of each map, and one linear layer.

    Args:
        class_count: ``K``.
        stages: Convolutions and pools, in order.
        channels: Channels of the image.
        averaged: Side of the squares of pixels that are averaged before all else.
    """

    def __init__(
        self,
        class_count: int,
        stages: Sequence[Stage],
        channels: int,
        averaged: int = 1,
    ) -> None:
        super().__init__()
        self.average = nn.AvgPool2d(averaged) if averaged > 1 else None
        self.features = _features(stages, channels, normalised=True)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.classifier = nn.Linear(512, class_count)

    @property
    def head(self) -> nn.Module:
        """The linear layer, under the name that published weights give it."""
        return self.classifier

    def embed(self, images: Tensor) -> Tensor:
        """Return the pooled features ``(B, F)`` of float images ``(B, C, H, W)``."""
        if self.average is not None:
            images = self.average(images)
        return cast(Tensor, self.pool(self.features(images)).flatten(1))


class ImageNetVGG(Classifier):
    """Convolutions without normalisation, 7x7 pooled maps, and three linear layers.

    Args:
        class_count: ``K``.
        stages: Convolutions and pools, in order.
        channels: Channels of the image.
    """

    def __init__(self, class_count: int, stages: Sequence[Stage], channels: int) -> None:
        super().__init__()
        self.features = _features(stages, channels, normalised=False)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
            nn.Linear(4096, class_count),
        )

    @property
    def head(self) -> nn.Module:
        """The last linear layer."""
        return self.classifier[-1]

    def embed(self, images: Tensor) -> Tensor:
        """Return what the last linear layer reads, ``(B, F)``, of images ``(B, C, H, W)``."""
        features: Tensor = self.avgpool(self.features(images)).flatten(1)
        for layer in list(self.classifier)[:-1]:
            features = layer(features)
        return features


def _features(stages: Sequence[Stage], channels: int, *, normalised: bool) -> nn.Sequential:
    stack: list[nn.Module] = []
    for stage in stages:
        if stage == "M":
            stack.append(nn.MaxPool2d(2))
            continue
        convolution = nn.Conv2d(channels, stage, 3, padding=1, bias=not normalised)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        stack += [convolution, *([nn.BatchNorm2d(stage)] if normalised else []), nn.ReLU()]
        channels = stage
    return nn.Sequential(*stack)


@network(
    "vgg11_cifar",
    resolution=32,
    mean=CIFAR_MEAN,
    std=CIFAR_STD,
    about="VGG-11 for 32x32 images, with batch normalisation",
)
def vgg11_cifar(class_count: int, *, averaged: int = 1, channels: int = 3) -> nn.Module:
    """Build the chain of eight convolutions and one linear layer.

    Images that are ``averaged`` times as high and wide as 32 pixels are averaged down to them
    first: a network for larger images that costs no more.
    """
    return CifarVGG(class_count, _VGG11, channels, averaged)


@network(
    "vgg19",
    resolution=224,
    class_count=IMAGENET_CLASSES,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    about="VGG-19 without normalisation (Simonyan 2015)",
)
def vgg19(class_count: int, *, channels: int = 3) -> nn.Module:
    """Build the chain of sixteen convolutions and three linear layers."""
    return ImageNetVGG(class_count, _VGG19, channels)
