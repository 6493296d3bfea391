"""Elastic families by name, and their networks in the registry.

Once-for-All's MobileNetV3 (Cai et al. 2020) in two widths, as in section 3.2 of the selective-query
paper, and a small one for 32x32 images.
"""

from torch import nn

from hybridge.design.nets.architecture import Space
from hybridge.design.nets.mobilenet import Family, MobileNet, StageShape
from hybridge.design.nets.network import (
    CIFAR_MEAN,
    CIFAR_STD,
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Builder,
    network,
)
from hybridge.design.nets.parts import Block
from hybridge.design.nets.scaled import ScaledDown
from hybridge.registry import Registry

families: Registry[Family] = Registry("family")

_OFA_STRIDES = (2, 2, 2, 1, 2)


def _ofa(channels: tuple[int, ...]) -> Family:
    """Return a family of Once-for-All from its nine numbers of channels, stem to last."""
    stem, first, *stages, final, last = channels
    return Family(
        stem_channels=stem,
        stem_stride=2,
        first=Block(stem, stem, first, 3),
        stages=tuple(
            StageShape(width, stride, "relu" if number < 2 else "h_swish", number in (1, 3, 4))
            for number, (width, stride) in enumerate(zip(stages, _OFA_STRIDES, strict=True))
        ),
        final_channels=final,
        last_channels=last,
        space=Space(5, (3, 5, 7), (3, 4, 6), (2, 3, 4)),
        resolutions=(144, 160, 176, 192, 208, 224),
    )


families.add("ofa_mbv3_w1.0", _ofa((16, 16, 24, 40, 80, 112, 160, 960, 1280)))
families.add("ofa_mbv3_w1.2", _ofa((24, 24, 32, 48, 96, 136, 192, 1152, 1536)))
families.add(
    "elastic_small",
    Family(
        stem_channels=16,
        stem_stride=1,
        first=Block(16, 16, 16, 3, 2),
        stages=(
            StageShape(16, 1, "relu", squeeze=False),
            StageShape(24, 2, "h_swish", squeeze=False),
            StageShape(48, 2, "h_swish", squeeze=True),
        ),
        final_channels=256,
        last_channels=256,
        space=Space(3, (3, 5), (2, 3, 4), (1, 2, 3)),
        resolutions=(24, 28, 32),
    ),
)


def _builder(family: Family) -> Builder:
    def builder(
        class_count: int,
        *,
        architecture: str | None = None,
        scaled_to: int | None = None,
        scaled_from: int = family.resolutions[-1],
        channels: int = 3,
    ) -> nn.Module:
        space = family.space
        chosen = space.largest if architecture is None else space.parse(architecture)
        scaled = None if scaled_to in (None, scaled_from) else ScaledDown(scaled_from, scaled_to)
        return MobileNet(class_count, family.outline(chosen), channels, scaled=scaled)

    return builder


_ABOUT = "Once-for-All's MobileNetV3, width {} (Cai et al. 2020); its largest by default"
for _width in ("1.0", "1.2"):
    network(
        f"ofa_mbv3_w{_width}",
        resolution=224,
        class_count=IMAGENET_CLASSES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        about=_ABOUT.format(_width),
    )(_builder(families.get(f"ofa_mbv3_w{_width}")))
network(
    "elastic_small",
    resolution=32,
    mean=CIFAR_MEAN,
    std=CIFAR_STD,
    about="Elastic family for 32x32 images; its largest by default",
)(_builder(families.get("elastic_small")))
