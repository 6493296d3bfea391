"""Networks taken out of a supernet: their function is the active path's, exactly."""


import numpy as np
import pytest
import torch
from torch import nn

from hybridge.design.nets.architecture import Architecture
from hybridge.design.nets.families import families
from hybridge.design.supernet.extract import extract
from hybridge.design.supernet.supernet import Supernet

SMALL = families.get("elastic_small")


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


def statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.named_buffers() if "running" in name}


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
