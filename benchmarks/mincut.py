"""The fastest partition of a network of a thousand nodes, as a minimum cut.

Bound: 50 milliseconds. Nodes read up to three of the seven before them, times and sizes are random,
and the cloud is about twenty times as fast as the edge. Each turn cuts every network once.
"""

import numpy as np
from common import Row, arguments, interleaved_us, report

from hybridge.design.graph.graph import INPUT
from hybridge.design.graph.mincut import minimum_cut
from hybridge.design.graph.partition import Partitionable
from hybridge.links.link import Link

NODES = 1000
LINK = Link(1e6, rtt_ms=20)


def random_network(seed: int) -> Partitionable:
    rng = np.random.default_rng(seed)
    names = [f"node{index}" for index in range(NODES)]
    edges = []
    for index, name in enumerate(names):
        near = [INPUT, *names][max(0, index - 7) : index + 1]
        reads = rng.choice(near, size=min(len(near), rng.integers(1, 4)), replace=False)
        edges += [(str(read), name) for read in reads]
    edge_ms = rng.exponential(1, NODES)
    cloud_ms = edge_ms / 20 * rng.uniform(0.5, 1.5, NODES)
    payload_bytes = rng.exponential(2000, NODES) * np.linspace(2, 0.1, NODES)
    return Partitionable(
        edge_ms=dict(zip(names, edge_ms.tolist(), strict=True)),
        cloud_ms=dict(zip(names, cloud_ms.tolist(), strict=True)),
        edges=tuple(edges),
        payload_bytes={INPUT: 30_000.0, **dict(zip(names, payload_bytes.tolist(), strict=True))},
        edge_overhead_ms=1.0,
        cloud_overhead_ms=2.0,
    )


def main() -> None:
    settings = arguments(__doc__, rounds=50)
    networks = [random_network(settings.seed + number) for number in range(5)]
    calls = [lambda network=network: minimum_cut(network, LINK) for network in networks]
    times_ms = interleaved_us(calls, settings.rounds, warmup=2) / 1e3
    rows: list[Row] = [
        {
            "what": f"{NODES:,} nodes, {len(network.edges):,} edges",
            "median_ms": float(np.median(times)),
            "worst_ms": float(times.max()),
            "in the cloud": float(len(minimum_cut(network, LINK).cloud)),
        }
        for network, times in zip(networks, times_ms, strict=True)
    ]
    report("A minimum cut", rows, settings)


if __name__ == "__main__":
    main()
