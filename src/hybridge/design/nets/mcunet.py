"""MCUNet (Lin et al. 2020): networks for microcontrollers, by name or from a public description.

A description is the JSON file that is published beside a network's weights. The five for ImageNet
are written here as rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hybridge.design.nets.mcunet_json import read_description
from hybridge.design.nets.mobilenet import MobileNet, MobileNetOutline
from hybridge.design.nets.network import (
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Builder,
    network,
)
from hybridge.design.nets.parts import Block
from hybridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rows:
    """A network as rows, one for each of its blocks.

    Attributes:
        resolution: Height and width of its images, in pixels.
        stem_channels: Of the first convolution, whose stride is 2.
        blocks: Kernel, expansion, channels and stride of each block, ``"5 3 16 2"``.
    """

    resolution: int
    stem_channels: int
    blocks: str

    @property
    def outline(self) -> MobileNetOutline:
        """The network, before it is built."""
        return MobileNetOutline(
            self.stem_channels, 2, tuple(self._blocks()), None, None, act="relu6"
        )

    def _blocks(self) -> Iterator[Block]:
        reads = self.stem_channels
        for row in self.blocks.split(","):
            kernel, expansion, gives, stride = map(int, row.split())
            yield Block(reads, reads * expansion, gives, kernel, stride, "relu6")
            reads = gives


IMAGENET = {
    "mcunet_in0": Rows(
        48,
        24,
        "3 1 16 1, 5 4 16 2, 3 3 16 1, 3 4 16 1, 7 5 24 2, 5 4 24 1, 5 5 24 1, 7 5 48 2, "
        "5 4 48 1, 3 5 56 1, 5 4 56 1, 3 5 56 1, 3 6 112 2, 5 4 112 1, 3 6 192 1",
    ),
    "mcunet_in1": Rows(
        96,
        16,
        "3 1 8 1, 3 4 16 2, 3 3 16 1, 7 3 24 2, 3 5 24 1, 3 5 40 2, 7 4 40 1, 5 4 48 1, "
        "3 3 48 1, 3 4 48 1, 7 5 96 2, 5 4 96 1, 5 4 96 1, 3 6 160 1",
    ),
    "mcunet_in2": Rows(
        160,
        16,
        "3 1 8 1, 5 3 16 2, 7 6 16 1, 3 5 16 1, 5 5 16 1, 3 5 24 2, 7 6 24 1, 5 6 24 1, "
        "7 4 40 2, 5 5 40 1, 3 5 48 1, 5 5 48 1, 3 4 48 1, 5 6 96 2, 5 4 96 1, 5 3 96 1, "
        "3 4 96 1, 5 5 160 1",
    ),
    "mcunet_in3": Rows(
        176,
        16,
        "3 1 8 1, 7 3 16 2, 3 5 16 1, 7 5 16 1, 5 4 16 1, 5 5 24 2, 5 5 24 1, 5 5 24 1, "
        "3 5 40 2, 7 6 40 1, 5 4 40 1, 5 5 48 1, 7 5 48 1, 3 5 48 1, 3 6 96 2, 7 5 96 1, "
        "3 4 96 1, 7 5 160 1",
    ),
    "mcunet_in4": Rows(
        160,
        32,
        "3 1 16 1, 7 3 24 2, 3 5 24 1, 5 4 24 1, 7 5 40 2, 3 4 40 1, 7 4 40 1, 7 3 80 2, "
        "3 3 80 1, 7 3 80 1, 3 4 96 1, 5 3 96 1, 5 3 96 1, 7 4 192 2, 7 3 192 1, 5 3 192 1, "
        "5 4 320 1",
    ),
}
#: What ``mcunet`` is where no description is given.
_DEFAULT = "mcunet_in4"


def _builder(rows: Rows) -> Builder:
    def builder(class_count: int, *, channels: int = 3) -> nn.Module:
        return MobileNet(class_count, rows.outline, channels)

    return builder


def _described(class_count: int, *, description: str | None = None, channels: int = 3) -> nn.Module:
    if description is None:
        return MobileNet(class_count, IMAGENET[_DEFAULT].outline, channels)
    if not isinstance(description, str):
        raise ConfigError(f"'description': expected the path of a JSON file, got {description!r}")
    return MobileNet(class_count, read_description(Path(description)).outline, channels)


def _register(name: str, resolution: int, about: str, builder: Builder) -> None:
    network(
        name,
        resolution=resolution,
        class_count=IMAGENET_CLASSES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        about=about,
    )(builder)


for _name, _rows in IMAGENET.items():
    _about = f"MCUNet-{_name.removeprefix('mcunet_')} for microcontrollers (Lin et al. 2020)"
    _register(_name, _rows.resolution, _about, _builder(_rows))
_register(
    "mcunet",
    IMAGENET[_DEFAULT].resolution,
    "MCUNet from a JSON file, option 'description'; MCUNet-in4 by default",
    _described,
)
