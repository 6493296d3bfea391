"""The supernet: the largest network of a family, that runs as any other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridge.design.nets.families import families
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.supernet.elastic import ElasticDepthwise
from hybridge.design.supernet.extract import extract
from hybridge.design.supernet.supernet import Supernet
from hybridge.design.train.norm import recalibrate
from hybridge.errors import ConfigError

FAMILY = families.get("elastic_small")
SPACE = FAMILY.space


def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(10, FAMILY)


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_keys_and_shapes_are_the_largest_networks_with_matrices_beside() -> None:
    held = {key: value.shape for key, value in supernet().state_dict().items()}
    largest = MobileNet(10, FAMILY.outline(SPACE.largest)).state_dict()
    matrices = {f"blocks.{number}.depthwise.conv.matrices.5to3" for number in range(1, 10)}
    assert held == {key: value.shape for key, value in largest.items()} | dict.fromkeys(
        matrices, torch.Size([9, 9])
    )


def test_the_largest_network_runs_at_first() -> None:
    made = supernet()
    assert made.active == SPACE.largest
    before = made.eval()(images())
    made.activate(SPACE.smallest)
    assert made.active == SPACE.smallest
    assert not torch.allclose(made(images()), before)
    made.activate(SPACE.largest)
    assert torch.equal(made(images()), before)


def test_features_go_through_the_head() -> None:
    made = supernet().eval()
    made.activate(SPACE.smallest)
    features = made.embed(images())
    assert features.shape == (4, FAMILY.last_channels)
    assert torch.equal(made.head(features), made(images()))


def test_choices_in_slots_that_are_not_used_change_nothing() -> None:
    made, rng = supernet().eval(), np.random.default_rng(0)
    architecture = replace(SPACE.random(rng), depths=(1, 2, 1))
    made.activate(architecture)
    first = made(images())
    made.activate(SPACE.canonical(architecture))
    assert torch.equal(made(images()), first)


def test_an_architecture_of_another_space_is_refused_and_nothing_changes() -> None:
    made = supernet()
    with pytest.raises(ConfigError, match="depths"):
        made.activate(replace(SPACE.largest, depths=(4, 3, 3)))
    assert made.active == SPACE.largest


def test_blocks_that_do_not_run_learn_nothing() -> None:
    made = supernet()
    made.activate(replace(SPACE.largest, depths=(1, 1, 1)))
    made(images()).sum().backward()
    assert made.get_parameter("blocks.1.expand.conv.weight").grad is not None
    assert made.get_parameter("blocks.2.expand.conv.weight").grad is None


def test_a_family_that_need_not_expand_is_refused() -> None:
    space = replace(SPACE, expansions=(1, 2))
    with pytest.raises(ConfigError, match="all expand"):
        Supernet(10, replace(FAMILY, space=space))


def test_statistics_of_many_batches_are_those_of_the_network_taken_out() -> None:
    made = supernet()
    made.activate(SPACE.smallest)
    network = extract(made, SPACE.smallest)
    batches = [images(8, seed) for seed in range(3)]
    recalibrate(made, batches)
    recalibrate(network, batches)
    assert torch.equal(made(images()), network(images()))


def test_small_kernels_are_centres_at_first() -> None:
    layer = ElasticDepthwise(6, (3, 5, 7), 1)
    weight = layer.weight
    torch.testing.assert_close(layer.kernel(3, 4), weight[:4, :, 2:5, 2:5])
    torch.testing.assert_close(layer.kernel(5, 6), weight[:, :, 1:6, 1:6])
    assert torch.equal(layer.kernel(7, 2), weight[:2])


def test_small_kernels_go_through_the_matrices_of_all_larger_ones() -> None:
    layer = ElasticDepthwise(2, (3, 5, 7), 1)
    with torch.no_grad():
        layer.matrices["7to5"].mul_(2)
        layer.matrices["5to3"].copy_(torch.eye(9).flip(0))
    torch.testing.assert_close(layer.kernel(5, 2), 2 * layer.weight[:, :, 1:6, 1:6])
    torch.testing.assert_close(layer.kernel(3, 2), 2 * layer.weight[:, :, 2:5, 2:5].flip(2, 3))
