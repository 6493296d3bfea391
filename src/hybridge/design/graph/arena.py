"""Working memory that a network needs where it runs in 8-bit integers."""

import math

from hybridge.design.graph.graph import INPUT, Graph, GraphNode

#: Nodes that write where they read: runtimes fuse them into the node before.
_IN_PLACE = ("norm", "activation", "view")


def arena_bytes(graph: Graph) -> int:
    """Return the most bytes that are alive at once: what is still to be read, and what is written.

    Every number takes one byte. Normalisation and activations work in place where nothing else
    reads their input; what a runtime needs beyond tensors is not counted.

    Args:
        graph: The network, run node by node in its order.
    """
    root = _roots(graph)
    last_read = {
        root[name]: position
        for position, node in enumerate(graph.nodes)
        for name in (*node.reads, node.name)
    }
    sizes = {INPUT: math.prod(graph.input_shape)}
    most = sizes[INPUT]
    for position, node in enumerate(graph.nodes):
        if root[node.name] == node.name:
            sizes[node.name] = math.prod(node.output_shape)
        alive = [size for name, size in sizes.items() if last_read.get(name, -1) >= position]
        most = max(most, sum(alive))
    return most


def _roots(graph: Graph) -> dict[str, str]:
    """Return, for every tensor, the one in whose place it is written: its own, or an earlier."""
    root = {INPUT: INPUT}
    for node in graph.nodes:
        root[node.name] = root[node.reads[0]] if _is_in_place(graph, node) else node.name
    return root


def _is_in_place(graph: Graph, node: GraphNode) -> bool:
    if len(node.reads) != 1 or node.kind not in _IN_PLACE:
        return False
    return node.kind == "view" or graph.readers(node.reads[0]) == (node.name,)
