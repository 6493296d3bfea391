"""What every technique promises, for every one that is registered, at every strength."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hybridge.design.compress.fitting import rows_of
from hybridge.design.compress.replacement import stored_bytes
from hybridge.design.compress.technique import (
    option_name,
    option_named,
    options_for,
    techniques,
)
from hybridge.design.compress.zeroed import ZeroedConv
from hybridge.design.export.onnx import freeze
from hybridge.design.graph.count import count_macs
from hybridge.errors import ConfigError, UnknownNameError
from hybridge.plan.tensors import TensorSpec

OPTIONS = [
    option_name(name, strength)
    for name in techniques
    for strength in techniques.get(name).strengths
]


def smooth_maps(count, channels, size):
    """Maps like a network's: neighbouring pixels and some channels are alike, none is negative."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, channels // 2, size // 2, size // 2, generator=generator)
    fine = torch.randn(count, channels // 2, size, size, generator=generator)
    mix = torch.randn(channels, channels // 2, generator=generator)
    maps = F.interpolate(coarse, scale_factor=2.0, mode="bilinear") + 0.3 * fine
    return torch.einsum("bchw,dc->bdhw", maps, mix).relu()


def case(technique):
    """A layer that a technique fits, its shape of reads, and inputs ``(B, ...)``.

    The weights are smooth in parts, as those of trained layers are.
    """
    maps = smooth_maps(40, 16, 8)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        if technique.name.startswith("F"):
            layer = nn.Linear(16 * 4 * 4, 48)
            by_pixel = layer.weight.view(48, 16, 4, 4)
            by_pixel *= 0.3
            by_pixel += 0.1 * (torch.randn(48, 6) @ torch.randn(6, 16))[..., None, None]
            return layer.eval(), (16, 4, 4), F.avg_pool2d(maps, 2).flatten(1)
        layer = nn.Conv2d(16, 16, 3, 1, 1)
        layer.weight *= 0.5
        layer.weight += 0.2 * torch.randn(16, 16, 1, 1) * torch.rand(1, 16, 3, 3)
        return layer.eval(), (16, 8, 8), maps


def relative_error(replacement, layer, inputs):
    with torch.no_grad():
        expected = layer(inputs)
        return float((replacement(inputs) - expected).square().mean() / expected.var())


@pytest.fixture(scope="module")
def made():
    """Every option, made once from the first half of the inputs."""
    found = {}
    for option in OPTIONS:
        technique, strength = option_named(option)
        layer, reads, inputs = case(technique)
        found[option] = technique.replace(layer, strength, reads, inputs[:20])
    return found


@pytest.mark.parametrize("name", techniques.names())
def test_technique_tells_what_it_is(name):
    technique = techniques.get(name)
    assert technique.name == name
    assert technique.about
    assert technique.meaning
    assert len(technique.strengths) >= 2


@pytest.mark.parametrize("option", OPTIONS)
def test_shape_and_costs(option, made):
    technique, _ = option_named(option)
    layer, _, inputs = case(technique)
    assert made[option](inputs).shape == layer(inputs).shape
    assert count_macs(made[option], inputs[:1]) < count_macs(layer, inputs[:1])
    assert stored_bytes(made[option]) < stored_bytes(layer)


def randomised(module):
    """A copy with the weights that its layers have before training; what is dropped stays so."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            part.reset_parameters()
    return copied


@pytest.mark.parametrize("option", OPTIONS)
def test_starts_near_the_layer_on_inputs_it_has_not_seen(option, made):
    technique, _ = option_named(option)
    layer, _, inputs = case(technique)
    error = relative_error(made[option], layer, inputs[20:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        assert error < 0.9 * relative_error(randomised(made[option]), layer, inputs[20:])
    assert error < 0.9


@pytest.mark.parametrize("name", techniques.names())
def test_stronger_options_differ_more(name, made):
    technique = techniques.get(name)
    layer, _, inputs = case(technique)
    errors = [
        relative_error(made[option_name(name, strength)], layer, inputs[:20])
        for strength in technique.strengths
    ]
    assert len(set(errors)) == len(errors)
    # W1's strength is what is dropped; all others are what is left.
    assert errors == sorted(errors, reverse=name != "W1")


@pytest.mark.parametrize("option", OPTIONS)
def test_same_module_again_whatever_the_global_state(option, made):
    technique, strength = option_named(option)
    layer, reads, inputs = case(technique)
    before = torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = technique.replace(layer, strength, reads, inputs[:20]).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    state = made[option].state_dict()
    assert all(torch.equal(state[key], again[key]) for key in state)


@pytest.mark.parametrize("option", OPTIONS)
def test_can_be_trained(option, made):
    technique, _ = option_named(option)
    layer, _, inputs = case(technique)
    net = copy.deepcopy(made[option]).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, weight_decay=1e-4)
    losses = []
    for _ in range(8):
        loss = (net(inputs) - 0.5 * layer(inputs).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    assert stored_bytes(net) == stored_bytes(made[option])


class SideBySide(nn.Module):
    """All of several modules, on the same input."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, inputs):
        return tuple(part(inputs) for part in self.parts)


@pytest.mark.parametrize("kind", ["C1", "F1"])
def test_all_are_exported_with_a_free_batch(kind, made, tmp_path):
    _, _, inputs = case(techniques.get(kind))
    options = [o for o in OPTIONS if o.startswith("F") == kind.startswith("F")]
    net = SideBySide(copy.deepcopy([made[option] for option in options]))
    signature = TensorSpec(name="maps", dtype="float32", shape=tuple(inputs.shape[1:]))
    program = freeze(net, "parts", signature, tuple(options), None, tmp_path)
    assert program.macs == sum(count_macs(made[option], inputs[:1]) for option in options)


@pytest.mark.parametrize("option", [o for o in OPTIONS if o[0] == "C"])
def test_channels_of_zeros_add_nothing(option, made):
    net = copy.deepcopy(made[option])
    maps = smooth_maps(4, 16, 8)
    maps[:, ::3] = 0
    kept = torch.tensor([index for index in range(16) if index % 3])
    with torch.no_grad():
        expected = net(maps)
        net.narrow_inputs(kept)
        assert torch.allclose(net(maps[:, kept]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "stride", "out_channels", "kernel"),
    [*itertools.product(["C1-1", "C2-0.5", "C3-0.5", "W1-0.5"], [1, 2], [9, 16], [3, 5])],
)
def test_strides_widths_and_kernels(option, stride, out_channels, kernel):
    technique, strength = option_named(option)
    _, reads, inputs = case(technique)
    layer = nn.Conv2d(16, out_channels, kernel, stride, kernel // 2, bias=False).eval()
    replacement = technique.replace(layer, strength, reads, inputs)
    assert replacement(inputs).shape == layer(inputs).shape
    assert relative_error(replacement, layer, inputs) < 0.95


def test_the_layer_is_left_as_it_is():
    technique, strength = option_named("C2-1")
    layer, reads, inputs = case(technique)
    layer = layer.double().train()
    before = copy.deepcopy(layer.state_dict())
    replacement = technique.replace(layer, strength, reads, inputs.double())
    assert layer.training
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    assert replacement.pointwise.weight.dtype == torch.double
    assert not replacement.training


def test_options_are_named():
    assert option_named("C1-1") == (techniques.get("C1"), 1)
    assert option_name(techniques.get("F1"), 0.25) == "F1-0.25"
    assert [option_name(*option_named(option)) for option in OPTIONS] == OPTIONS
    with pytest.raises(UnknownNameError, match=r"unknown option 'C1-3'; did you mean 'C1-[12]'"):
        option_named("C1-3")
    with pytest.raises(UnknownNameError, match="known: C1-1"):
        option_named("keep")


@pytest.mark.parametrize(
    ("layer", "reads", "names"),
    [
        (nn.Conv2d(64, 64, 3, padding=1), (64, 8, 8), {"C1", "C2", "C3", "W1"}),
        (nn.Conv2d(64, 64, 1), (64, 8, 8), {"W1"}),
        (nn.Conv2d(64, 64, 3, groups=64), (64, 8, 8), set()),
        (nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"), (64, 8, 8), {"W1"}),
        (nn.Conv2d(64, 64, 3, padding=2, dilation=2), (64, 8, 8), {"C1", "C2", "W1"}),
        (nn.Conv2d(64, 64, 3), (64, 8, 8), {"C1", "C2", "W1"}),
        (nn.Conv2d(64, 1, 3, padding=1), (64, 8, 8), set()),
        (nn.Linear(256, 64), (16, 4, 4), {"F1", "F2", "F3"}),
        (nn.Linear(256, 64), (256,), {"F1", "F2"}),
        (nn.Linear(256, 64), (256, 1, 1), {"F1", "F2"}),
        (nn.Linear(256, 10), (256,), {"F1"}),
        (nn.BatchNorm2d(8), (8, 4, 4), set()),
    ],
)
def test_only_what_fits_is_listed(layer, reads, names):
    assert {option.partition("-")[0] for option in options_for(layer, reads)} == names


def test_what_saves_nothing_is_not_listed():
    narrow = nn.Conv2d(2, 2, 3, padding=1)
    assert "C1-2" not in options_for(narrow, (2, 8, 8))
    assert "F1-0.5" not in options_for(nn.Linear(64, 64), (64,))
    assert "F3-2" not in options_for(nn.Linear(9 * 4, 8), (4, 3, 3))  # 3x3 has no halves


@pytest.mark.parametrize(
    ("option", "layer", "reads", "message"),
    [
        ("C1-1", nn.Conv2d(4, 8, 1), (4, 8, 8), r"C1-1 does not fit Conv2d.*1x1.*what fits: W1"),
        ("C3-0.5", nn.Conv2d(16, 16, 3), (16, 8, 8), r"C3-0\.5.*takes pixels away.*C1-1"),
        ("F3-2", nn.Linear(36, 8), (4, 3, 3), r"3x3 do not fall into a grid of 2x2.*F3-1"),
        ("F1-0.5", nn.Linear(64, 64), (64,), r"takes 4,096 MACs where the layer takes 4,096"),
        ("W1-0.5", nn.Linear(8, 8), (8,), "takes the place of a convolution"),
        ("F2-0.25", nn.Linear(512, 10), (512,), "10 outputs have too little in common"),
    ],
)
def test_what_does_not_fit_is_refused(option, layer, reads, message):
    technique, strength = option_named(option)
    assert technique.refusal(layer, reads, strength)
    flat = isinstance(layer, nn.Linear)
    inputs = torch.rand(4, *reads)
    with pytest.raises(ConfigError, match=message):
        technique.replace(layer, strength, reads, inputs.flatten(1) if flat else inputs)


@pytest.mark.parametrize("strength", [0, -1.0, float("nan")])
@pytest.mark.parametrize("name", techniques.names())
def test_strengths_are_positive(name, strength):
    layer, reads, _ = case(techniques.get(name))
    assert "expected a number above 0" in techniques.get(name).refusal(layer, reads, strength)


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (0, 16, 8, 8), (4, 16 * 64)])
def test_inputs_must_be_what_the_layer_reads(shape):
    technique, strength = option_named("C1-1")
    layer, reads, _ = case(technique)
    with pytest.raises(ConfigError, match=r"expected inputs \(B, 16, 8, 8\)"):
        technique.replace(layer, strength, reads, torch.rand(shape))


@pytest.mark.parametrize("option", OPTIONS)
def test_constant_inputs_are_no_trouble(option):
    technique, strength = option_named(option)
    layer, reads, inputs = case(technique)
    replacement = technique.replace(layer, strength, reads, torch.zeros_like(inputs[:4]))
    with torch.no_grad():
        assert replacement(inputs).isfinite().all()


def test_a_sample_of_pixels_is_of_the_same_pixels():
    maps = torch.arange(2 * 3 * 64 * 64.0).reshape(2, 3, 64, 64).repeat(4, 1, 1, 1)
    first, second = rows_of(maps, 2 * maps)
    assert first.shape[1] == 3
    assert len(first) < 8193
    assert torch.equal(2 * first, second)
    assert len(set(first[:, 0].tolist())) > 6000  # no few places over and over


def test_w1_computes_the_filters_of_largest_outputs():
    technique, _ = option_named("W1-0.5")
    layer, reads, inputs = case(technique)
    with torch.no_grad():
        layer.weight[::2] *= 0.01
        layer.bias[::2] = 0
    replacement = technique.replace(layer, 0.5, reads, inputs)
    assert isinstance(replacement, ZeroedConv)
    assert replacement.kept.tolist() == list(range(1, 16, 2))
