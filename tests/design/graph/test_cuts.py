from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridge.design.graph.capture import capture
from hybridge.design.graph.cuts import Unit, blocks, blocks_at, merged, units
from hybridge.design.graph.outline import outline
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer


def row_of(name: str) -> tuple[Unit, ...]:
    return units(outline(name, class_count=10, resolution=32, channels=3))


def unit(name: str, macs: int) -> Unit:
    row = Layer(name=name, kind="conv", kernel=3, macs=macs, parameters=1, output_bytes=1)
    return Unit((name,), (row,))


def test_a_chain_is_cut_before_every_layer_with_weights():
    row = row_of("vgg11_cifar")
    assert [unit.first for unit in row] == [
        *(f"features.{index}" for index in (0, 4, 8, 11, 15, 18, 22, 25)),
        "classifier",
    ]
    assert row[0].nodes == tuple(f"features.{index}" for index in range(4))
    assert row[-2].nodes[-2:] == ("pool", "flatten")
    assert (row[1].last, row[1].macs) == ("features.7", 9 * 64 * 128 * 16 * 16)


def test_a_residual_block_is_one_unit():
    row = row_of("cifar_resnet20")
    assert len(row) == 1 + 9 + 1
    assert row[1].nodes[0] == "layer1.0.conv1"
    assert row[1].nodes[-2:] == ("layer1.0.add", "layer1.0.relu:2")
    assert row[-1].nodes == ("linear",)


@pytest.mark.parametrize("name", ["resnet50", "vgg19", "alexnet_cifar", "small_cnn"])
def test_units_hold_the_whole_network_and_hand_on_one_tensor(name):
    info = networks.get(name)
    graph = outline(
        name,
        class_count=info.class_count,
        resolution=info.resolution,
        channels=info.channels,
    )
    row = units(graph)
    assert [node for unit in row for node in unit.nodes] == [node.name for node in graph.nodes]
    assert tuple(layer for unit in row for layer in unit.layers) == graph.layers
    for before, after in pairwise(row):
        own = set(after.nodes)
        assert {read for node in after.nodes for read in graph[node].reads} - own == {before.last}
        assert graph[after.first].macs


def test_what_prepares_pixels_joins_the_first_unit():
    info = networks.get("cifar_resnet8")
    with torch.device("meta"):
        network = PixelNetwork(build("cifar_resnet8", 10), info.mean, info.std)
        graph = capture(network, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    first, second, *_ = units(graph)
    assert first.first == "permute"
    assert first.last == "network.relu"
    assert second.first == "network.layer1.0.conv1"


class Split(nn.Module):
    """One operation gives two tensors, which two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = (nn.Linear(2, 2) for _ in range(3))

    def forward(self, rows):
        left, right = rows.chunk(2, dim=1)
        return self.last(self.left(left) + self.right(right))


def test_several_tensors_are_no_cut():
    graph = capture(Split(), torch.ones(1, 4))
    assert [unit.first for unit in units(graph)] == ["chunk", "last"]


def test_a_network_that_multiplies_nothing_is_one_unit():
    (only,) = units(capture(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.ones(1, 2, 2)))
    assert only.nodes == ("0", "1")


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.data())
def test_blocks_are_as_even_as_can_be(macs, data):
    count = data.draw(st.integers(1, len(macs)))
    row = [unit(f"unit{index}", each) for index, each in enumerate(macs)]
    found = blocks(row, count)
    assert [each for block in found for each in block] == row

    def order(sums):
        return max(sums), sum(each**2 for each in sums)

    every = (
        order([sum(macs[a:b]) for a, b in pairwise([0, *ends, len(macs)])])
        for ends in combinations(range(1, len(macs)), count - 1)
    )
    assert order([sum(each.macs for each in block) for block in found]) == min(every)


def test_three_blocks_by_default():
    found = blocks(row_of("vgg11_cifar"))
    assert [block[0].first for block in found] == ["features.0", "features.11", "features.18"]


@pytest.mark.parametrize("count", [0, 4])
def test_more_blocks_than_units_are_refused(count):
    with pytest.raises(ConfigError, match=f"from 1 to 3 blocks.*got {count}"):
        blocks([unit(name, 1) for name in "abc"], count)


def test_blocks_begin_where_a_user_says():
    row = row_of("cifar_resnet8")
    found = blocks_at(row, ["linear", "layer2.0.conv1"])
    assert [block[0].first for block in found] == ["conv1", "layer2.0.conv1", "linear"]
    assert [each for block in found for each in block] == list(row)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["layer1.0.conv2"], r"no block can begin with 'layer1.0.conv2'.*layer2.0.conv1"),
        (["conv1"], "no block can begin with 'conv1'"),
        (["linear", "linear"], "'linear' twice"),
    ],
)
def test_other_beginnings_are_refused(names, reason):
    with pytest.raises(ConfigError, match=reason):
        blocks_at(row_of("cifar_resnet8"), names)


def test_neighbours_are_joined():
    row = row_of("cifar_resnet20")
    few = merged(row, 4)
    assert len(few) == 4
    assert [node for unit in few for node in unit.nodes] == [n for u in row for n in u.nodes]
    assert sum(unit.macs for unit in few) == sum(unit.macs for unit in row)
    assert few[1].first in {unit.first for unit in row}
    assert merged(row, 50) == row
