"""Networks taken out of a supernet: their function is the active path's, exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.families import families
from hybridge.design.supernet.extract import extract, sort_channels
from hybridge.design.supernet.supernet import Supernet
from hybridge.errors import ConfigError


def supernet_of(name: str, channels: int = 3) -> Supernet:
    """Return a supernet none of whose weights and statistics is as it was at first."""
    torch.manual_seed(0)
    supernet = Supernet(10, families.get(name), channels)
    for key, value in supernet.state_dict().items():
        if "matrices" in key:
            value.add_(torch.randn_like(value), alpha=0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif key.endswith(("bn.weight", "bn.bias", "running_mean", "bias")):
            value.normal_(0.5)
    return supernet


def drawn(name: str, count: int) -> list[Architecture]:
    space, rng = families.get(name).space, np.random.default_rng(0)
    return [space.smallest, space.largest, *(space.random(rng) for _ in range(count - 2))]


def assert_same(supernet: Supernet, architecture: Architecture, images: torch.Tensor) -> None:
    supernet.activate(architecture)
    network = extract(supernet, architecture)
    assert type(network).__name__ == "MobileNet"
    assert network.training == supernet.training
    torch.testing.assert_close(network(images), supernet(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "count", "side"), [("elastic_small", 100, 12), ("ofa_mbv3_w1.0", 6, 40)]
)
@torch.no_grad()
def test_evaluates_as_the_active_path_to_the_last_bit(name: str, count: int, side: int) -> None:
    supernet, images = supernet_of(name).eval(), torch.randn(2, 3, side, side)
    for architecture in drawn(name, count):
        assert_same(supernet, architecture, images)


@pytest.mark.parametrize("architecture", drawn("elastic_small", 8), ids=str)
def test_trains_as_the_active_path(architecture: Architecture) -> None:
    supernet, images = supernet_of("elastic_small").train(), torch.randn(4, 3, 16, 16)
    assert_same(supernet, architecture, images)


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
