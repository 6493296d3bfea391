"""Dynamic DNN surgery: the fastest partition of a network, as a minimum cut.

After Hu et al., "Dynamic adaptive DNN surgery for inference acceleration on the edge", INFOCOM
2019, which the model-tree paper compares itself with. A cut splits a flow network into the side of
its source, the edge, and that of its sink, the cloud. What it cuts is what an input takes.
"""

import heapq
import math
from collections.abc import Mapping, Set

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from hybridge.cost.device import Device
from hybridge.design.graph.graph import INPUT, Graph
from hybridge.design.graph.partition import (
    Partition,
    Partitionable,
    cloud_only,
    edge_only,
    partition_at,
    partitionable,
)
from hybridge.errors import ConfigError
from hybridge.links.link import Link

#: The lesser of edge only and cloud only, in steps of a flow. SciPy's flow has 32 bits.
_STEPS = 1 << 29
#: More than any cut that could be the least.
_NEVER = 1 << 30
_EDGE, _CLOUD = 0, 1
_MOST_CUTS = 1000


def surgery(
    graph: Graph, device: Device, cloud: Device, link: Link, payload_bytes: Mapping[str, float]
) -> Partition:
    """Return the fastest partition of a network between a device and the cloud.

    Args:
        graph: The network.
        device: Prices what runs on the edge.
        cloud: Prices what runs in the cloud.
        link: What lies between.
        payload_bytes: Encoded size of each node's tensor, and of `INPUT`; a node without one
            cannot be cut behind. `hybridge.design.graph.sizes` finds them.

    Raises:
        ConfigError: A device knows no speed for some layer, or a size is no size.
    """
    return minimum_cut(partitionable(graph, device, cloud, payload_bytes), link)


def minimum_cut(what: Partitionable, link: Link) -> Partition:
    """Return the partition of least latency that sends no more than the encoded input takes.

    A tensor that several nodes in the cloud read is sent once, and nothing but the answer comes
    back. The round trip, ``message_ms`` and each program's overhead are paid once, where there is
    a program. To send the input, and never to send anything, are partitions as well.

    Exact but for rounding: every time is a whole number of steps of ``2^-29`` of what the better
    of edge only and cloud only takes beyond the least that the nodes take wherever they are. What
    is returned is priced without rounding.

    Raises:
        ConfigError: A thousand cuts all send more than the input. That takes an edge that is the
            faster side for some nodes, and many tensors beside one another.
    """
    best = min(edge_only(what, link), cloud_only(what, link), key=lambda each: each.latency_ms)
    if best.latency_ms <= _unavoidable_ms(what):
        return best
    limit = what.payload_bytes[INPUT]
    # What takes no fewer bytes than the input is never sent; nor are several tensors that do so
    # together. Then one of them has to stay: each case is tried, the most promising first.
    smaller = {name for name, size in what.payload_bytes.items() if size < limit}
    search = _Search(_Flow(what, link, best), best)
    search.add(frozenset(smaller | {INPUT}))
    while (found := search.next()) is not None:
        partition, may_cross = found
        if partition.payload_bytes <= limit:
            return partition
        for name in partition.crossing:
            search.add(may_cross - {name})
    return best


def _unavoidable_ms(what: Partitionable) -> float:
    return math.fsum(min(ms, what.cloud_ms[name]) for name, ms in what.edge_ms.items())


class _Search:
    """Cuts by what may cross, the fastest first; of those that beat ``best``."""

    def __init__(self, flow: "_Flow", best: Partition) -> None:
        self._flow, self._best = flow, best
        self._waiting: list[tuple[float, int, Partition, frozenset[str]]] = []
        self._seen: set[frozenset[str]] = set()

    def add(self, may_cross: frozenset[str]) -> None:
        """Find the fastest cut where nothing crosses but some of ``may_cross``."""
        if may_cross in self._seen:
            return
        if len(self._seen) == _MOST_CUTS:
            raise ConfigError(
                f"{_MOST_CUTS} cuts all send more than the encoded input; give fewer tensors an "
                "encoded size, or take a cloud that is faster than the edge"
            )
        self._seen.add(may_cross)
        found = self._flow.cut(may_cross)
        if found is not None and found.latency_ms < self._best.latency_ms:
            heapq.heappush(self._waiting, (found.latency_ms, len(self._seen), found, may_cross))

    def next(self) -> tuple[Partition, frozenset[str]] | None:
        """Return the fastest cut that is left, and what might have crossed there."""
        return heapq.heappop(self._waiting)[2:] if self._waiting else None


class _Flow:
    """A network as a flow network, whose cuts of finite capacity are its partitions.

    Its vertices are the two sides, the nodes, and helpers: one for every tensor that is read, which
    is in the cloud when the tensor is sent, and one for each of what is paid once, the request by
    any node in the cloud, the edge's program by any node on the edge.

    Args:
        what: The network.
        link: What lies between.
        best: A partition that is known; no other than faster ones are looked for.
    """

    def __init__(self, what: Partitionable, link: Link, best: Partition) -> None:
        self._what, self._link = what, link
        self._names = list(what.edge_ms)
        self._arcs: list[tuple[int, int, float]] = []
        self._tensors: dict[str, int] = {}
        self._vertices = 2 + len(self._names)
        self._places = {name: index for index, name in enumerate(self._names, 2)}
        byte_ms = link.byte_ms + 8000 / link.bandwidth_bps
        self._add_nodes()
        self._add_tensors(byte_ms)
        self._add_overheads(link.transfer_ms(0) + what.cloud_overhead_ms)
        scale = _STEPS / (best.latency_ms - _unavoidable_ms(what))
        ms = np.array([arc[2] for arc in self._arcs])
        self._capacities = np.rint(np.minimum(ms * scale, _NEVER)).astype(np.int32)
        ends = np.array([arc[:2] for arc in self._arcs], dtype=np.int32)
        self._from, self._to = ends[:, 0], ends[:, 1]

    def _add_nodes(self) -> None:
        """Add what each node takes on either side beyond the lesser of both."""
        for name, vertex in self._places.items():
            edge_ms, cloud_ms = self._what.edge_ms[name], self._what.cloud_ms[name]
            least_ms = min(edge_ms, cloud_ms)
            self._arcs.append((vertex, _CLOUD, edge_ms - least_ms))
            self._arcs.append((_EDGE, vertex, cloud_ms - least_ms))

    def _add_tensors(self, byte_ms: float) -> None:
        """Add each tensor's transfer, once for all its readers, and that none comes back."""
        for read, readers in self._what.readers.items():
            source = _EDGE if read == INPUT else self._places[read]
            sent = self._helper()
            self._tensors[read] = len(self._arcs)
            payload_bytes = self._what.payload_bytes.get(read, math.inf)
            self._arcs.append((source, sent, byte_ms * payload_bytes))
            for reader in readers:
                self._arcs.append((sent, self._places[reader], math.inf))
                if read != INPUT:
                    self._arcs.append((self._places[reader], source, math.inf))

    def _add_overheads(self, request_ms: float) -> None:
        """Add what is paid once: by the last nodes in the cloud, by the first ones on the edge.

        If any node is in the cloud, one that nothing reads is; if any is on the edge, one that
        reads no other node is.
        """
        reads_a_node = {reader for read, reader in self._what.edges if read != INPUT}
        request, program = self._helper(), self._helper()
        self._arcs.append((_EDGE, request, request_ms))
        self._arcs.append((program, _CLOUD, self._what.edge_overhead_ms))
        for name, vertex in self._places.items():
            if name not in self._what.readers:
                self._arcs.append((request, vertex, math.inf))
            if name not in reads_a_node:
                self._arcs.append((vertex, program, math.inf))

    def _helper(self) -> int:
        self._vertices += 1
        return self._vertices - 1

    def cut(self, may_cross: Set[str]) -> Partition | None:
        """Return the fastest partition where only some of ``may_cross`` cross.

        None stands for one that is no faster than the best one known.
        """
        capacities = self._capacities.copy()
        for name, arc in self._tensors.items():
            if name not in may_cross:
                capacities[arc] = _NEVER
        shape = (self._vertices, self._vertices)
        network = csr_array((capacities, (self._from, self._to)), shape=shape)
        found = maximum_flow(network, _EDGE, _CLOUD)
        if found.flow_value > _STEPS:
            return None
        left = (network - found.flow).T.tocsr()
        left.eliminate_zeros()
        # What still reaches the sink is the least that can be in the cloud.
        in_cloud = breadth_first_order(left, _CLOUD, return_predecessors=False)
        cloud = {
            self._names[vertex - 2] for vertex in in_cloud if 0 <= vertex - 2 < len(self._names)
        }
        return partition_at(self._what, cloud, self._link)
