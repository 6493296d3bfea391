"""A part of a network as a module of its own, from one tensor to one tensor."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import fx
from torch.fx.node import Argument

from hybridge.design.graph.graph import INPUT, Graph, GraphNode
from hybridge.errors import ConfigError, did_you_mean


def slice_graph(graph: Graph, names: Sequence[str]) -> fx.GraphModule:
    """Return consecutive nodes as a module that computes what they compute.

    Composed in order, the slices of a network give what it gives, bit for bit, for any number of
    images. A slice shares modules, parameters and buffers with the network, under the same paths,
    and puts those modules into evaluation mode. What prepares weights is done in every slice that
    reads them. Sizes of tensors that do not reach a slice are those that were captured, but for
    the first axis, which is the batch's and has the extent of that of the slice's input.

    Args:
        graph: The network.
        names: Names of the nodes, in the graph's order, with none left out between them.

    Raises:
        ConfigError: The names are not those of consecutive nodes, these take or give more than
            one tensor, or they look at something else than the size of a tensor that does not
            reach them.
    """
    chosen = _chosen(graph, names)
    source, answer = _source(graph, chosen), _answer(graph, chosen)
    copier = _Copier(graph, source)
    for node in chosen:
        copier.copy(node.origin)
    copier.made.output(copier.copy(graph[answer].origin))
    copier.made.lint()
    name = f"{type(graph.module).__name__}Slice"
    return fx.GraphModule(graph.module, copier.made, name).eval()


def _chosen(graph: Graph, names: Sequence[str]) -> tuple[GraphNode, ...]:
    order = [node.name for node in graph.nodes]
    for name in names:
        if name not in order:
            raise ConfigError(f"the network has no node {name!r}{did_you_mean(name, order)}")
    start = order.index(names[0]) if names else 0
    if not names or order[start : start + len(names)] != list(names):
        raise ConfigError(
            "expected nodes that follow one another in the network, none left out; "
            f"got {', '.join(names) or 'none'}"
        )
    return graph.nodes[start : start + len(names)]


def _source(graph: Graph, chosen: Sequence[GraphNode]) -> str:
    """Return the name of what alone ``chosen`` read from before them."""
    own = {node.name for node in chosen}
    read = list(dict.fromkeys(r for node in chosen for r in node.reads if r not in own))
    if len(read) != 1:
        raise ConfigError(
            f"the nodes from {chosen[0].name!r} to {chosen[-1].name!r} read {', '.join(read)}; "
            "expected nodes that read one tensor: begin after a skip, or before it"
        )
    return read[0]


def _answer(graph: Graph, chosen: Sequence[GraphNode]) -> str:
    """Return the name of what alone is read of ``chosen`` from behind them."""
    own = {node.name for node in chosen}
    given = [
        node.name
        for node in chosen
        if node.name == graph.output or not own.issuperset(graph.readers(node.name))
    ]
    if len(given) != 1:
        raise ConfigError(
            f"the nodes from {chosen[0].name!r} to {chosen[-1].name!r} hand on "
            f"{', '.join(given) or 'nothing'}; expected nodes that hand on one tensor: end "
            "after a skip, or before it"
        )
    return given[0]


class _Copier:
    """Copies nodes of a network's `fx` graph into another one.

    Args:
        graph: The network.
        source: Name of the node, or `INPUT`, whose tensor is the new graph's input.
    """

    def __init__(self, graph: Graph, source: str) -> None:
        self.made = fx.Graph()
        self._input = self.made.placeholder(INPUT)
        (pixels,) = graph.module.graph.find_nodes(op="placeholder")
        self._nodes = {node.origin: node for node in graph.nodes}
        self._known = {node.origin: (node.output_shape, node.output_dtype) for node in graph.nodes}
        self._known[pixels] = graph.input_shape, graph.input_dtype
        origin = pixels if source == INPUT else graph[source].origin
        self._copies: dict[fx.Node, Argument] = {origin: self._input}

    def copy(self, node: fx.Node) -> Argument:
        """Return the copy of a node, made with all that it reads unless there is one."""
        if node not in self._copies:
            outside = [read for read in node.all_input_nodes if self._is_outside(read)]
            self._copies[node] = (
                self._look(node, outside[0]) if outside else self.made.node_copy(node, self.copy)
            )
        return self._copies[node]

    def _is_outside(self, node: fx.Node) -> bool:
        return node in self._known and node not in self._copies

    def _look(self, node: fx.Node, outside: fx.Node) -> Argument:
        """Return what ``node`` sees of a tensor that does not reach the slice."""
        shape, dtype = self._known[outside]
        what, *more = _looked_at(node)
        if what in ("size", "shape"):
            extents: tuple[fx.Node | int, ...]
            extents = self.made.call_method("size", (self._input, 0)), *shape
            return extents[more[0]] if more else extents
        if what in ("dim", "ndim"):
            return len(shape) + 1
        if what == "dtype":
            return cast(torch.dtype, getattr(torch, dtype))
        if what == "device":
            return self.made.call_function(getattr, (self._input, "device"))
        reader = next((self._nodes[user].name for user in node.users if user in self._nodes), what)
        raise ConfigError(
            f"{reader!r} depends on {what!r} of a tensor that does not reach this part of the "
            "network; expected its size, dtype or device at most: cut elsewhere"
        )


def _looked_at(node: fx.Node) -> tuple[Any, ...]:
    """Return the property of a tensor that a node gives, and its axis where it gives but one."""
    if node.op == "call_function" and node.target is getattr:
        return (node.args[1],)
    if node.op == "call_method":
        return (node.target, *node.args[1:], *node.kwargs.values())
    return (getattr(node.target, "__name__", node.target),)
