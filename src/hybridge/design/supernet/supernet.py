"""The supernet: all networks of an elastic family in the weights of its largest one.

Once-for-All (Cai et al. 2020, section 3.2), in which section 2.2 of the selective-query paper
searches. A network of the family has the first blocks of each stage, the first channels of each
block, and a kernel made of the largest.
"""

from typing import cast

from torch import Tensor, nn

from hybridge.design.nets.architecture import Architecture, Space
from hybridge.design.nets.mobilenet import Family, MobileNet
from hybridge.design.nets.parts import MBConv
from hybridge.design.supernet.elastic import ElasticMBConv
from hybridge.errors import ConfigError


def positions(space: Space, architecture: Architecture) -> tuple[int, ...]:
    """Return where each block of an architecture's network stands in the largest network.

    The first, which all networks have, stands at 0.
    """
    slots = (
        1 + stage * space.slots_per_stage + slot
        for stage, depth in enumerate(architecture.depths)
        for slot in range(depth)
    )
    return (0, *slots)


class ElasticBlocks(nn.Sequential):
    """The blocks of a family's largest network, of which those of another can run.

    Args:
        family: Whose.
    """

    def __init__(self, family: Family) -> None:
        space = family.space
        if space.expansions[0] < 2:
            # Without expansion a network has no layer to expand; the supernet's block has.
            raise ConfigError(
                f"expected a family whose blocks all expand, got expansions {space.expansions}"
            )
        first, *others = family.outline(space.largest).blocks
        elastic = (ElasticMBConv(block, space.kernels) for block in others)
        super().__init__(MBConv(first), *elastic)
        self._family = family
        self._positions = positions(space, space.largest)

    def activate(self, architecture: Architecture) -> None:
        """Let the blocks of an architecture run.

        Raises:
            ConfigError: It is not of the family's space.
        """
        blocks = self._family.outline(architecture).blocks
        self._positions = positions(self._family.space, architecture)
        for position, block in list(zip(self._positions, blocks, strict=True))[1:]:
            cast(ElasticMBConv, self[position]).activate(block)

    def forward(self, maps: Tensor) -> Tensor:
        """Return feature maps ``(B, C', H', W')`` of ``(B, C, H, W)``."""
        for position in self._positions:
            maps = self[position](maps)
        return maps


class Supernet(MobileNet):
    """The largest network of an elastic family, which runs as any network of it.

    Its keys are those of the largest `MobileNet`, and the matrices of its kernels. Norms have one
    set of statistics: take a network out with `extract`, and recompute them for it.

    Args:
        class_count: ``K``.
        family: Whose networks it holds; the largest is active at first.
        channels: Channels of the image.

    Attributes:
        class_count: ``K``.
        family: The family.
        channels: Channels of the image.

    Raises:
        ConfigError: The family has blocks that do not expand.
    """

    blocks: ElasticBlocks

    def __init__(self, class_count: int, family: Family, channels: int = 3) -> None:
        largest = family.space.largest
        blocks = ElasticBlocks(family)
        super().__init__(class_count, family.outline(largest), channels, blocks=blocks)
        self.class_count, self.family, self.channels = class_count, family, channels
        self._active = largest

    @property
    def active(self) -> Architecture:
        """The architecture that runs."""
        return self._active

    def activate(self, architecture: Architecture) -> None:
        """Choose the architecture that runs.

        Raises:
            ConfigError: It is not of the family's space.
        """
        self.blocks.activate(architecture)
        self._active = architecture
