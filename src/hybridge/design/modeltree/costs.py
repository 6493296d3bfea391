"""What units take on a device and in the cloud, as they will be exported."""

from collections.abc import Mapping, Sequence
from functools import cache, partial

import torch
from torch import Tensor, nn

from hybridge.cost.device import Device
from hybridge.cost.price import compute_ms, layer_ms
from hybridge.design.compress.prune import shrink
from hybridge.design.graph.count import count_layers
from hybridge.design.modeltree.choices import KEEP, BlockChoice
from hybridge.design.modeltree.library import Library
from hybridge.plan.layers import Layer


class NetworkCosts:
    """Prices of a library's blocks: see `hybridge.design.modeltree.problem.Costs`.

    Args:
        library: Whose variants.
        device: What blocks run on.
        cloud: What the rest runs on after a cut.
        sizes: Mean encoded bytes of the input and of every node, by name.
    """

    def __init__(
        self, library: Library, device: Device, cloud: Device, sizes: Mapping[str, float]
    ) -> None:
        self._library = library
        self._sliced = library.sliced
        self._device = device
        self._cloud = cloud
        self._sizes = sizes
        self._rows = cache(partial(unit_layers, library))
        self._unit_ms = cache(self._price)
        self._following_ms = cache(self._price_following)

    def on(
        self, device: Device, cloud: Device, sizes: Mapping[str, float] | None = None
    ) -> "NetworkCosts":
        """Return the prices of the same blocks elsewhere; layers are not counted again.

        Args:
            device: What blocks run on.
            cloud: What the rest runs on after a cut.
            sizes: Mean encoded bytes, where they are others.
        """
        made = NetworkCosts(self._library, device, cloud, self._sizes if sizes is None else sizes)
        made._rows = self._rows
        return made

    def edge_ms(self, level: int, choice: BlockChoice) -> float:
        """Return the time on the device of what ``choice`` leaves there of block ``level``."""
        if not choice.options:
            return 0.0
        start = self._sliced.block_units(level).start
        took_ms, previous = self._device.overhead_ms.value, KEEP
        for index, option in enumerate(choice.options, start):
            took_ms += self._unit_ms(index, option, previous)
            previous = option
        return took_ms

    def cloud_ms(self, level: int, cut: int) -> float:
        """Return the time in the cloud of all that follows a cut in block ``level``."""
        return self._following_ms(self._sliced.block_units(level).start + cut)

    def payload_bytes(self, level: int, cut: int) -> float:
        """Return the mean encoded bytes that cross at a cut in block ``level``."""
        first = self._sliced.block_units(level).start + cut
        return self._sizes[self._sliced.units[first - 1].last if first else "input"]

    def _price(self, index: int, option: str, previous: str) -> float:
        """Return the time of a unit's layers, behind a unit that may have narrowed them."""
        return sum(layer_ms(row, self._device) for row in self._rows(index, option, previous))

    def _price_following(self, first: int) -> float:
        """Return the time in the cloud of all units from ``first`` on, as they were."""
        rows = [
            layer
            for unit in self._sliced.units[first:]
            for name in unit.nodes
            for layer in self._sliced.graph[name].layers
        ]
        return compute_ms(rows, self._cloud)


def unit_layers(library: Library, index: int, option: str, previous: str) -> tuple[Layer, ...]:
    """Return what a unit costs under an option, behind a unit under another.

    Neighbours are looked at with it where a width crosses between them.
    """
    sliced = library.sliced
    before = previous != KEEP and index > 0
    after = option != KEEP and index + 1 < len(sliced.units)
    window = [
        *([library.unit(index - 1, previous, True)] if before else []),
        library.unit(index, option, True),
        *([library.unit(index + 1, KEEP, True)] if after else []),
    ]
    example = sliced.example(index - 1 if before else index)
    rows = count_layers(shrink(nn.Sequential(*window), example), example)
    own = f"{int(before)}."
    return tuple(row for row in rows if row.name.startswith(own))


def block_module(units: Sequence[nn.Module], example: Tensor) -> nn.Module:
    """Return consecutive units as one module, as narrow as pruning leaves it."""
    with torch.no_grad():
        return shrink(nn.Sequential(*units), example).eval()
