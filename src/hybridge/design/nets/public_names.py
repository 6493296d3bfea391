"""What others call the weights of our networks, so that public checkpoints load from a file.

Each naming gives, for a network, how keys of the file begin and how they begin in the network: what
`hybridge.design.nets.weights` takes as ``prefixes``.
"""

from collections.abc import Callable, Iterable
from typing import TypeGuard, cast

from torch import nn

from hybridge.design.nets.imagenet_resnet import ImageNetResNet
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.nets.mobilenetv3 import LARGE, SMALL
from hybridge.design.nets.ofa_names import ofa_blocks, ofa_prefixes
from hybridge.design.nets.parts import MBConv
from hybridge.design.nets.resnet import CifarResNet
from hybridge.design.nets.vgg import ImageNetVGG
from hybridge.errors import ConfigError
from hybridge.registry import Registry

Prefixes = dict[str, str]
Naming = Callable[[nn.Module], Prefixes | None]

namings: Registry[Naming] = Registry("naming of weights")
_DEPTHS = {sum(layout.depths): layout.depths for layout in (SMALL, LARGE)}


def prefixes_of(names: str, network: nn.Module) -> Prefixes:
    """Return how keys of a public checkpoint begin, and how they do in ``network``.

    Args:
        names: Whose: ``timm``, ``torchvision``, ``mcunet`` or ``ofa``.
        network: What the checkpoint is for.

    Raises:
        UnknownNameError: There is no such naming.
        ConfigError: It has no names for this network.
    """
    found = namings.get(names)(network)
    if found is None:
        raise ConfigError(
            f"names {names!r} are not known for a {type(network).__name__}; leave 'names' out and "
            "say with 'prefixes' how keys begin"
        )
    return found


def _torchvision(network: nn.Module) -> Prefixes | None:
    if isinstance(network, ImageNetVGG | ImageNetResNet):
        return {}  # ours are the same
    if isinstance(network, CifarResNet):
        return {"fc.": "linear."}
    if not _is_mobilenetv3(network):
        return None
    found = _convolution("features.0.0.", "features.0.1.", "stem")
    for number, block in enumerate(_blocks(network)):
        for place, part in enumerate(_parts(block)):
            theirs, ours = f"features.{number + 1}.block.{place}.", f"blocks.{number}.{part}"
            if part == "squeeze":
                found |= {f"{theirs}fc1.": f"{ours}.reduce.", f"{theirs}fc2.": f"{ours}.expand."}
            else:
                found |= _convolution(f"{theirs}0.", f"{theirs}1.", ours)
    last = f"features.{len(network.blocks) + 1}."
    found |= _convolution(f"{last}0.", f"{last}1.", "final")
    return found | {"classifier.0.": "last.0.", "classifier.3.": "classifier."}


def _timm(network: nn.Module) -> Prefixes | None:
    if isinstance(network, ImageNetResNet):
        return {}  # ours are the same
    if isinstance(network, ImageNetVGG):
        hidden = {"pre_logits.fc1.": "classifier.0.", "pre_logits.fc2.": "classifier.3."}
        return hidden | {"head.fc.": "classifier.6."}
    if isinstance(network, CifarResNet):
        return {"fc.": "linear."}
    if not _is_mobilenetv3(network):
        return None
    found = _convolution("conv_stem.", "bn1.", "stem")
    depths = _DEPTHS[len(network.blocks)]
    places = [(stage, number) for stage, depth in enumerate(depths) for number in range(depth)]
    for number, (block, (stage, place)) in enumerate(zip(_blocks(network), places, strict=True)):
        found |= _timm_block(block, f"blocks.{stage}.{place}.", f"blocks.{number}")
    last = f"blocks.{len(depths)}.0."
    found |= _convolution(f"{last}conv.", f"{last}bn1.", "final")
    return found | {"conv_head.": "last.0.", "classifier.": "classifier."}


def _timm_block(block: MBConv, theirs: str, ours: str) -> Prefixes:
    parts = [part for part in _parts(block) if part != "squeeze"]
    # Where nothing is expanded, the projection is the only 1x1 convolution.
    names = ("conv_pw", "conv_dw", "conv_pwl") if "expand" in parts else ("conv_dw", "conv_pw")
    found: Prefixes = {}
    for number, (name, part) in enumerate(zip(names, parts, strict=True), start=1):
        found |= _convolution(f"{theirs}{name}.", f"{theirs}bn{number}.", f"{ours}.{part}")
    if block.squeeze is not None:
        found[f"{theirs}se.conv_reduce."] = f"{ours}.squeeze.reduce."
        found[f"{theirs}se.conv_expand."] = f"{ours}.squeeze.expand."
    return found


def _mcunet(network: nn.Module) -> Prefixes | None:
    if not isinstance(network, MobileNet):
        return None
    ends = {"first_conv.": "stem.", "feature_mix_layer.": "final."}
    return ends | ofa_blocks(network) | {"classifier.linear.": "classifier."}


def _ofa(network: nn.Module) -> Prefixes | None:
    return ofa_prefixes(network) if isinstance(network, MobileNet) else None


def _is_mobilenetv3(network: nn.Module) -> TypeGuard[MobileNet]:
    """Return whether a network has the blocks of MobileNetV3, and both layers of its head."""
    return (
        isinstance(network, MobileNet)
        and len(network.blocks) in _DEPTHS
        and not isinstance(network.final, nn.Identity)
        and not isinstance(network.last, nn.Identity)
    )


def _blocks(network: MobileNet) -> Iterable[MBConv]:
    return cast(Iterable[MBConv], network.blocks)


def _parts(block: MBConv) -> list[str]:
    """Return what a block has, in the order in which it runs."""
    order = ("expand", "depthwise", "squeeze", "project")
    return [part for part in order if getattr(block, part) is not None]


def _convolution(weight: str, norm: str, ours: str) -> Prefixes:
    return {weight: f"{ours}.conv.", norm: f"{ours}.bn."}


namings.add("torchvision", _torchvision)
namings.add("timm", _timm)
namings.add("mcunet", _mcunet)
namings.add("ofa", _ofa)
