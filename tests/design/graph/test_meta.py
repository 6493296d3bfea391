"""What is not run on the device meta has the shape, type and aliases that running it gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridge.design.graph.count import count_layers
from hybridge.design.graph.meta import Undrawn
from hybridge.design.graph.outline import outline, totals
from hybridge.design.nets import networks


class Spread(nn.Module):
    """Operators whose result is not always of the first one's shape and type."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        scale = maps[:, :, :1, :1]
        wide = scale * maps + scale
        wide = F.relu(wide + 1) * torch.ones(4, 1, 1)
        counted = torch.ones(4, 1, 1, dtype=torch.int64) + wide
        return F.hardtanh(self.norm(counted), inplace=True)


def test_rows_are_those_of_a_run():
    network = Spread().eval()
    with torch.device("meta"):
        unrun = Spread().eval()
        rows = count_layers(unrun, torch.zeros(1, 4, 3, 3))
    assert rows == count_layers(network, torch.zeros(1, 4, 3, 3))


def test_maps_of_other_channels_are_still_refused():
    with torch.device("meta"), pytest.raises(RuntimeError):
        count_layers(nn.BatchNorm2d(4), torch.zeros(1, 5, 3, 3))


def test_numbers_are_drawn_where_there_are_some():
    with Undrawn():
        drawn = nn.Linear(4, 4)
        zeros = torch.ones(3).zero_()
        with torch.device("meta"):
            kept = nn.init.kaiming_normal_(torch.empty(4, 4))
    assert drawn.weight.std() > 0
    assert zeros.tolist() == [0, 0, 0]
    assert kept.shape == (4, 4)


@pytest.mark.parametrize("name", ["cifar_resnet8", "elastic_small", "vgg19"])
def test_totals_are_those_of_the_outline(name):
    info = networks.get(name)
    size = {
        "class_count": info.class_count,
        "resolution": info.resolution,
        "channels": info.channels,
    }
    graph = outline(name, **size)
    assert totals(name, **size) == (graph.macs, graph.parameters)
