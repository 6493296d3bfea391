import copy
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hybridge.design.compress.prune import ZeroedConv, ZeroedNorm, shrink
from hybridge.design.compress.technique import option_named
from hybridge.design.graph.count import count_macs, count_parameters
from hybridge.errors import ConfigError

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Chain(nn.Module):
    """Three convolutions of 8x8 images, then two linear layers; the maps are flattened."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.linear1 = nn.Linear(12 * 2 * 2, 40)
        self.linear2 = nn.Linear(40, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.norm1(self.conv1(images)))
        maps = F.max_pool2d(F.relu6(self.norm2(self.conv2(maps))), 2)
        maps = F.relu(self.conv3(maps)).flatten(1)
        return self.linear2(F.relu(self.linear1(maps)))


class Residual(nn.Module):
    """A convolution, a residual block, and the mean of what it gives."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.stem(images))
        maps = maps + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(maps)))))
        return self.head(F.relu(maps).mean(dim=(2, 3)))


def network(kind=Chain):
    """A network whose norms have statistics, scales and shifts of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = kind()
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, 0.2, 1.0)  # so that a dropped filter shows, if kept
        made.train()
        made(IMAGES)
    return made.eval()


def seen_by(net, path):
    """What a layer of a network reads, and its shape."""
    seen = []
    layer = net.get_submodule(path)
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        net(IMAGES)
    handle.remove()
    return seen[0]


def compress(net, path, option, maps=None):
    """Put an option in the place of a layer, as the library does."""
    technique, strength = option_named(option)
    inputs = seen_by(net, path)
    made = technique.replace(
        net.get_submodule(path), strength, maps or tuple(inputs.shape[1:]), inputs
    )
    net.set_submodule(path, made)


def prune(net, path, norm, dropped):
    dropped = torch.tensor(dropped)
    net.set_submodule(path, ZeroedConv(net.get_submodule(path), dropped))
    if norm:
        net.set_submodule(norm, ZeroedNorm(net.get_submodule(norm), dropped))


def same(net, small, images=IMAGES):
    with torch.no_grad():
        return torch.allclose(net(images), small(images), atol=1e-5)


@pytest.mark.parametrize(
    ("second", "third", "first_linear"),
    [
        *product([None, "C1-1", "C1-2", "C2-0.5", "C2-1", "C3-0.25", "W1-0.5"], [None], [None]),
        *product(["W1-0.5"], ["C1-2", "C2-1", "C3-0.5"], ["F1-0.25", "F3-1"]),
        ("C2-1", "W1-0.25", "F1-0.5"),
        ("W1-0.75", "W1-0.5", "F2-0.5"),
        ("C1-1", "W1-0.75", "F3-1"),
        (None, "W1-0.5", None),
    ],
)
def test_a_shrunk_chain_computes_the_same(second, third, first_linear):
    net = network()
    if first_linear:
        compress(net, "linear1", first_linear, (12, 2, 2))
    for path, norm, option in (("conv3", None, third), ("conv2", "norm2", second)):
        if option and option.startswith("W1"):
            layer = net.get_submodule(path)
            prune(net, path, norm, list(range(0, layer.out_channels, 2)))
        elif option:
            compress(net, path, option)
    prune(net, "conv1", "norm1", [1, 4, 5])
    small = shrink(net.eval(), IMAGES)
    assert same(net, small)
    assert small.conv1.out_channels == small.norm1.num_features == 5
    assert not any(isinstance(part, ZeroedConv | ZeroedNorm) for part in small.modules())
    example = IMAGES[:1]
    assert count_macs(small, example) < count_macs(net, example)
    assert count_parameters(small, example) < count_parameters(net, example)


@settings(max_examples=15)
@given(st.sets(st.integers(0, 7), max_size=7), st.sets(st.integers(0, 7), max_size=7))
def test_whatever_filters_are_dropped(first, second):
    net = network()
    prune(net, "conv1", "norm1", sorted(first))
    prune(net, "conv2", "norm2", sorted(second))
    small = shrink(net, IMAGES)
    assert same(net, small)
    assert small.conv2.weight.shape[:2] == (8 - len(second), 8 - len(first))
    assert small.conv3.in_channels == 8 - len(second)


@pytest.mark.parametrize("option", [None, "C1-2", "C2-1", "C3-0.5"])
def test_a_residual_block_whose_first_convolution_is_pruned(option):
    net = network(Residual)
    if option:
        compress(net, "conv2", option)
    prune(net, "conv1", "norm1", [0, 7])
    small = shrink(net.eval(), IMAGES)
    assert same(net, small)
    assert small.conv1.out_channels == 6


def test_a_traced_network_in_a_chain():
    traced = fx.symbolic_trace(network())
    prune(traced, "conv1", "norm1", [1, 4, 5])
    compress(traced, "conv2", "C2-1")
    pieces = nn.Sequential(traced, nn.ReLU(), nn.Linear(5, 2)).eval()
    small = shrink(pieces, IMAGES)
    assert same(pieces, small)
    assert small[0].conv1.out_channels == 5


def test_the_network_is_left_as_it_is():
    net = network()
    prune(net, "conv1", "norm1", [2])
    before = copy.deepcopy(net.state_dict())
    net.train()
    small = shrink(net, IMAGES)
    assert small.training
    assert small.conv1.training
    assert small.norm1.training
    assert net.training
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_shrunk_network_can_be_trained():
    net = network()
    prune(net, "conv1", "norm1", [2, 3])
    compress(net, "conv2", "C2-1")
    small = shrink(net, IMAGES).train()
    small(IMAGES).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


def test_nothing_pruned_is_nothing_done():
    net = network()
    assert same(net, shrink(net, IMAGES))


def test_a_replacement_can_be_narrowed_again():
    net = network(Residual)
    compress(net, "conv1", "C2-1")
    block = net.conv1
    maps = torch.randn(2, 8, 4, 4)
    maps[:, [0, 3, 6]] = 0
    with torch.no_grad():
        expected = block(maps)
        block.narrow_inputs(torch.tensor([1, 2, 3, 4, 5, 7]))
        block.narrow_inputs(torch.tensor([0, 1, 3, 4, 5]))
        assert torch.allclose(block(maps[:, [1, 2, 4, 5, 7]]), expected, atol=1e-5)


def chain_pruned_at(path, norm):
    net = network(Chain)
    prune(net, path, norm, [0, 1])
    return net


def residual_pruned_at(path, norm):
    net = network(Residual)
    prune(net, path, norm, [0, 1])
    return net


def output_pruned():
    return nn.Sequential(nn.Conv2d(3, 4, 1), ZeroedConv(nn.Conv2d(4, 4, 3), torch.tensor([1])))


def used_twice():
    conv = ZeroedConv(nn.Conv2d(3, 3, 1), torch.tensor([1]))
    return nn.Sequential(conv, conv, nn.Conv2d(3, 2, 1))


def with_two_masks():
    net = network()
    prune(net, "conv1", None, [1])
    net.norm1 = ZeroedNorm(net.norm1, torch.tensor([2]))
    return net


def with_a_mask_alone():
    net = network()
    net.norm1 = ZeroedNorm(net.norm1, torch.tensor([2]))
    return net


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (chain_pruned_at("conv1", None), r"'conv1' cannot be narrowed: 'norm1' \(BatchNorm2d\)"),
        (with_two_masks(), r"'conv1' cannot be narrowed: 'norm1' \(ZeroedNorm\)"),
        (with_a_mask_alone(), "the norm 'norm1' leaves channels at zero"),
        (residual_pruned_at("stem", None), "'stem' cannot be narrowed: add reads it"),
        (residual_pruned_at("conv2", "norm2"), "'conv2' cannot be narrowed: add reads it"),
        (output_pruned(), "'1' cannot be narrowed: it is what the network gives"),
        (used_twice(), "'0' cannot be narrowed: '0' is used 2 times"),
        (output_pruned()[1], "ZeroedConv alone cannot be narrowed"),
    ],
)
def test_what_cannot_be_narrowed_is_refused(net, message):
    channels = 4 if isinstance(net, ZeroedConv) else 3
    with pytest.raises(ConfigError, match=message):
        shrink(net, torch.randn(2, channels, 8, 8))
