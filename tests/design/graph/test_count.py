import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridge.design.graph.count import count_layers, count_macs, count_parameters
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.errors import ConfigError


def counted(name: str) -> tuple[float, float]:
    info = networks.get(name)
    with torch.device("meta"):
        network = PixelNetwork(build(name, info.class_count), info.mean, info.std)
        pixels = torch.zeros(1, *info.geometry.shape, dtype=torch.uint8)
    return count_macs(network, pixels) / 1e6, count_parameters(network, pixels) / 1e6


@pytest.mark.parametrize(
    ("name", "macs_m", "parameters_m"),
    [
        ("cifar_resnet20", 40.55, 0.270),
        ("cifar_resnet56", 125.49, 0.853),
        ("vgg11_cifar", 152.77, 9.228),
        ("vgg19", 19632, 143.67),
        ("resnet50", 4089, 25.56),
        # What torchvision prints for its own.
        ("resnet101", 7801, 44.549),
        ("resnet152", 11514, 60.193),
    ],
)
def test_published_networks(name, macs_m, parameters_m):
    assert counted(name) == pytest.approx((macs_m, parameters_m), rel=0.002)


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


@pytest.mark.parametrize("sides", [(7, 1), (1, 7)])
def test_a_kernel_is_as_large_as_its_longer_side(sides):
    (row,) = count_layers(nn.Sequential(nn.Conv2d(2, 3, sides)), torch.zeros(1, 2, 8, 8))
    assert (row.kernel, row.macs) == (7, 7 * 2 * 3 * 2 * 8)


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


def test_transposed_convolutions():
    network = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2))
    (row,) = count_layers(network, torch.zeros(1, 4, 5, 5))
    # Each of the 5 x 5 pixels of 4 channels goes into a patch of 3 x 3 in 3 channels.
    assert (row.kernel, row.macs, row.parameters) == (3, 5 * 5 * 4 * 9 * 3, 4 * 3 * 9 + 6)


class Attention(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(tokens, tokens, tokens)


def test_attention_costs_its_two_products():
    tokens = torch.zeros(1, 2, 5, 4)
    assert count_macs(Attention(), tokens) == 2 * (2 * 5 * 5 * 4)


def test_an_encoder_layer_costs_its_attention_and_its_linear_layers():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    macs = count_macs(layer, torch.zeros(1, 5, 8))
    projections, attention, hidden = 5 * 4 * 8 * 8, 2 * 5 * 5 * 8, 5 * 2 * 8 * 16
    assert macs == projections + attention + hidden
    assert torch.backends.mha.get_fastpath_enabled()


class Positions(nn.Module):
    """A position for every token, and a token for the class, as in vision transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.token = (nn.Parameter(torch.ones(1, n, 4)) for n in (4, 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.token, tokens), dim=1) * self.positions + tokens.sum()


def test_weights_that_are_added_cost_nothing():
    assert count_macs(Positions(), torch.ones(1, 3, 4)) == 0
    assert count_parameters(Positions(), torch.ones(1, 3, 4)) == 20


@pytest.mark.parametrize(
    ("network", "operator"),
    [(nn.LSTM(4, 3), "rnn_layer"), (nn.Bilinear(4, 4, 2), "_trilinear")],
)
def test_operators_without_a_price_are_refused(network, operator):
    rows = torch.zeros(1, 1, 4)
    examples = (rows, rows) if isinstance(network, nn.Bilinear) else (rows,)
    with pytest.raises(ConfigError, match=f"{operator}.*has no price"):
        count_layers(network, *examples)
    assert torch.backends.mha.get_fastpath_enabled()


def test_rows_have_the_names_of_the_modules_that_call_them():
    network = nn.Sequential(nn.Linear(5, 5), nn.Sequential(nn.ReLU(), Functional()))
    rows = count_layers(network, torch.zeros(1, 5))
    assert [row.name for row in rows] == ["0", "1.0", "1.1", "1.1:2", "1.1:3", "1.1:4"]


def test_no_storage_is_needed_to_count():
    pixels = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    with torch.device("meta"):
        outline = PixelNetwork(build("cifar_resnet8", 10), (0.5,) * 3, (0.3,) * 3)
    network = PixelNetwork(build("cifar_resnet8", 10), (0.5,) * 3, (0.3,) * 3)
    assert count_layers(outline, pixels.to("meta")) == count_layers(network, pixels)
