import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridge.design.compress.prune import ZeroedConv, ZeroedNorm, importance, pruned_filters
from hybridge.errors import ConfigError

GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.randn(6, 4, 5, 5, generator=GENERATOR)
DROPPED = torch.tensor([1, 4])


def test_a_zeroed_convolution_gives_zeros_and_the_rest_unchanged():
    layer = nn.Conv2d(4, 6, 3, 2, 1)
    zeroed = ZeroedConv(layer, DROPPED)
    expected = layer(MAPS)
    expected[:, DROPPED] = 0
    assert torch.allclose(zeroed(MAPS), expected, atol=1e-6)
    assert zeroed.kept.tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}])
def test_a_zeroed_norm_keeps_zeros_in_both_modes(options):
    norm = nn.BatchNorm2d(6, **options)
    if norm.affine:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias, 1, 2)
    zeroed = ZeroedNorm(norm.train(), DROPPED)
    maps = ZeroedConv(nn.Conv2d(4, 6, 3), DROPPED)(MAPS)
    for mode in (True, False):
        norm.train(mode)
        zeroed.train(mode)
        expected, got = norm(maps), zeroed(maps)
        assert torch.equal(got[:, DROPPED], torch.zeros_like(got[:, DROPPED]))
        assert torch.equal(got[:, [0, 2, 3, 5]], expected[:, [0, 2, 3, 5]])
    assert torch.equal(zeroed.running_mean, norm.running_mean)
    assert isinstance(zeroed, nn.BatchNorm2d)
    narrow = zeroed.narrowed()
    assert type(narrow) is nn.BatchNorm2d
    assert torch.equal(narrow(maps[:, [0, 2, 3, 5]]), got[:, [0, 2, 3, 5]])


def test_dropped_channels_of_a_norm_are_not_trained():
    zeroed = ZeroedNorm(nn.BatchNorm2d(6), DROPPED).train()
    zeroed(torch.randn(3, 6, 4, 4, generator=GENERATOR)).square().sum().backward()
    assert zeroed.bias.grad[DROPPED].abs().sum() == 0
    assert zeroed.weight.grad[[0, 2, 3, 5]].abs().min() > 0


def test_importance_is_what_readers_see():
    layer = nn.Conv2d(3, 4, 3)
    reader, head = nn.Conv2d(4, 7, 3), nn.Linear(4 * 25, 5)
    with torch.no_grad():
        reader.weight[:, 2] = 0
        head.weight.view(5, 4, 25)[:, 2] = 0
    found = importance(layer, MAPS, [reader.weight, head.weight])
    assert found[2] == 0
    moments = MAPS.double().square().mean((0, 2, 3))
    read = reader.weight.double().square().sum((0, 2, 3))
    read += head.weight.double().view(5, 4, 25).square().sum((0, 2))
    assert torch.allclose(found, moments * read)


@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=30),
    st.floats(0, 1, exclude_max=True),
)
def test_the_least_important_filters_are_dropped(values, share):
    values = torch.tensor(values, dtype=torch.double)
    dropped = pruned_filters(values, share)
    kept = [index for index in range(len(values)) if index not in dropped.tolist()]
    assert kept
    assert dropped.tolist() == sorted(dropped.tolist())
    assert abs(len(dropped) - share * len(values)) <= 1
    if len(dropped):
        assert values[dropped].max() <= values[kept].min()


def test_bad_arguments_are_refused():
    layer = nn.Conv2d(3, 4, 3)
    with pytest.raises(ConfigError, match=r"expected maps \(B, 4, H, W\), got \(6, 3, 5, 5\)"):
        importance(layer, MAPS[:, :3], [])
    with pytest.raises(ConfigError, match=r"expected readers \(O, 4, ...\)"):
        importance(layer, MAPS, [nn.Linear(10, 2).weight])
    with pytest.raises(ConfigError, match=r"in \[0, 1\), got 1"):
        pruned_filters(torch.ones(4), 1.0)
    for dropped in ([0, 1, 2, 3], [1, 1], [9]):
        with pytest.raises(ConfigError, match="expected different filters below 4"):
            ZeroedConv(layer, torch.tensor(dropped))
