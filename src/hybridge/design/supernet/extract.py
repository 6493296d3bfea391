"""Networks taken out of a supernet, and its channels put in order."""

import torch
from torch import Tensor, nn

from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.supernet.elastic import ElasticDepthwise
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
