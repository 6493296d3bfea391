import copy
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridge.design.export.onnx import freeze
from hybridge.design.graph.capture import capture
from hybridge.design.graph.cuts import blocks, units
from hybridge.design.graph.graph import Graph
from hybridge.design.graph.slice import slice_graph
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.errors import ConfigError
from hybridge.plan.tensors import TensorSpec

NAMES = ("vgg11_cifar", "alexnet_cifar", "cifar_resnet8", "cifar_resnet20")


@cache
def network(name: str, *, pixels: bool) -> nn.Module:
    torch.manual_seed(0)
    info = networks.get(name)
    plain = build(name, 10).eval()
    return PixelNetwork(plain, info.mean, info.std).eval() if pixels else plain


def images(count: int, *, pixels: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    if pixels:
        shape = (count, 32, 32, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return torch.rand(count, 3, 32, 32, generator=generator)


@cache
def captured(name: str, *, pixels: bool) -> Graph:
    return capture(network(name, pixels=pixels), images(1, pixels=pixels))


@torch.no_grad()
def composed(graph: Graph, parts: list[tuple[str, ...]], inputs: torch.Tensor) -> torch.Tensor:
    for names in parts:
        inputs = slice_graph(graph, names)(inputs)
    return inputs


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_slices_compute_what_the_network_computes(name, pixels):
    graph = captured(name, pixels=pixels)
    parts = [unit.nodes for unit in units(graph)]
    for count in (1, 3):
        inputs = images(count, pixels=pixels)
        with torch.no_grad():
            expected = network(name, pixels=pixels)(inputs)
        assert torch.equal(composed(graph, parts, inputs), expected)


@given(st.sampled_from(NAMES), st.booleans(), st.sampled_from((1, 3)), st.data())
def test_it_does_not_matter_where_it_is_sliced(name, pixels, count, data):
    graph = captured(name, pixels=pixels)
    row = units(graph)
    cuts = data.draw(st.sets(st.integers(1, len(row) - 1)))
    ends = [0, *sorted(cuts), len(row)]
    parts = [
        tuple(node for unit in row[start:stop] for node in unit.nodes)
        for start, stop in pairwise(ends)
    ]
    inputs = images(count, pixels=pixels)
    with torch.no_grad():
        assert torch.equal(composed(graph, parts, inputs), network(name, pixels=pixels)(inputs))


def test_a_slice_has_the_networks_own_modules():
    whole = network("vgg11_cifar", pixels=True)
    graph = captured("vgg11_cifar", pixels=True)
    first, second, *_ = (slice_graph(graph, unit.nodes) for unit in units(graph))
    assert second.get_submodule("network.features.4") is whole.network.features[4]
    assert first.mean is whole.mean
    assert "network.features.4.weight" in dict(second.named_parameters())
    assert not second.training
    with pytest.raises(AttributeError):
        second.get_submodule("network.features.0")


def test_a_copy_of_a_slice_has_weights_of_its_own():
    graph = captured("cifar_resnet8", pixels=True)
    part = slice_graph(graph, units(graph)[0].nodes)
    own = copy.deepcopy(part)
    inputs = images(2, pixels=True)
    with torch.no_grad():
        before = part(inputs)
        own.get_submodule("network.conv1").weight.zero_()
        assert torch.equal(part(inputs), before)
        assert not torch.equal(own(inputs), before)


def test_slices_become_programs_for_any_batch(tmp_path):
    graph = captured("cifar_resnet8", pixels=True)
    _, block, _ = blocks(units(graph))
    names = [name for unit in block for name in unit.nodes]
    reads = graph[graph[names[0]].reads[0]]
    spec = TensorSpec(name="features", dtype="float32", shape=reads.output_shape)
    # It compares file and module on batches of one and three.
    program = freeze(slice_graph(graph, names), "block", spec, ("features",), None, tmp_path)
    assert program.macs == sum(unit.macs for unit in block)


class Reshaped(nn.Module):
    """Asks for sizes long before it uses them, and prepares weights with each other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6, 6))
        self.scale = nn.Parameter(torch.rand(6))
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, rows):
        batch, length, _ = rows.shape
        width = rows.size(-1)
        weight = self.weight * self.scale
        rows = self.first(rows.reshape(batch * length, width)) @ weight
        rows = self.second(rows.view(rows.size(0), width)) @ weight
        return rows.view(batch, length * width).to(rows.dtype)


def test_sizes_and_weights_are_known_in_every_slice():
    torch.manual_seed(0)
    whole = Reshaped().eval()
    rows = torch.rand(1, 1, 6)
    graph = capture(whole, rows)
    parts = [unit.nodes for unit in units(graph)]
    assert len(parts) == 4
    with torch.no_grad():
        assert torch.equal(composed(graph, parts, rows), whole(rows))
        # The length is one, so that the first axis of all is the batch's.
        rows = torch.rand(5, 1, 6)
        assert torch.equal(composed(graph, parts, rows), whole(rows))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, rows):
        count = rows.numel()
        return self.second(self.first(rows)) / count


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "got none"),
        (["conv2"], "did you mean 'conv1'"),
        (["bn1", "conv1"], "follow one another"),
        (["conv1", "relu"], "none left out"),
        (["layer1.0.bn2", "layer1.0.add"], "read layer1.0.conv2, relu"),
        (["relu", "layer1.0.conv1"], "hand on relu, layer1.0.conv1"),
    ],
)
def test_what_is_no_slice_is_refused(names, reason):
    with pytest.raises(ConfigError, match=reason):
        slice_graph(captured("cifar_resnet8", pixels=False), names)


def test_what_a_slice_cannot_know_is_refused():
    graph = capture(Counted(), torch.ones(1, 4))
    with pytest.raises(ConfigError, match="'truediv' depends on 'numel'"):
        slice_graph(graph, ["second", "truediv"])
    assert [unit.nodes for unit in units(graph)] == [("first",), ("second", "truediv")]
