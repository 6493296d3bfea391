"""What the networks of a family take, added up from what their parts take.

A part is counted once, whatever the networks that have it: so thousands are priced in seconds, and
none of them is built.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import torch
from torch import nn

from hybridge.design.graph.arena import arena_bytes
from hybridge.design.graph.capture import capture
from hybridge.design.graph.count import count_layers
from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.mobilenet import Family, MobileNet
from hybridge.design.nets.parts import Block, MBConv
from hybridge.design.query.fold import fold
from hybridge.design.query.router import Router, RouterSettings
from hybridge.plan.layers import Layer, total_macs

#: Of an int8 network, for each number that a convolution or a linear layer adds.
_BIAS_BYTES = 4


@dataclass(frozen=True)
class Footprint:
    """What a network takes for one input.

    Attributes:
        layers: A row for every operator, as `hybridge.design.graph.count` gives them.
        int8_bytes: Size of its weights, a byte each, and of the 4-byte numbers that every
            convolution and linear layer adds, normalisation being folded into them.
        arena_bytes: Working memory in 8-bit integers; see `hybridge.design.graph.arena`.
        input_bytes: Size of the pixels that it reads.
    """

    layers: tuple[Layer, ...]
    int8_bytes: int
    arena_bytes: int
    input_bytes: int

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return total_macs(self.layers)


def footprint(network: nn.Module, shape: tuple[int, int, int]) -> Footprint:
    """Return what any network takes that reads images ``(C, H, W)`` of a ``shape``.

    Raises:
        ConfigError: It cannot be captured.
    """
    part = _count(network, shape)
    return Footprint(part.layers, part.int8_bytes, part.arena_bytes, _numbers(shape))


def router_layers(
    class_count: int, features: int, settings: RouterSettings | None = None
) -> tuple[Layer, ...]:
    """Return what a router takes, as a device runs it: folded.

    Args:
        class_count: Classes that its base tells apart.
        features: Width of the base's penultimate features, which routers may read.
        settings: How routers are fitted; None stands for the usual.
    """
    settings = settings or RouterSettings()
    reads = settings.embedding
    with torch.random.fork_rng(devices=[]):
        router = Router(class_count, settings, embedding_width=features if reads else None)
    inputs = [torch.zeros(1, width) for width in (class_count, *([features] if reads else []))]
    return count_layers(fold(router.eval()), *inputs)


class FamilyCosts:
    """Knows what every network of a family takes.

    Args:
        family: The family.
        class_count: Classes that its networks tell apart.
        channels: Channels of the image.
    """

    def __init__(self, family: Family, class_count: int, channels: int = 3) -> None:
        self.family = family
        self._class_count, self._channels = class_count, channels

    def footprint(self, architecture: Architecture, resolution: int) -> Footprint:
        """Return what a network takes on images of a height and width.

        Raises:
            ConfigError: The architecture is not of the family's space.
        """
        parts = [self._end("stem", (self._channels, resolution, resolution))]
        for block in self.family.outline(architecture).blocks:
            parts.append(_block(block, parts[-1].gives[1]))
        parts.append(self._end("head", parts[-1].gives))
        return Footprint(
            tuple(layer for part in parts for layer in part.layers),
            sum(part.int8_bytes for part in parts),
            max(part.arena_bytes for part in parts),
            self._channels * resolution**2,
        )

    def _end(self, which: Literal["stem", "head"], shape: tuple[int, ...]) -> "_Part":
        return _end(which, shape, self.family, self._class_count, self._channels)


@cache
def _block(block: Block, side: int) -> "_Part":
    with torch.device("meta"):
        module = MBConv(block)
    return _count(module, (block.in_channels, side, side))


@cache
def _end(
    which: Literal["stem", "head"],
    shape: tuple[int, ...],
    family: Family,
    class_count: int,
    channels: int,
) -> "_Part":
    """Return what all networks of a family have before their blocks, or after them."""
    with torch.device("meta"):
        network = MobileNet(class_count, family.outline(family.space.smallest), channels)
    if which == "stem":
        return _count(network.stem, shape)
    head = OrderedDict(
        final=network.final,
        pool=network.pool,
        last=network.last,
        flat=nn.Flatten(),
        dropout=network.dropout,
        classifier=network.classifier,
    )
    return _count(nn.Sequential(head), shape)


@dataclass(frozen=True, slots=True)
class _Part:
    """What a part of a network takes, and the shape ``(C, H, W)`` of what it gives."""

    layers: tuple[Layer, ...]
    int8_bytes: int
    arena_bytes: int
    gives: tuple[int, ...]


def _count(module: nn.Module, shape: Iterable[int]) -> _Part:
    graph = capture(module, torch.zeros(1, *shape, device=_device(module)))
    gives = graph[graph.output].output_shape
    return _Part(graph.layers, _int8_bytes(module), arena_bytes(graph), gives)


def _int8_bytes(module: nn.Module) -> int:
    weights = [each.weight for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    return sum(weight.numel() + _BIAS_BYTES * len(weight) for weight in weights)


def _device(module: nn.Module) -> torch.device:
    return next((each.device for each in module.parameters()), torch.device("cpu"))


def _numbers(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
