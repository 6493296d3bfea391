"""A network as a row of units, in blocks: what a model tree is made from.

Letters: ``B`` batch, ``H`` height, ``W`` width, ``C`` channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, fx, nn

from hybridge.design.graph.capture import capture
from hybridge.design.graph.cuts import Unit, blocks, blocks_at, merged, units
from hybridge.design.graph.graph import INPUT, Graph, GraphNode
from hybridge.design.graph.slice import slice_graph
from hybridge.design.nets.network import PixelNetwork
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Geometry

#: Operations between maps and a linear layer that keep their numbers, and their order.
_FLATTENING = ("flatten", "view", "reshape", "Flatten", "Dropout", "dropout")


@dataclass(frozen=True)
class LayerPlace:
    """A convolution or linear layer of a unit, which a technique may replace.

    Attributes:
        path: Path of its module in the network.
        reads: Shape of what it reads without the batch axis: of maps ``(C, H, W)``, even where
            they are flattened on the way.
        norm: Path of the batch normalisation that alone reads it, or None.
    """

    path: str
    reads: tuple[int, ...]
    norm: str | None


@dataclass(frozen=True, eq=False)
class SlicedNetwork:
    """A network, cut into units.

    Attributes:
        network: The network; it is shared, and never changed.
        graph: The network as a graph.
        units: Its units, in order.
        block_starts: Index of the first unit of each block.
        modules: Each unit as a module from one tensor to one tensor, of the network's modules.
        layers: What a technique may replace in each unit.
    """

    network: PixelNetwork
    graph: Graph
    units: tuple[Unit, ...]
    block_starts: tuple[int, ...]
    modules: tuple[fx.GraphModule, ...] = field(repr=False)
    layers: tuple[tuple[LayerPlace, ...], ...] = field(repr=False)

    @property
    def geometry(self) -> Geometry:
        """Geometry of its images."""
        height, width, channels = self.graph.input_shape
        return Geometry(height=height, width=width, channels=3 if channels == 3 else 1)

    @cached_property
    def block_of(self) -> tuple[int, ...]:
        """The block of each unit."""
        return tuple(
            sum(start <= index for start in self.block_starts) - 1
            for index in range(len(self.units))
        )

    def block_units(self, block: int) -> range:
        """Return the indices of a block's units."""
        ends = (*self.block_starts[1:], len(self.units))
        return range(self.block_starts[block], ends[block])

    def modules_of(self, unit: int) -> dict[str, nn.Module]:
        """Return the modules that a unit calls, by their path in the network."""
        graph_module = self.modules[unit]
        return {
            str(node.target): graph_module.get_submodule(str(node.target))
            for node in graph_module.graph.nodes
            if node.op == "call_module"
        }

    def input_shape(self, unit: int) -> tuple[int, ...]:
        """Return the shape of what a unit reads, without the batch axis."""
        if unit == 0:
            return self.graph.input_shape
        return self.graph[self.units[unit - 1].last].output_shape

    def example(self, unit: int) -> Tensor:
        """Return zeros ``(1, ...)`` such as a unit reads."""
        dtype = torch.uint8 if unit == 0 else torch.float32
        return torch.zeros(1, *self.input_shape(unit), dtype=dtype)


def slice_network(
    network: PixelNetwork,
    geometry: Geometry,
    *,
    block_count: int = 3,
    at: Sequence[str] = (),
    unit_count: int | None = None,
) -> SlicedNetwork:
    """Capture a network and cut it into units and blocks.

    Args:
        network: Put into evaluation mode.
        geometry: Of its images.
        block_count: Blocks, balanced by multiply-accumulates.
        at: Names of the layers with which the second and later blocks begin, in place of balance.
        unit_count: Most units; neighbours are joined until there are no more. None joins none.

    Raises:
        ConfigError: The network cannot be captured, there is no legal cut for so many blocks, or a
            unit has no layer that could be replaced.
    """
    network.eval()
    graph = capture(network, torch.zeros(1, *geometry.shape, dtype=torch.uint8))
    found = units(graph)
    if unit_count is not None:
        found = merged(found, unit_count)
    parts = blocks_at(found, at) if at else blocks(found, block_count)
    firsts = [part[0].first for part in parts]
    layers = tuple(_layers(graph, unit) for unit in found)
    for unit, places in zip(found, layers, strict=True):
        if not places:
            raise ConfigError(
                f"the part from {unit.first!r} to {unit.last!r} multiplies in no module of "
                "Conv2d or Linear, so that nothing in it can be replaced; expected such a module "
                "between any two cuts: ask for fewer units"
            )
    return SlicedNetwork(
        network=network,
        graph=graph,
        units=found,
        block_starts=tuple(i for i, unit in enumerate(found) if unit.first in firsts),
        modules=tuple(slice_graph(graph, unit.nodes) for unit in found),
        layers=layers,
    )


def _layers(graph: Graph, unit: Unit) -> tuple[LayerPlace, ...]:
    found = []
    for name in unit.nodes:
        node = graph[name]
        if node.operation in ("Conv2d", "Linear"):
            found.append(LayerPlace(name, _maps_read(graph, node), _norm_of(graph, node)))
    return tuple(found)


def _maps_read(graph: Graph, node: GraphNode) -> tuple[int, ...]:
    """Return the shape of what a layer reads; for a linear layer, before it was flattened."""
    name = node.reads[0]
    while name != INPUT:
        read = graph[name]
        if node.operation != "Linear" or read.operation not in _FLATTENING:
            return read.output_shape
        name = read.reads[0]
    return graph.input_shape


def _norm_of(graph: Graph, node: GraphNode) -> str | None:
    readers = graph.readers(node.name)
    if len(readers) == 1 and graph[readers[0]].operation == "BatchNorm2d":
        return readers[0]
    return None
