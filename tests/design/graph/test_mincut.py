import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridge.cost.device import device_named
from hybridge.design.graph.graph import INPUT
from hybridge.design.graph.mincut import minimum_cut, surgery
from hybridge.design.graph.outline import outline
from hybridge.design.graph.partition import (
    Partition,
    Partitionable,
    cloud_only,
    edge_only,
    partition_at,
    partitionable,
)
from hybridge.errors import ConfigError
from hybridge.links.link import Link, link_named


def every_partition(what: Partitionable, link: Link) -> list[Partition]:
    """Return all partitions that send no more than the input, by trying every set of nodes."""
    found, limit = [], what.payload_bytes[INPUT]
    names = list(what.edge_ms)
    for chosen in product((False, True), repeat=len(names)):
        cloud = {name for name, far in zip(names, chosen, strict=True) if far}
        try:
            partition = partition_at(what, cloud, link)
        except ConfigError:
            continue
        small = all(
            name == INPUT or what.payload_bytes[name] < limit for name in partition.crossing
        )
        if small and partition.payload_bytes <= limit:
            found.append(partition)
    return found


def assert_fastest(what: Partitionable, link: Link) -> None:
    found = minimum_cut(what, link)
    least_ms = min(partition.latency_ms for partition in every_partition(what, link))
    assert found.latency_ms == pytest.approx(least_ms, rel=1e-6, abs=1e-9)
    assert found == partition_at(what, found.cloud, link)
    assert found.payload_bytes <= what.payload_bytes[INPUT]


def random_network(count: int, seed: int, *, speedup: float = 20) -> Partitionable:
    """Return a network of which each node reads up to three of those shortly before it."""
    rng = np.random.default_rng(seed)
    names = [f"node{index}" for index in range(count)]
    edges = []
    for index, name in enumerate(names):
        near = [INPUT, *names][max(0, index - 7) : index + 1]
        reads = rng.choice(near, size=min(len(near), rng.integers(1, 4)), replace=False)
        edges += [(str(read), name) for read in reads]
    edge_ms = rng.exponential(1, count)
    cloud_ms = edge_ms / speedup * rng.uniform(0.5, 1.5, count)
    sizes = rng.exponential(2000, count) * np.linspace(2, 0.1, count)
    return Partitionable(
        edge_ms=dict(zip(names, edge_ms.tolist(), strict=True)),
        cloud_ms=dict(zip(names, cloud_ms.tolist(), strict=True)),
        edges=tuple(edges),
        payload_bytes={INPUT: 3000.0, **dict(zip(names, sizes.tolist(), strict=True))},
        edge_overhead_ms=float(rng.exponential(1)),
        cloud_overhead_ms=float(rng.exponential(1)),
    )


@pytest.mark.parametrize("seed", range(200))
def test_no_partition_is_faster(seed):
    rng = np.random.default_rng(seed)
    what = random_network(int(rng.integers(1, 10)), seed, speedup=float(rng.choice([0.8, 2, 20])))
    link = Link(10 ** rng.uniform(5, 9), rng.exponential(2), "", rng.exponential(1), 1e-5)
    assert_fastest(what, link)


whole_ms = st.integers(0, 5).map(float)


@st.composite
def networks_full_of_ties(draw):
    count = draw(st.integers(1, 7))
    names = [INPUT, *(f"node{index}" for index in range(count))]
    pairs = [(read, reader) for at, reader in enumerate(names) for read in names[:at]]
    each = st.lists(whole_ms, min_size=count, max_size=count)
    times = [dict(zip(names[1:], draw(each), strict=True)) for _ in range(2)]
    sizes = draw(st.dictionaries(st.sampled_from(names[1:]), st.integers(0, 3).map(float)))
    return Partitionable(
        *times,
        edges=tuple(pair for pair in pairs if draw(st.booleans())),
        payload_bytes={INPUT: float(draw(st.integers(0, 4))), **sizes},
        edge_overhead_ms=draw(whole_ms),
        cloud_overhead_ms=draw(whole_ms),
    )


@given(networks_full_of_ties(), st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([8e3, 8e15]))
@settings(max_examples=150)
def test_ties_and_tensors_that_cannot_be_sent(what, rtt_ms, bandwidth_bps):
    assert_fastest(what, Link(bandwidth_bps, rtt_ms))


CHAIN = Partitionable(
    edge_ms={"a": 1.0, "b": 1.0, "c": 40.0},
    cloud_ms={"a": 0.5, "b": 0.5, "c": 4.0},
    edges=((INPUT, "a"), ("a", "b"), ("b", "c")),
    payload_bytes={INPUT: 8000.0, "a": 9000.0, "b": 1000.0, "c": 10.0},
    edge_overhead_ms=2.0,
    cloud_overhead_ms=3.0,
)


@pytest.mark.parametrize(
    ("bandwidth_mbps", "cloud", "crossing", "parts_ms"),
    [
        (0.1, set(), (), (44, 0, 0)),
        (8, {"c"}, ("b",), (4, 1 + 5 + 2, 7)),
        (800, {"a", "b", "c"}, (INPUT,), (0, 0.08 + 5 + 2, 8)),
    ],
)
def test_the_cut_moves_with_the_bandwidth(bandwidth_mbps, cloud, crossing, parts_ms):
    found = minimum_cut(CHAIN, Link(bandwidth_mbps * 1e6, rtt_ms=5, message_ms=2))
    assert (found.cloud, found.crossing) == (cloud, crossing)
    assert (found.edge_ms, found.link_ms, found.cloud_ms) == pytest.approx(parts_ms)
    assert found.latency_ms == pytest.approx(sum(parts_ms))


def test_a_tensor_is_sent_once_whoever_reads_it():
    what = Partitionable(
        edge_ms={"stem": 0.0, "left": 50.0, "right": 50.0},
        cloud_ms={"stem": 100.0, "left": 0.0, "right": 0.0},
        edges=((INPUT, "stem"), ("stem", "left"), ("stem", "right")),
        payload_bytes={INPUT: 2000.0, "stem": 1000.0},
    )
    found = minimum_cut(what, Link(8e5))
    assert (found.crossing, found.payload_bytes, found.link_ms) == (("stem",), 1000, 10)


def test_more_bytes_than_the_input_are_never_sent():
    """Though the edge would be faster with the first node, whatever a byte costs."""
    what = Partitionable(
        edge_ms={"wide": 0.0, "deep": 100.0},
        cloud_ms={"wide": 9.0, "deep": 1.0},
        edges=((INPUT, "wide"), ("wide", "deep")),
        payload_bytes={INPUT: 100.0, "wide": 101.0},
    )
    assert minimum_cut(what, Link(1e15)).crossing == (INPUT,)


def test_nor_are_several_tensors_that_take_more_together():
    what = Partitionable(
        edge_ms={"left": 0.0, "right": 0.0, "deep": 100.0},
        cloud_ms={"left": 9.0, "right": 8.0, "deep": 1.0},
        edges=((INPUT, "left"), (INPUT, "right"), ("left", "deep"), ("right", "deep")),
        payload_bytes={INPUT: 100.0, "left": 60.0, "right": 60.0},
    )
    assert minimum_cut(what, Link(1e15)).crossing == (INPUT,)
    assert_fastest(what, Link(1e15))


def test_a_thousand_nodes_take_little_time():
    """Bound: 50 ms; `benchmarks/mincut.py` measures it. Here a loaded machine may be slow."""
    what = random_network(1000, seed=0)
    what = replace(what, payload_bytes={**what.payload_bytes, INPUT: 30_000.0})
    link = Link(1e6, rtt_ms=20)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = minimum_cut(what, link)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.25
    assert 0 < len(found.cloud) < 1000
    assert found.latency_ms < min(
        edge_only(what, link).latency_ms, cloud_only(what, link).latency_ms
    )


@pytest.mark.parametrize("name", ["vgg11_cifar", "cifar_resnet20"])
def test_a_network_is_cut_where_it_is_fastest(name):
    graph = outline(name, class_count=10, resolution=32, channels=3)
    device, cloud = device_named("xiaomi-mi6x"), device_named("gtx1080ti")
    sizes = {node.name: node.output_bytes / 8 for node in graph.nodes} | {INPUT: 3072.0}
    what = partitionable(graph, device, cloud, sizes)
    names = [node.name for node in graph.nodes]
    for mbps in (0.5, 5, 50, 500):
        link = Link(mbps * 1e6, link_named("lte-near").rtt_ms / 10)
        found = surgery(graph, device, cloud, link, sizes)
        for start in range(len(names) + 1):
            after = partition_at(what, set(names[start:]), link)
            if after.payload_bytes <= sizes[INPUT]:
                assert found.latency_ms <= after.latency_ms * (1 + 1e-6)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cloud_ms": {"a": 1.0}}, "time of each node on both sides"),
        ({"payload_bytes": {"a": 1.0}}, "encoded size of the 'input'"),
        ({"payload_bytes": {INPUT: 1.0, "a": -1.0}}, "'a': expected an encoded size of 0 or more"),
        ({"edges": (("b", "a"),)}, "from earlier to later nodes"),
        ({"edges": (("z", "a"),)}, "from earlier to later nodes"),
        ({"cloud_overhead_ms": float("nan")}, "'cloud': expected a program's overhead"),
    ],
)
def test_what_does_not_fit_is_refused(changed, reason):
    with pytest.raises(ConfigError, match=reason):
        replace(CHAIN, **changed)


def test_impossible_partitions_are_refused():
    link = Link(1e6)
    with pytest.raises(ConfigError, match="'b' on the edge reads 'a' in the cloud"):
        partition_at(CHAIN, {"a"}, link)
    with pytest.raises(ConfigError, match="expected names of nodes, got d"):
        partition_at(CHAIN, {"d"}, link)
    unsized = replace(CHAIN, payload_bytes={INPUT: 1.0})
    with pytest.raises(ConfigError, match="'b' cannot be sent"):
        partition_at(unsized, {"c"}, link)
