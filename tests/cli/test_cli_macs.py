"""`hybridge macs` and the listing of networks."""

import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridge.report.values import format_value


def counted(call, *arguments):
    called = call("macs", *arguments, "--json")
    assert (called.status, called.err) == (0, "")
    return json.loads(called.out)


def test_a_chain_as_json(call):
    found = counted(call, "vgg11_cifar")
    layers = found.pop("layers")
    assert found == {
        "network": "vgg11_cifar",
        "resolution": 32,
        "channels": 3,
        "classes": 10,
        "is_chain": True,
        "macs": 152_769_536,
        "params": 9_228_362,
        "architecture": None,
        "macs_m": 152.769536,
        "params_m": 9.228362,
    }
    assert layers[4] == {
        "name": "features.4",
        "kind": "conv",
        "kernel": 3,
        "macs": 18_874_368,
        "parameters": 73_728,
        "output_shape": [128, 16, 16],
        "output_bytes": 131_072,
        "reads": ["features.3"],
    }
    assert layers[0]["reads"] == ["input"]
    assert sum(layer["macs"] for layer in layers) == found["macs"]
    assert sum(layer["parameters"] for layer in layers) == found["params"]


def test_skips_are_shown(call):
    found = counted(call, "cifar_resnet8")
    assert not found["is_chain"]
    by_name = {layer["name"]: layer for layer in found["layers"]}
    assert by_name["layer1.0.add"]["reads"] == ["layer1.0.bn2", "relu"]
    printed = call("macs", "cifar_resnet8").out
    assert "layer1.0.bn2, relu" in printed
    assert "5 edges lead past other layers" in printed
    assert "12,239,488" in printed
    # What reads the layer before it, as most do, has nothing in the last column.
    (line,) = [line for line in printed.splitlines() if line.startswith("layer1.0.conv1 ")]
    cells = ["layer1.0.conv1", "conv", "3", "2.36 M", "2.30 k", "16 x 32 x 32", "65.5 kB"]
    assert re.split(r"  +", line.strip()) == cells


def test_resolution_and_classes(call):
    usual = counted(call, "resnet50")
    other = counted(call, "resnet50", "--resolution", 448, "--classes", 10)
    assert (usual["resolution"], usual["classes"]) == (224, 1000)
    assert (other["resolution"], other["classes"]) == (448, 10)
    assert usual["params"] - other["params"] == 990 * 2049
    assert other["macs"] - 2048 * 10 == 4 * (usual["macs"] - 2048 * 1000)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["vgg91"], ["unknown network 'vgg91'", "did you mean 'vgg19'"]),
        (
            ["vgg11_cifar", "--resolution", 8],
            ["vgg11_cifar on images of 8x8x3", "features.21", "size"],
        ),
        (["vgg11_cifar", "--resolution", 0], ["--resolution", "greater than or equal to 1"]),
        (["vgg11_cifar", "--resolution", 9**15], ["cannot be built", "overflow"]),
        (["vgg11_cifar", "--resolution", 2.5], ["--resolution", "integer"]),
        (["vgg11_cifar", "--classes", -1], ["--classes", "greater than or equal to 1"]),
        (["vgg11_cifar", "--classes", 9**25], ["cannot be built", "verflow"]),
        (["vgg11_cifar", "--channels", 1], ["'features.0' (Conv2d)", "channels"]),
        (["no_such_module:net", "--resolution", 8, "--classes", 2], ["no module"]),
        (["no_such_module:net"], ["needs --resolution and --classes"]),
    ],
    ids=lambda value: "-".join(map(str, value))[:40],
)
def test_bad_input_is_refused(call, arguments, parts):
    call("macs", *arguments).assert_refused(*parts)


class Gate(nn.Module):
    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(12, class_count)

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return logits if logits.max() > 0 else -logits


class Flat(nn.Module):
    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(12, class_count)

    def forward(self, images):
        return self.linear(images.flatten(1))


class Scaled(nn.Module):
    """Reads one of its own values when it is built, which has none on the device meta."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(12, class_count)
        self.scale = self.linear.weight.abs().max().item()

    def forward(self, images):
        return F.relu(self.linear(images.flatten(1))) * self.scale


@pytest.fixture
def elsewhere(monkeypatch):
    module = types.ModuleType("nets_elsewhere")
    module.gate = Gate
    module.scaled = Scaled
    module.fixed = lambda class_count: nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    module.nothing = lambda class_count: None
    monkeypatch.setitem(sys.modules, "nets_elsewhere", module)


def test_nothing_is_computed_with_an_image_that_does_not_fit(call, monkeypatch):
    """A large one would take all memory; what wants values of its own gets them."""
    made = []

    def noted(kind):
        def build(class_count):
            made.append(torch.zeros(1).device.type)
            return kind(class_count)

        return build

    def leave(class_count):
        raise SystemExit(0)

    module = types.ModuleType("nets_noted")
    module.flat, module.scaled, module.leave = noted(Flat), noted(Scaled), leave
    monkeypatch.setitem(sys.modules, "nets_noted", module)
    size = ("--resolution", 30_000, "--classes", 5)
    call("macs", "nets_noted:flat", *size).assert_refused("'linear' (Linear) cannot run on")
    assert made == ["meta"]
    assert call("macs", "nets_noted:scaled", "--resolution", 2, "--classes", 5).status == 0
    assert made == ["meta", "meta", "cpu"]
    call("macs", "nets_noted:leave", *size).assert_refused("SystemExit")


@pytest.mark.usefixtures("elsewhere")
def test_networks_from_elsewhere(call):
    size = ("--resolution", 2, "--classes", 5)
    found = counted(call, "nets_elsewhere:scaled", *size)
    assert (found["macs"], found["params"], found["channels"]) == (60, 65, 3)
    refusals = {
        "gate": ["Gate, line", "logits.max() > 0", "control flow"],
        "fixed": ["expected 5 logits", "got (3,)"],
        "nothing": ["gives a NoneType"],
        "gated": ["did you mean 'gate'"],
    }
    for name, parts in refusals.items():
        call("macs", f"nets_elsewhere:{name}", *size).assert_refused(*parts)
    grey = call("macs", "nets_elsewhere:scaled", *size, "--channels", 1)
    grey.assert_refused("'linear' (Linear) cannot run on (1, 4)")


def test_the_listing_counts_with_each_networks_own_classes(call):
    rows = {row["name"]: row for row in json.loads(call("nets", "*19", "--json").out)}
    assert rows["vgg19"]["classes"] == 1000
    assert rows["vgg19"]["parameters"] == 143_667_240
    assert "1,000" in call("nets", "vgg19").out


def test_elastic_families_are_listed_from_their_smallest_on(call):
    (row,) = json.loads(call("nets", "elastic_small", "--json").out)
    smallest = row["smallest"]
    found = counted(call, "elastic_small", "--arch", smallest["architecture"])
    assert (found["macs"], found["params"]) == (smallest["macs"], smallest["parameters"])
    largest = counted(call, "elastic_small")
    assert (largest["macs"], largest["params"]) == (row["macs"], row["parameters"])
    assert largest["architecture"] == "555555555 | 444444444 | 333"
    assert smallest["macs"] < row["macs"]
    assert "1.46 M to 6.02 M" in call("nets", "elastic_*").out
    (plain,) = json.loads(call("nets", "tiny_cnn", "--json").out)
    assert plain["smallest"] is None


def test_an_architecture_at_a_resolution(call):
    architecture = "33753375773737773373|33663364443343344444 | 22223"
    found = counted(call, "ofa_mbv3_w1.0", "--arch", architecture, "--resolution", 144)
    assert found["macs_m"] == pytest.approx(68.4, abs=0.05)
    assert found["params_m"] == found["params"] / 1e6
    assert found["architecture"] == "33753375773737773373 | 33663364443343344444 | 22223"
    assert found["resolution"] == 144


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["elastic_small", "--arch", "335553733 | 234432222 | 123"],
            ["kernels '335553733': expected digits among 3, 5, got '7' at position 7"],
        ),
        (
            ["elastic_small", "--arch", "335553333 | 234432222"],
            ["expected an architecture 'KERNELS | EXPANSIONS | DEPTHS'"],
        ),
        (["elastic_small", "--arch", "33 | 22 | 123"], ["expected 9 digits, got 2"]),
        (["vgg19", "--arch", "3 | 3 | 3"], ["vgg19 is no elastic family", "elastic_small"]),
        (["tiny_cnn", "--option", "width"], ["expected NAME=VALUE, got 'width'"]),
        (["tiny_cnn", "--option", "widht=2"], ["no option 'widht'; it takes: channels"]),
        (["tiny_cnn", "--option", "channels=3"], ["--option channels: use", "--channels"]),
        (["mobilenetv3_small", "--option", "width=0"], ["expected a width above 0, got 0"]),
        (["mobilenetv3_small", "--option", "width=wide"], ["expected a width above 0", "wide"]),
        (["mcunet", "--option", "description=no.json"], ["cannot read MCUNet description no.json"]),
    ],
)
def test_architectures_and_options_that_cannot_be(call, arguments, parts):
    called = call("macs", *arguments)
    called.assert_refused(*parts)


def test_options_of_a_builder(call):
    half = counted(call, "mobilenetv3_small", "--option", "width=0.5", "--option", "norm_eps=0.001")
    assert half["params"] < counted(call, "mobilenetv3_small")["params"]


def shown(row, key):
    ends = [row["smallest"], row] if row["smallest"] else [row]
    return " to ".join(format_value(end[key], "count") for end in ends)


def test_the_pages_table_is_what_is_counted(call):
    page = (Path(__file__).parents[2] / "docs/networks.md").read_text(encoding="utf-8")
    cells = {
        row["name"]: f"| {row['classes']:,} | {shown(row, 'macs')} | {shown(row, 'parameters')} |"
        for row in json.loads(call("nets", "--json").out)
    }
    missing = [
        name
        for name, figures in cells.items()
        if not re.search(rf"^\| `{name}` \|.*{re.escape(figures)}$", page, re.MULTILINE)
    ]
    assert missing == []
