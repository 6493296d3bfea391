"""Networks taken out of a supernet: their function is the active path's, exactly."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.families import families
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.supernet.extract import extract, sort_channels
from hybridge.design.supernet.supernet import Supernet
from hybridge.design.train.norm import recalibrate
from hybridge.errors import ConfigError


@torch.no_grad()
def supernet_of(name: str, channels: int = 3) -> Supernet:
    """Return a supernet that tells images apart, and whose matrices do something."""
    torch.manual_seed(0)
    supernet = Supernet(10, families.get(name), channels)
    for key, value in supernet.named_parameters():
        if "matrices" in key:
            value.add_(torch.randn_like(value), alpha=0.1)
        elif key.endswith(("bn.weight", "bias", "classifier.weight")):
            value.normal_(1, 0.3)
    recalibrate(supernet, torch.randn(8, channels, 24, 24))
    return supernet


def drawn(name: str, count: int) -> list[Architecture]:
    space, rng = families.get(name).space, np.random.default_rng(0)
    return [space.smallest, space.largest, *(space.random(rng) for _ in range(count - 2))]


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    expected = second.state_dict()
    for key, value in first.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


def assert_same_answers(
    supernet: Supernet, architecture: Architecture, images: torch.Tensor
) -> MobileNet:
    supernet.activate(architecture)
    network = extract(supernet, architecture)
    assert network.training == supernet.training
    answers = network(images)
    assert answers.std(0).max() > 1e-4, "images are not told apart: nothing is compared"
    torch.testing.assert_close(answers, supernet(images), rtol=0, atol=0)
    return network


@pytest.mark.parametrize(
    ("name", "count", "side"), [("elastic_small", 100, 12), ("ofa_mbv3_w1.0", 6, 40)]
)
@torch.no_grad()
def test_evaluates_as_the_active_path_to_the_last_bit(name: str, count: int, side: int) -> None:
    supernet, images = supernet_of(name).eval(), torch.randn(2, 3, side, side)
    for architecture in drawn(name, count):
        assert_same_answers(supernet, architecture, images)


@pytest.mark.parametrize("architecture", drawn("elastic_small", 8), ids=str)
def test_trains_as_the_active_path(architecture: Architecture) -> None:
    supernet, images = supernet_of("elastic_small").train(), torch.randn(4, 3, 16, 16)
    network = assert_same_answers(supernet, architecture, images)
    assert_equal_weights(extract(supernet, architecture), network)  # statistics moved alike
    supernet(images).square().sum().backward()
    network(images).square().sum().backward()
    for name in ("stem.conv.weight", "classifier.weight", "blocks.1.project.conv.weight"):
        ours, theirs = supernet.get_parameter(name).grad, network.get_parameter(name).grad
        assert ours is not None
        assert theirs is not None
        used = ours[tuple(map(slice, theirs.shape))]
        torch.testing.assert_close(used, theirs)
        assert used.any()


def test_weights_are_its_own_and_no_random_number_is_drawn() -> None:
    supernet = supernet_of("elastic_small")
    before, state = copy.deepcopy(supernet), torch.get_rng_state()
    network = extract(supernet, supernet.family.space.smallest)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
    assert_equal_weights(supernet, before)


def test_channels_of_images_and_classes_are_the_supernets() -> None:
    supernet = supernet_of("elastic_small", channels=1)
    network = extract(supernet, supernet.family.space.smallest)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


def test_an_architecture_of_another_family_is_refused() -> None:
    other = families.get("ofa_mbv3_w1.0").space.smallest
    with pytest.raises(ConfigError, match="kernels"):
        extract(supernet_of("elastic_small"), other)


def shuffled(supernet: Supernet) -> None:
    """Give every channel an importance of its own, in no order."""
    for name, value in supernet.state_dict().items():
        if name.endswith(("project.conv.weight", "squeeze.expand.weight")):
            value.mul_(torch.rand(value.shape[1]).view(1, -1, 1, 1) + 0.5)


@torch.no_grad()
def answers(supernet: Supernet, expansion: int, images: torch.Tensor) -> torch.Tensor:
    largest = supernet.family.space.largest
    expansions = (expansion,) * len(largest.expansions)
    supernet.activate(replace(largest, expansions=expansions))
    return supernet.eval()(images)


@pytest.mark.parametrize("trained", [(), (3,), (3, 4)])
def test_sorting_leaves_the_largest_network_and_what_was_trained(trained: tuple[int, ...]) -> None:
    supernet, images = supernet_of("elastic_small"), torch.randn(4, 3, 16, 16)
    shuffled(supernet)
    before = {expansion: answers(supernet, expansion, images) for expansion in (2, 3, 4)}
    sort_channels(supernet, trained)
    for expansion in {4, *trained}:
        torch.testing.assert_close(answers(supernet, expansion, images), before[expansion])
    for expansion in {2, 3} - set(trained):
        assert not torch.allclose(answers(supernet, expansion, images), before[expansion])


def test_the_first_channels_are_the_most_important() -> None:
    supernet = supernet_of("ofa_mbv3_w1.0")
    shuffled(supernet)
    sort_channels(supernet)
    for name, value in list(supernet.named_parameters())[20:]:
        if name.endswith(("project.conv.weight", "squeeze.expand.weight")):
            importance = value.abs().sum((0, 2, 3))
            assert (importance.diff() <= 1e-4).all(), name


def test_expansions_of_another_family_are_refused() -> None:
    with pytest.raises(ConfigError, match="expansions"):
        sort_channels(supernet_of("elastic_small"), (6,))
