"""The demo's pair: networks for 28x28 grey images that a CPU trains in seconds.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from typing import cast

from torch import Tensor, nn

from hybridge.design.nets.network import Classifier, network

#: Of MNIST's training images, scaled to 0..1.
_MEAN, _STD = (0.1307,), (0.3081,)


class PlainCNN(Classifier):
    """3x3 convolutions, each with normalisation and ReLU, then the mean and one linear layer.

    Args:
        class_count: ``K``.
        layers: Channels and stride of every convolution.
        channels: Channels of the image.
    """

    def __init__(
        self, class_count: int, layers: tuple[tuple[int, int], ...], channels: int
    ) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for out_channels, stride in layers:
            stack += [
                nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            ]
            channels = out_channels
        self.features = nn.Sequential(*stack)
        self.linear = nn.Linear(channels, class_count)

    @property
    def head(self) -> nn.Module:
        """The linear layer."""
        return self.linear

    def embed(self, images: Tensor) -> Tensor:
        """Return the pooled features ``(B, F)`` of float images ``(B, C, H, W)``."""
        return cast(Tensor, self.features(images).mean(dim=(2, 3)))


@network(
    "tiny_cnn",
    resolution=28,
    mean=_MEAN,
    std=_STD,
    about="three strided convolutions: the demo's base",
)
def tiny_cnn(class_count: int, *, channels: int = 1) -> nn.Module:
    """Build the demo's base."""
    return PlainCNN(class_count, ((12, 2), (24, 2), (32, 2)), channels)


@network(
    "small_cnn",
    resolution=28,
    mean=_MEAN,
    std=_STD,
    about="four convolutions: the demo's global network",
)
def small_cnn(class_count: int, *, channels: int = 1) -> nn.Module:
    """Build the demo's global network."""
    return PlainCNN(class_count, ((16, 1), (32, 2), (32, 1), (64, 2)), channels)
