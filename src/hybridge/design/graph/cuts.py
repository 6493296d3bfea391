"""Where a network can be cut: a row of units that hand one tensor on, and blocks of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from hybridge.design.graph.graph import INPUT, Graph, GraphNode
from hybridge.errors import ConfigError, did_you_mean
from hybridge.plan.layers import Layer, total_macs

Blocks = tuple[tuple["Unit", ...], ...]
"""Consecutive units, in consecutive blocks."""


@dataclass(frozen=True)
class Unit:
    """Consecutive nodes of a graph that read one tensor and hand on one tensor.

    Attributes:
        nodes: Names of the nodes, in the graph's order; never none.
        layers: What they cost.
    """

    nodes: tuple[str, ...]
    layers: tuple[Layer, ...]

    @property
    def first(self) -> str:
        """Name of its first node."""
        return self.nodes[0]

    @property
    def last(self) -> str:
        """Name of its last node, whose tensor it hands on."""
        return self.nodes[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return total_macs(self.layers)


def gives_one_tensor(node: GraphNode) -> bool:
    """Return whether a node gives one tensor, and not several in a tuple."""
    numbers = torch.Size(node.output_shape).numel()
    dtype = getattr(torch, node.output_dtype)
    return node.output_bytes == numbers * int(dtype.itemsize)


def units(graph: Graph) -> tuple[Unit, ...]:
    """Return a network as a row of units, with one tensor from each to the next.

    A unit begins with a node that multiplies; norms, activations, pools and views join the unit
    before. The first unit also has what stands before its first such node. What lies beside a
    skip cannot be cut by one tensor: a residual block is one unit (model tree, section V).
    """
    nodes = graph.nodes
    weighted = [index for index, node in enumerate(nodes) if node.macs]
    crossing = _last_readers(graph)
    starts = [0, *(index for index in weighted[1:] if _is_cut(nodes, index, crossing))]
    return tuple(_unit(nodes[start:stop]) for start, stop in pairwise([*starts, len(nodes)]))


def _last_readers(graph: Graph) -> list[int]:
    """Return, for the input and each node, the index of the last node that reads it, or -1.

    The answer is read from beyond the last node.
    """
    indices = {name: index for index, name in enumerate([INPUT, *(n.name for n in graph.nodes)])}
    last = [-1] * len(indices)
    for read, reader in graph.edges:
        last[indices[read]] = max(last[indices[read]], indices[reader] - 1)
    last[indices[graph.output]] = len(graph.nodes)
    return last


def _is_cut(nodes: Sequence[GraphNode], index: int, last_readers: Sequence[int]) -> bool:
    """Return whether the tensor of the node before ``index`` is all that crosses there."""
    crossing = [at for at, last in enumerate(last_readers[: index + 1]) if last >= index]
    return crossing == [index] and gives_one_tensor(nodes[index - 1])


def _unit(nodes: Sequence[GraphNode]) -> Unit:
    return Unit(
        nodes=tuple(node.name for node in nodes),
        layers=tuple(layer for node in nodes for layer in node.layers),
    )


def blocks(units: Sequence[Unit], count: int = 3) -> Blocks:
    """Return units in ``count`` consecutive blocks, balanced by multiply-accumulates.

    The largest block is as small as can be; of all such divisions this is the most even one, by
    the sum of squares.

    Raises:
        ConfigError: There are fewer units than blocks.
    """
    if not 1 <= count <= len(units):
        raise ConfigError(
            f"expected from 1 to {len(units)} blocks, since the network can be cut into no more "
            f"than {len(units)} units with one tensor between them; got {count}"
        )
    sums = [0, *accumulate(unit.macs for unit in units)]
    largest = _least(sums, count, None)[0]
    starts = _least(sums, count, largest)[1]
    return tuple(tuple(units[a:b]) for a, b in pairwise([*starts, len(units)]))


def _least(sums: Sequence[int], count: int, limit: int | None) -> tuple[int, tuple[int, ...]]:
    """Return the least largest block, or the least sum of squares of blocks within ``limit``.

    Args:
        sums: Multiply-accumulates before each unit, and of all.
        count: Number of blocks.
        limit: Most that a block may have; None asks for the least such limit.

    Returns:
        The number, and where each block starts.
    """
    last = len(sums) - 1
    found: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for block in range(1, count + 1):
        longer: dict[int, tuple[int, tuple[int, ...]]] = {}
        for stop in range(block, last - (count - block) + 1):
            for start, (cost, starts) in found.items():
                macs = sums[stop] - sums[start]
                if start >= stop or (limit is not None and macs > limit):
                    continue
                total = max(cost, macs) if limit is None else cost + macs * macs
                if stop not in longer or total < longer[stop][0]:
                    longer[stop] = total, (*starts, start)
        found = longer
    return found[last]


def blocks_at(units: Sequence[Unit], names: Sequence[str]) -> Blocks:
    """Return units in blocks that begin where a user says.

    Args:
        units: All units of a network.
        names: The node with which each block after the first begins, in any order.

    Raises:
        ConfigError: No cut is possible before one of these nodes, or one is named twice.
    """
    legal = {unit.first: index for index, unit in enumerate(units) if index}
    for name in names:
        if name not in legal:
            hint = did_you_mean(name, legal)
            raise ConfigError(
                f"no block can begin with {name!r}{hint or ':'} "
                + (f"one can begin with {', '.join(legal)}" if legal else "there is only one unit")
            )
        if list(names).count(name) > 1:
            raise ConfigError(f"expected different blocks, got {name!r} twice; name it once")
    starts = sorted(legal[name] for name in names)
    return tuple(tuple(units[a:b]) for a, b in pairwise([0, *starts, len(units)]))


def merged(units: Sequence[Unit], count: int) -> tuple[Unit, ...]:
    """Return at most ``count`` units: neighbours are joined, balanced as `blocks` are.

    Raises:
        ConfigError: The count is not positive.
    """
    if len(units) <= count:
        return tuple(units)
    return tuple(
        Unit(
            nodes=tuple(name for unit in block for name in unit.nodes),
            layers=tuple(layer for unit in block for layer in unit.layers),
        )
        for block in blocks(units, count)
    )
