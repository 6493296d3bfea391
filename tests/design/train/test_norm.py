"""Batch normalisation recalibrated: the statistics of a batch."""

import pytest
import torch
from torch import nn

from hybridge.design.nets import build
from hybridge.design.train.norm import fold_norms, recalibrate
from hybridge.errors import ConfigError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )


def test_statistics_are_those_of_the_batch() -> None:
    found, inputs = network(), torch.randn(16, 3, 8, 8)
    recalibrate(found, inputs)
    maps = found[0](inputs)
    torch.testing.assert_close(found[1].running_mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(found[1].running_var, maps.var((0, 2, 3)))


def test_what_is_given_is_normal_and_nothing_else_changes() -> None:
    found, inputs = network(), torch.randn(16, 3, 8, 8)
    before = {name: value.clone() for name, value in found.named_parameters()}
    outputs = recalibrate(found.train(), inputs)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs.mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.var((0, 2, 3)), torch.ones(5), atol=1e-2, rtol=0)
    assert not any(module.training for module in found.modules())
    assert found[1].momentum == 0.1
    assert all(torch.equal(before[name], value) for name, value in found.named_parameters())


def test_once_more_changes_nothing() -> None:
    found, inputs = network(), torch.randn(16, 3, 8, 8)
    first = recalibrate(found, inputs)
    assert torch.equal(recalibrate(found, inputs), first)


def test_statistics_of_many_batches_are_their_mean() -> None:
    found, inputs = network(), torch.randn(16, 3, 8, 8)
    halves = torch.split(inputs, 8)
    outputs = recalibrate(found, (half for half in halves))
    maps = [found[0](half) for half in halves]
    mean = torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)
    variance = torch.stack([each.var((0, 2, 3)) for each in maps]).mean(0)
    torch.testing.assert_close(found[1].running_mean, mean)
    torch.testing.assert_close(found[1].running_var, variance)
    torch.testing.assert_close(outputs[8:], recalibrate(found, halves[1]))


def test_no_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one batch"):
        recalibrate(network(), [])


def test_folded_norms_compute_the_same():
    torch.manual_seed(0)
    network = build("elastic_small", 10).train()
    images = torch.randn(8, 3, 32, 32)
    network(images)  # statistics that are not those of a new network
    network.eval()
    with torch.no_grad():
        expected = network(images)
        fold_norms(network)
        assert not any(isinstance(each, nn.BatchNorm2d) for each in network.modules())
        torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=1e-4)
