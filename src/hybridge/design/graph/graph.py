"""A network as a graph: what it runs, what that costs, and what reads what."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from torch import fx

from hybridge.plan.layers import Layer, total_macs, total_parameters

#: How `GraphNode.reads` calls what the network is given.
INPUT = "input"


@dataclass(frozen=True)
class GraphNode:
    """One module or operation that runs.

    Attributes:
        name: Path of the module, or of the module that calls the operation and its name; unique.
        operation: What it is: the module's class or the function's name.
        reads: Names of the nodes whose tensors it takes, `INPUT` for the network's own; no name
            twice. Weights and sizes are not listed.
        layers: What it costs; nothing where it only looks at its input in another shape.
        output_shape: Shape of its output without the batch axis, of the first if it has several.
        output_dtype: Element type of its output, in NumPy's words.
        output_bytes: Size of all that it gives, for one input.
        origin: Its node in `Graph.module`.
    """

    name: str
    operation: str
    reads: tuple[str, ...]
    layers: tuple[Layer, ...]
    output_shape: tuple[int, ...]
    output_dtype: str
    output_bytes: int
    origin: fx.Node = field(repr=False, compare=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return total_macs(self.layers)

    @property
    def parameters(self) -> int:
        """Parameters that no earlier node has used."""
        return total_parameters(self.layers)

    @property
    def kind(self) -> str:
        """Kind of its costliest layer, or ``view`` where it has none."""
        return self._main.kind if self._main else "view"

    @property
    def kernel(self) -> int:
        """Kernel size of its costliest layer, or 0."""
        return self._main.kernel if self._main else 0

    @property
    def _main(self) -> Layer | None:
        return max(self.layers, key=lambda layer: layer.macs, default=None)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network from one tensor to one tensor.

    Attributes:
        module: What `fx` captured, in evaluation mode: the same function, with the modules and
            weights of the original.
        nodes: What it runs, in that order; never none.
        input_shape: Shape of its input without the batch axis.
        input_dtype: Element type of its input, in NumPy's words.
        input_bytes: Size of one input.
        output: Name of the node that gives the answer.
    """

    module: fx.GraphModule = field(repr=False)
    nodes: tuple[GraphNode, ...] = field(repr=False)
    input_shape: tuple[int, ...]
    input_dtype: str
    input_bytes: int
    output: str

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All rows, as `count_layers` gives them."""
        return tuple(layer for node in self.nodes for layer in node.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return total_macs(self.layers)

    @property
    def parameters(self) -> int:
        """Number of parameters that the network uses."""
        return total_parameters(self.layers)

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Every pair of a node, or `INPUT`, and a node that reads it, by order of the reader."""
        return tuple((read, node.name) for node in self.nodes for read in node.reads)

    @cached_property
    def skips(self) -> tuple[tuple[str, str], ...]:
        """The edges that lead past other nodes."""
        follows = set(self._in_order)
        return tuple(edge for edge in self.edges if edge not in follows)

    @property
    def is_chain(self) -> bool:
        """Whether every node reads the one before it and no other, and the last one answers."""
        return self.edges == self._in_order and self.output == self.nodes[-1].name

    def __getitem__(self, name: str) -> GraphNode:
        """Return the node called ``name``; raises ``KeyError`` where there is none."""
        return self._named[name]

    def readers(self, name: str) -> tuple[str, ...]:
        """Return the names of the nodes that read ``name``, in their order."""
        return tuple(reader for read, reader in self.edges if read == name)

    @property
    def _in_order(self) -> tuple[tuple[str, str], ...]:
        return tuple(pairwise((INPUT, *(node.name for node in self.nodes))))

    @cached_property
    def _named(self) -> dict[str, GraphNode]:
        return {node.name: node for node in self.nodes}
