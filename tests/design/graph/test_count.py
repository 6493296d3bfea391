import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridge.design.graph.count import count_layers, count_macs, count_parameters
from hybridge.design.nets import PixelNetwork, build, networks


def counted(name: str, **options) -> tuple[float, float]:
    info = networks.get(name)
    network = PixelNetwork(build(name, 10, **options), info.mean, info.std)
    pixels = torch.zeros(1, *info.geometry.shape, dtype=torch.uint8)
    return count_macs(network, pixels) / 1e6, count_parameters(network, pixels) / 1e6


@pytest.mark.parametrize(
    ("name", "macs_m", "parameters_m"),
    [("cifar_resnet20", 40.55, 0.270), ("cifar_resnet56", 125.49, 0.853)],
)
def test_published_networks(name, macs_m, parameters_m):
    assert counted(name) == pytest.approx((macs_m, parameters_m), rel=0.01)


def test_the_demos_pair_is_as_small_as_it_says():
    assert counted("tiny_cnn")[0] < 0.4
    assert 2 < counted("small_cnn")[0] < 4


def test_grouped_and_depthwise_convolutions():
    maps = torch.zeros(1, 8, 6, 6)
    grouped, depthwise = nn.Conv2d(8, 4, 3, groups=2), nn.Conv2d(8, 8, 5, groups=8, padding=2)
    (row,) = count_layers(nn.Sequential(grouped), maps)
    assert (row.name, row.kind, row.kernel) == ("0", "conv", 3)
    assert row.macs == 3 * 3 * 4 * 4 * 4 * 4
    assert row.parameters == 4 * 4 * 9 + 4
    assert row.output_bytes == 4 * 4 * 4 * 4
    (row,) = count_layers(nn.Sequential(depthwise), maps)
    assert (row.kind, row.macs) == ("depthwise", 25 * 8 * 36)


class Functional(nn.Module):
    """Uses no layers but functions, and one weight twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 5))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = F.relu(F.linear(rows, self.weight)).reshape(1, 5)
        return torch.relu_(rows @ self.weight)


def test_functions_count_as_layers_do_and_views_do_not():
    rows = count_layers(Functional(), torch.zeros(1, 5))
    assert [row.name for row in rows] == ["mm", "relu", "mm:2", "relu_"]
    assert [row.macs for row in rows] == [25, 0, 25, 0]
    assert sum(row.parameters for row in rows) == 25


def test_pools_and_norms_cost_bytes_only():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    rows = count_layers(network, torch.zeros(1, 3, 4, 4))
    assert [row.kind for row in rows] == ["norm", "pool", "pool"]
    assert [row.output_bytes for row in rows] == [192, 48, 12]
    assert sum(row.macs for row in rows) == 0


def test_counting_leaves_the_network_as_it_was():
    network = build("tiny_cnn", 10).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    count_layers(network, torch.ones(1, 1, 28, 28))
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
