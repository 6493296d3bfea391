"""Subnets as they would be used: taken out, batch normalisation recalibrated, and judged.

Letters: ``B`` batch, ``N`` images, ``H`` height, ``W`` width, ``C`` channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hybridge.data.dataset import Dataset
from hybridge.design.graph.count import count_layers
from hybridge.design.nets.architecture import Architecture, Space
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.supernet.shrink import subnet_of
from hybridge.design.train.norm import recalibrate
from hybridge.design.train.outputs import compute_outputs
from hybridge.errors import ConfigError
from hybridge.plan.layers import total_macs, total_parameters


@dataclass(frozen=True, slots=True)
class Subnet:
    """A network of a family, and the images it is used on.

    Attributes:
        architecture: Which network.
        resolution: Height and width of its images, in pixels.
    """

    architecture: Architecture
    resolution: int

    def __str__(self) -> str:
        return f"{self.architecture} @ {self.resolution}"


@dataclass(frozen=True, slots=True)
class Judged:
    """How a network does.

    Attributes:
        subnet: Which.
        macs: Multiply-accumulates for one image.
        parameters: Number of parameters.
        accuracy: Share of the held-out images that are right.
        accuracy_without_recalibration: The same with the supernet's own statistics, which are
            those of all its subnets; None for a network that was trained by itself.
    """

    subnet: Subnet
    macs: int
    parameters: int
    accuracy: float
    accuracy_without_recalibration: float | None


def parse_subnet(text: str, space: Space, resolutions: tuple[int, ...]) -> Subnet:
    """Read a subnet: an architecture, then ``@`` and a resolution where it is not the largest.

    Args:
        text: ``smallest`` (at the smallest resolution), ``largest``, or as `Subnet` writes it.
        space: Of the architectures.
        resolutions: Those there are, ascending.

    Raises:
        ConfigError: It is nothing of that.
    """
    if text == "smallest":
        return Subnet(space.smallest, resolutions[0])
    if text == "largest":
        return Subnet(space.largest, resolutions[-1])
    architecture, _, side = text.partition("@")
    known = ", ".join(map(str, resolutions))
    if side and side.strip() not in map(str, resolutions):
        raise ConfigError(f"expected a resolution among {known} after '@', got {side.strip()!r}")
    return Subnet(space.parse(architecture), int(side or resolutions[-1]))


def judge(network: PixelNetwork, subnet: Subnet, statistics: Tensor, held_out: Dataset) -> Judged:
    """Return how a subnet does that is taken out of a supernet.

    Args:
        network: Of the supernet; left as it is.
        subnet: Which.
        statistics: Training images that batch normalisation is recalibrated on,
            ``(B, H, W, C)`` uint8 at the subnet's resolution.
        held_out: Images that it is judged by, at the subnet's resolution.
    """
    taken = subnet_of(network, subnet.architecture)
    without = compute_outputs(taken, held_out).accuracy(held_out.labels)
    recalibrate(taken, statistics.to(taken.mean.device))
    return judge_alone(taken, subnet, held_out, without)


def judge_alone(
    network: PixelNetwork, subnet: Subnet, held_out: Dataset, without: float | None = None
) -> Judged:
    """Return how a network does as it is.

    Args:
        network: A network of the family; put into evaluation mode.
        subnet: Which.
        held_out: Images that it is judged by, at its resolution.
        without: Its accuracy before its batch normalisation was recalibrated.
    """
    image = torch.zeros(1, *held_out.geometry.shape, dtype=torch.uint8)
    rows = count_layers(network, image.to(network.mean.device))
    accuracy = compute_outputs(network, held_out).accuracy(held_out.labels)
    return Judged(subnet, total_macs(rows), total_parameters(rows), accuracy, without)
