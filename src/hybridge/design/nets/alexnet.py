"""AlexNet for 32x32 images: five convolutions, then three linear layers (Krizhevsky 2012).

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` classes, ``F`` features.
"""

from torch import Tensor, nn

from hybridge.design.nets.network import CIFAR_MEAN, CIFAR_STD, Classifier, network

_HIDDEN = 2048


class CifarAlexNet(Classifier):
    """The channels of the original, with kernels and strides for maps of 32 pixels.

    Batch normalisation stands where the original normalises responses.

    Args:
        class_count: ``K``.
        channels: Channels of the image.
    """

    def __init__(self, class_count: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(*_convolution(channels, 64, 3, stride=2), nn.MaxPool2d(2)),
            *(*_convolution(64, 192, 5), nn.MaxPool2d(2)),
            *_convolution(192, 384, 3),
            *_convolution(384, 256, 3),
            *(*_convolution(256, 256, 3), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(256 * 2 * 2, _HIDDEN), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()),
            nn.Linear(_HIDDEN, class_count),
        )

    @property
    def head(self) -> nn.Module:
        """The last linear layer."""
        return self.classifier[-1]

    def embed(self, images: Tensor) -> Tensor:
        """Return what the last linear layer reads, ``(B, F)``, of images ``(B, C, H, W)``."""
        features: Tensor = self.features(images).flatten(1)
        for layer in list(self.classifier)[:-1]:
            features = layer(features)
        return features


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]


@network(
    "alexnet_cifar",
    resolution=32,
    mean=CIFAR_MEAN,
    std=CIFAR_STD,
    about="AlexNet for 32x32 images, with batch normalisation",
)
def alexnet_cifar(class_count: int, *, channels: int = 3) -> nn.Module:
    """Build the chain of five convolutions and three linear layers."""
    return CifarAlexNet(class_count, channels)
