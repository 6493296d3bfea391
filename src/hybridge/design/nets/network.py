"""Networks by name, and the layer that lets one read pixels.

Letters: ``B`` batch, ``H`` height, ``W`` width, ``C`` channels, ``K`` classes, ``F`` features.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from hybridge.design.nets.foreign import foreign_builder
from hybridge.errors import ConfigError, did_you_mean
from hybridge.plan.tensors import Geometry
from hybridge.registry import Registry

Builder = Callable[..., nn.Module]

#: Per channel, of the training images scaled to 0..1.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_CLASSES = 1000


class Classifier(nn.Module):
    """A network in two parts: `embed` makes the features, `head` turns them into logits."""

    @property
    def head(self) -> nn.Module:
        """The last layer: features ``(B, F)`` to logits ``(B, K)``."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Return the penultimate features ``(B, F)`` of float images ``(B, C, H, W)``."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of float images ``(B, C, H, W)``."""
        return cast(Tensor, self.head(self.embed(images)))


@dataclass(frozen=True)
class NetworkInfo:
    """What is known of a network before it is built.

    Attributes:
        builder: From ``class_count`` and options to a module from images to logits.
        resolution: Height and width of its images, in pixels.
        channels: 3 for RGB, 1 for grey.
        class_count: Classes that it is usually built for, and counted with.
        mean: Per channel, of pixels scaled to 0..1; what its weights expect.
        std: The same for the standard deviation.
        about: One line, with the source.
    """

    builder: Builder
    resolution: int
    channels: int
    class_count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    about: str

    @property
    def geometry(self) -> Geometry:
        """Geometry of the pixels it reads."""
        return Geometry(
            height=self.resolution,
            width=self.resolution,
            channels=1 if self.channels == 1 else 3,
        )


networks: Registry[NetworkInfo] = Registry("network")


def network(
    name: str,
    *,
    resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
    about: str,
    class_count: int = 10,
) -> Callable[[Builder], Builder]:
    """Register the decorated builder, ``(class_count, **options) -> nn.Module``, as ``name``.

    The other arguments are those of `NetworkInfo`.

    Raises:
        ValueError: The name is taken.
    """

    def register(builder: Builder) -> Builder:
        channels, statistics = len(mean), (tuple(mean), tuple(std))
        networks.add(
            name, NetworkInfo(builder, resolution, channels, class_count, *statistics, about)
        )
        return builder

    return register


def build(name: str, class_count: int, **options: Any) -> nn.Module:
    """Return a new network from float images ``(B, C, H, W)`` to logits ``(B, K)``.

    Args:
        name: A registered name, ``package.module:function`` or ``timm:NAME``.
        class_count: ``K``.
        options: Whatever else the builder takes, such as ``width``.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: The network does not take one of the options.
    """
    builder = foreign_builder(name) if ":" in name else networks.get(name).builder
    _check_options(name, builder, options)
    return builder(class_count, **options)


def _check_options(name: str, builder: Builder, options: dict[str, Any]) -> None:
    parameters = list(inspect.signature(builder).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known) or f"; it takes: {', '.join(known) or 'none'}"
            raise ConfigError(f"network {name!r} has no option {option!r}{hint}")


class PixelNetwork(nn.Module):
    """A network that reads uint8 pixels: normalisation is its first layer.

    Args:
        network: From float images ``(B, C, H, W)`` to logits ``(B, K)``.
        mean: Per channel, of pixels scaled to 0..1.
        std: The same for the standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ConfigError(
                f"expected as many positive std as mean, got mean {list(mean)}, std {list(std)}"
            )
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def images(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels ``(B, H, W, C)`` as normalised images ``(B, C, H, W)``."""
        scaled = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return (scaled - self.mean) / self.std

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of uint8 pixels ``(B, H, W, C)``."""
        return cast(Tensor, self.network(self.images(pixels)))

    @property
    def embeds(self) -> bool:
        """Whether the network inside has penultimate features to give."""
        return isinstance(self.network, Classifier)

    def embed_and_classify(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``(B, F)`` and logits ``(B, K)`` of uint8 pixels ``(B, H, W, C)``.

        Raises:
            ConfigError: The network inside has no ``embed`` and ``head``.
        """
        if not isinstance(self.network, Classifier):
            raise ConfigError(
                f"{type(self.network).__name__} has no penultimate features; expected a "
                "hybridge.design.nets.network.Classifier"
            )
        features = self.network.embed(self.images(pixels))
        return features, self.network.head(features)
