"""Networks taken out of a supernet, and its channels put in order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.nets.parts import Block
from hybridge.design.supernet.elastic import ElasticDepthwise, ElasticMBConv
from hybridge.design.supernet.supernet import Supernet, positions


@torch.no_grad()
def extract(supernet: Supernet, architecture: Architecture) -> MobileNet:
    """Return a network of a supernet's family, with weights of its own.

    Its function is that of the supernet's active path exactly, in training as in evaluation. It is
    on the supernet's device and in its mode. Its norms have the supernet's statistics; recompute
    them before it is used (`hybridge.design.train.norm.recalibrate`).

    Args:
        supernet: Left as it is, whatever is active in it.
        architecture: Which network.

    Raises:
        ConfigError: The architecture is not of the family's space.
    """
    outline = supernet.family.outline(architecture)
    with torch.device("meta"):  # no memory and no random numbers: every weight is replaced
        network = MobileNet(supernet.class_count, outline, supernet.channels)
    weights = _first(network, supernet, "stem", "final", "last", "classifier")
    places = positions(supernet.family.space, architecture)
    for number, place in enumerate(places):
        block, larger = network.blocks[number], supernet.blocks[place]
        own = _first(block, larger)
        depthwise = larger.get_submodule("depthwise.conv")
        if isinstance(depthwise, ElasticDepthwise):
            shape = block.get_parameter("depthwise.conv.weight").shape
            own["depthwise.conv.weight"] = depthwise.kernel(shape[-1], shape[0]).clone()
        weights |= {f"blocks.{number}.{key}": value for key, value in own.items()}
    network.load_state_dict(weights, assign=True)
    return network.train(supernet.training)


def _first(network: nn.Module, larger: nn.Module, *names: str) -> dict[str, Tensor]:
    """Return copies of a network's weights: the first ones of a larger network's, in every axis.

    Args:
        network: Whose shapes.
        larger: Whose weights.
        names: What the keys begin with; all where left out.
    """
    held = larger.state_dict()
    return {
        key: held[key][tuple(map(slice, target.shape))].clone()
        for key, target in network.state_dict().items()
        if not names or key.partition(".")[0] in names
    }


_NORM = ("weight", "bias", "running_mean", "running_var")
#: Of a block, what has its middle channels, and on which axis.
_MIDDLE_AXES = {
    "expand.conv.weight": 0,
    **{f"expand.bn.{name}": 0 for name in _NORM},
    "depthwise.conv.weight": 0,
    **{f"depthwise.bn.{name}": 0 for name in _NORM},
    "squeeze.reduce.weight": 1,
    "squeeze.expand.weight": 0,
    "squeeze.expand.bias": 0,
    "project.conv.weight": 1,
}
#: The same for the channels between the convolutions of its squeeze and excitation.
_SQUEEZE_AXES = {
    "squeeze.reduce.weight": 0,
    "squeeze.reduce.bias": 0,
    "squeeze.expand.weight": 1,
}


@torch.no_grad()
def sort_channels(supernet: Supernet, trained: Sequence[int] = ()) -> None:
    """Put every block's middle channels in order, so that the first are the most important.

    A channel is as important as the L1 norm of the weights that the projection reads it with; one
    inside squeeze and excitation, of those that the second convolution reads it with. Weights and
    statistics move together: the largest network's function stays as it is.

    Args:
        supernet: Changed in place.
        trained: Expansions of networks whose functions stay as they are too: channels are sorted
            apart that one of these expansions has and another has not.

    Raises:
        ConfigError: An expansion is not of the family's space.
    """
    family = supernet.family
    largest = family.space.largest
    outlines = [
        family.outline(replace(largest, expansions=(expansion,) * len(largest.expansions)))
        for expansion in trained
    ]
    for position, block in enumerate(supernet.blocks):
        if isinstance(block, ElasticMBConv):
            _sort_block(block, [outline.blocks[position] for outline in outlines])


def _sort_block(block: ElasticMBConv, kept: Sequence[Block]) -> None:
    """Sort the channels of a block; ``kept`` are the shapes that stay what they compute."""
    order = _order(block.get_parameter("project.conv.weight"), [each.middle for each in kept])
    _permute(block, order, _MIDDLE_AXES)
    if block.squeeze is not None:
        squeezed = [each.squeeze for each in kept if each.squeeze is not None]
        order = _order(block.get_parameter("squeeze.expand.weight"), squeezed)
        _permute(block, order, _SQUEEZE_AXES)


def _order(weight: Tensor, bounds: Iterable[int]) -> Tensor:
    """Return the order of what a 1x1 convolution reads, largest first between the bounds."""
    importance = weight.abs().sum((0, 2, 3))
    edges = sorted({0, *bounds, len(importance)})
    parts = (
        start + importance[start:end].argsort(descending=True, stable=True)
        for start, end in pairwise(edges)
    )
    return torch.cat(list(parts))


def _permute(block: ElasticMBConv, order: Tensor, axes: Mapping[str, int]) -> None:
    held = block.state_dict()
    for key, axis in axes.items():
        if key in held:
            held[key].copy_(held[key].index_select(axis, order))
