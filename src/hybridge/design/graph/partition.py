"""A network in two parts, one on the edge and one in the cloud, and what an input then takes."""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from hybridge.cost.device import Device
from hybridge.cost.price import layer_ms
from hybridge.design.graph.graph import INPUT, Graph
from hybridge.errors import ConfigError
from hybridge.links.link import Link


@dataclass(frozen=True)
class Partitionable:
    """What a network takes on either side, node by node, and what its tensors take to send.

    Raises `ConfigError` where a number is negative or not finite, or nodes and edges do not fit.

    Attributes:
        edge_ms: Time of each node on the edge, in an order in which they can run.
        cloud_ms: Time of each of them in the cloud.
        edges: Every pair of a node, or `INPUT`, and a node that reads it.
        payload_bytes: Encoded size of the tensor that each node gives, and of `INPUT`. A tensor
            without one cannot be sent.
        edge_overhead_ms: What the edge's program takes beyond its nodes, if there is one.
        cloud_overhead_ms: What the cloud's program takes beyond its nodes, if there is one.
    """

    edge_ms: Mapping[str, float]
    cloud_ms: Mapping[str, float]
    edges: tuple[tuple[str, str], ...]
    payload_bytes: Mapping[str, float]
    edge_overhead_ms: float = 0.0
    cloud_overhead_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.cloud_ms.keys() != self.edge_ms.keys():
            odd = sorted(self.cloud_ms.keys() ^ self.edge_ms.keys())
            raise ConfigError(f"expected a time of each node on both sides, got one of {odd}")
        if INPUT not in self.payload_bytes:
            raise ConfigError(f"expected the encoded size of the {INPUT!r}, got none")
        overheads = {"edge": self.edge_overhead_ms, "cloud": self.cloud_overhead_ms}
        for what, numbers in (
            ("a time on the edge", self.edge_ms),
            ("a time in the cloud", self.cloud_ms),
            ("an encoded size", self.payload_bytes),
            ("a program's overhead", overheads),
        ):
            for name, number in numbers.items():
                if not 0 <= number < math.inf:
                    raise ConfigError(f"{name!r}: expected {what} of 0 or more, got {number}")
        order = {name: index for index, name in enumerate([INPUT, *self.edge_ms])}
        for edge in self.edges:
            if not order.get(edge[0], len(order)) < order.get(edge[1], -1):
                raise ConfigError(f"expected edges from earlier to later nodes, got {edge}")

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that read each tensor that is read, in the order of the nodes."""
        found: dict[str, list[str]] = {INPUT: [], **{name: [] for name in self.edge_ms}}
        for read, reader in self.edges:
            found[read].append(reader)
        return {name: tuple(readers) for name, readers in found.items() if readers}


@dataclass(frozen=True)
class Partition:
    """Where each node runs, and what an input takes.

    Attributes:
        cloud: Names of the nodes in the cloud; all others are on the edge.
        crossing: What is sent, in the network's order; `INPUT` is what the network is given.
        payload_bytes: Encoded size of all that is sent.
        edge_ms: Time on the edge, with its program's overhead.
        link_ms: Time of the transfer: one message, whatever the number of tensors.
        cloud_ms: Time in the cloud, with its program's overhead.
    """

    cloud: frozenset[str]
    crossing: tuple[str, ...]
    payload_bytes: float
    edge_ms: float
    link_ms: float
    cloud_ms: float

    @property
    def latency_ms(self) -> float:
        """Time from the input to the answer, whose way back is in the round trip."""
        return self.edge_ms + self.link_ms + self.cloud_ms


def partitionable(
    graph: Graph, device: Device, cloud: Device, payload_bytes: Mapping[str, float]
) -> Partitionable:
    """Return what a network takes on a device and in the cloud.

    Args:
        graph: The network.
        device: Prices what runs on the edge.
        cloud: Prices what runs in the cloud.
        payload_bytes: Encoded size of each node's tensor, and of `INPUT`.

    Raises:
        ConfigError: A device knows no speed for some layer, or a size is no size.
    """

    def times(where: Device) -> dict[str, float]:
        return {
            node.name: sum(layer_ms(layer, where) for layer in node.layers) for node in graph.nodes
        }

    return Partitionable(
        edge_ms=times(device),
        cloud_ms=times(cloud),
        edges=graph.edges,
        payload_bytes=payload_bytes,
        edge_overhead_ms=device.overhead_ms.value,
        cloud_overhead_ms=cloud.overhead_ms.value,
    )


def partition_at(what: Partitionable, cloud: Set[str], link: Link) -> Partition:
    """Return what an input takes where ``cloud`` says what runs in the cloud.

    Args:
        what: The network.
        cloud: Names of nodes, with all that read them; none for the edge alone.
        link: What lies between.

    Raises:
        ConfigError: Something in the cloud is read on the edge, or what would be sent has no
            encoded size.
    """
    if unknown := sorted(cloud - what.edge_ms.keys()):
        raise ConfigError(f"expected names of nodes, got {', '.join(unknown)}")
    for read, reader in what.edges:
        if read in cloud and reader not in cloud:
            raise ConfigError(
                f"{reader!r} on the edge reads {read!r} in the cloud, from where nothing but the "
                "answer comes back; move both to one side"
            )
    crossing = tuple(
        read
        for read, readers in what.readers.items()
        if read not in cloud and not cloud.isdisjoint(readers)
    )
    for name in crossing:
        if name not in what.payload_bytes:
            raise ConfigError(f"{name!r} cannot be sent: it has no encoded size; cut elsewhere")
    payload_bytes = sum(what.payload_bytes[name] for name in crossing)
    edge = [ms for name, ms in what.edge_ms.items() if name not in cloud]
    far = [ms for name, ms in what.cloud_ms.items() if name in cloud]
    return Partition(
        cloud=frozenset(cloud),
        crossing=crossing,
        payload_bytes=payload_bytes,
        edge_ms=math.fsum([*edge, what.edge_overhead_ms]) if edge else 0.0,
        link_ms=link.transfer_ms(payload_bytes) if far else 0.0,
        cloud_ms=math.fsum([*far, what.cloud_overhead_ms]) if far else 0.0,
    )


def edge_only(what: Partitionable, link: Link) -> Partition:
    """Return the partition that never sends anything."""
    return partition_at(what, frozenset(), link)


def cloud_only(what: Partitionable, link: Link) -> Partition:
    """Return the partition that sends the input."""
    return partition_at(what, what.edge_ms.keys(), link)
