"""Public Once-for-All checkpoints: files with their key names, made here."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hybridge.design.nets.architecture import Space
from hybridge.design.nets.mobilenet import Family, MobileNet, StageShape
from hybridge.design.nets.parts import Block
from hybridge.design.nets.weights import load_weights
from hybridge.design.supernet.extract import extract
from hybridge.design.supernet.supernet import Supernet
from hybridge.errors import DataError

SHAPES = (StageShape(8, 2, "relu", squeeze=False), StageShape(16, 1, "h_swish", squeeze=True))
FAMILY = Family(
    8, 2, Block(8, 8, 8, 3), SHAPES, 32, 48, Space(2, (3, 5, 7), (3, 4, 6), (2, 3)), (32,)
)
_PARTS = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}


def public_key(key: str, *, elastic: bool, around: str = "mobile_inverted_conv") -> str:
    """Return how the public files call a weight of ours."""
    key = re.sub("^stem", "first_conv", key)
    key = re.sub("^final", "final_expand_layer", key)
    key = re.sub("^last.0", "feature_mix_layer.conv", key)
    key = re.sub("^classifier", "classifier.linear", key)
    found = re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(.*)", key)
    if not found:
        return key
    number, part, rest = found.groups()
    if part == "squeeze":
        return f"blocks.{number}.{around}.depth_conv.se.fc.{rest}"
    if rest.startswith("conv.matrices"):
        rest = "conv." + rest.removeprefix("conv.matrices.") + "_matrix"
    elif elastic and number != "0":
        rest = re.sub(r"^(conv|bn)\.", r"\1.\1.", rest)
    return f"blocks.{number}.{around}.{_PARTS[part]}.{rest}"


def public_weights(network: MobileNet, **how: str) -> dict[str, Tensor]:
    elastic = isinstance(network, Supernet)
    return {
        public_key(key, elastic=elastic, **how): value.clone()
        for key, value in network.state_dict().items()
    }


def supernet(seed: int) -> Supernet:
    torch.manual_seed(seed)
    made = Supernet(7, FAMILY)
    for name, value in made.state_dict().items():
        if (value.is_floating_point() and value.dim() == 1) or "matrices" in name:
            value.uniform_(0.5, 1.5)
    return made


def assert_equal(first: MobileNet, second: MobileNet) -> None:
    found, expected = first.state_dict(), second.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def save_torch(weights: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": weights, "epoch": 25}, path)


def save_torch_of_old(weights: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("around", ["mobile_inverted_conv", "conv"])
@pytest.mark.parametrize(
    ("save", "name"),
    [
        (save_file, "net.safetensors"),
        (save_torch, "net.pth"),
        (save_torch, "ofa_mbv3_w1.0"),
        (save_torch_of_old, "ofa_mbv3_w1.2"),
    ],
    ids=["safetensors", "torch", "no suffix", "no suffix, old"],
)
def test_a_supernet_is_filled(
    tmp_path: Path, save: Callable[[dict[str, Tensor], Path], None], name: str, around: str
) -> None:
    public, ours = supernet(0), supernet(1)
    weights = public_weights(public, around=around)
    assert f"blocks.1.{around}.depth_conv.conv.7to5_matrix" in weights
    assert f"blocks.6.{around}.depth_conv.se.fc.reduce.bias" in weights
    assert f"blocks.0.{around}.depth_conv.conv.weight" in weights
    assert f"blocks.1.{around}.inverted_bottleneck.bn.bn.running_mean" in weights
    save(weights, tmp_path / name)
    load_weights(ours, tmp_path / name, names="ofa")
    assert_equal(ours, public)


def test_a_network_that_was_taken_out_is_filled(tmp_path: Path) -> None:
    public = extract(supernet(0), FAMILY.space.smallest)
    ours = MobileNet(7, FAMILY.outline(FAMILY.space.smallest))
    save_file(public_weights(public), tmp_path / "net.safetensors")
    load_weights(ours, tmp_path / "net.safetensors", names="ofa")
    assert_equal(ours, public)


def test_counters_may_be_left_out(tmp_path: Path) -> None:
    weights = public_weights(supernet(0))
    kept = {key: value for key, value in weights.items() if "num_batches" not in key}
    save_file(kept, tmp_path / "net.safetensors")
    load_weights(supernet(1), tmp_path / "net.safetensors", names="ofa")


def test_missing_weights_are_listed(tmp_path: Path) -> None:
    weights = public_weights(supernet(0))
    del weights["blocks.3.mobile_inverted_conv.depth_conv.conv.5to3_matrix"]
    weights["extra.weight"] = torch.zeros(1)
    save_file(weights, tmp_path / "net.safetensors")
    with pytest.raises(DataError, match=r"missing: blocks\.3\..*5to3; unexpected: extra\.weight"):
        load_weights(supernet(1), tmp_path / "net.safetensors", names="ofa")


def test_another_number_of_classes_is_said(tmp_path: Path) -> None:
    save_file(public_weights(supernet(0)), tmp_path / "net.safetensors")
    with pytest.raises(DataError, match="for 7 classes, the network was built for 1000"):
        load_weights(Supernet(1000, FAMILY), tmp_path / "net.safetensors", names="ofa")
