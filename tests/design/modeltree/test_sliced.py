"""Networks as rows of units: what the slices compute, and where they may begin."""

import pytest
import torch
from tiny_library import NAMES, pixels_of, tiny_network, tiny_sliced
from torch import Tensor, nn

from hybridge.design.modeltree.compose import run
from hybridge.design.modeltree.sliced import slice_network
from hybridge.design.nets import PixelNetwork
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Geometry

GREY = Geometry(height=12, width=12, channels=1)


@pytest.mark.parametrize("name", NAMES)
def test_units_in_a_row_give_what_the_network_gives_bit_for_bit(name: str) -> None:
    sliced = tiny_sliced(name)
    pixels = pixels_of(sliced.geometry, 7)
    assert torch.equal(run(nn.Sequential(*sliced.modules), pixels), run(sliced.network, pixels))


@pytest.mark.parametrize("name", NAMES)
def test_blocks_share_out_all_units(name: str) -> None:
    sliced = tiny_sliced(name)
    units = [index for block in range(3) for index in sliced.block_units(block)]
    assert units == list(range(len(sliced.units)))
    assert all(index in sliced.block_units(block) for index, block in enumerate(sliced.block_of))


def test_examples_are_what_units_read() -> None:
    sliced = tiny_sliced("small_cnn")
    seen = sliced.example(0)
    for index, module in enumerate(sliced.modules):
        example = sliced.example(index)
        assert (example.shape, example.dtype) == (seen.shape, seen.dtype)
        seen = run(module, seen)


def test_a_layer_knows_its_norm_and_the_maps_it_reads() -> None:
    sliced = tiny_sliced("small_cnn")
    (conv,), (head,) = sliced.layers[1], sliced.layers[4]
    assert (conv.path, conv.norm) == ("network.features.3", "network.features.4")
    assert (conv.reads, head.reads, head.norm) == ((16, 12, 12), (64,), None)


def test_blocks_begin_where_a_user_says_and_units_are_joined() -> None:
    sliced = tiny_sliced("small_cnn", at=["network.features.9"])
    assert sliced.block_starts == (0, 3)
    joined = tiny_sliced("small_cnn", unit_count=3, block_count=2)
    assert len(joined.units) == 3
    pixels = pixels_of(joined.geometry, 3)
    assert torch.equal(run(nn.Sequential(*joined.modules), pixels), run(joined.network, pixels))


@pytest.mark.parametrize(
    ("cuts", "named"),
    [
        ({"block_count": 6}, "from 1 to 5 blocks"),
        ({"at": ["network.features.4"]}, "no block can begin with 'network.features.4'"),
    ],
)
def test_where_there_is_no_cut_is_said(cuts: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        tiny_sliced("small_cnn", **cuts)


class Fickle(nn.Module):
    """Does what it does by what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        if maps.sum() > 0:
            maps = maps.relu()
        return maps.mean((2, 3))


class Written(nn.Module):
    """Reads maps after another operation has written over them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        return (maps.add_(1) + maps).mean((2, 3))


@pytest.mark.parametrize(
    ("network", "named"), [(Fickle(), "maps.sum"), (Written(), "'network.add' (add) reads")]
)
def test_a_network_that_cannot_be_captured_names_what_is_in_the_way(
    network: nn.Module, named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        slice_network(PixelNetwork(network, (0.5,), (0.5,)), GREY)
    assert named in str(refused.value)


def test_the_network_is_shared() -> None:
    network = tiny_network("small_cnn")
    sliced = slice_network(network, GREY)
    (conv, *_) = sliced.modules_of(1).values()
    assert conv is network.get_submodule("network.features.3")
