"""Checkpoints with public names: files are made here by the rules of those who publish them."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hybridge.design.graph.meta import Undrawn
from hybridge.design.nets import build
from hybridge.design.nets.public_names import namings, prefixes_of
from hybridge.design.nets.weights import check_weights, load_weights, stored_class_count
from hybridge.errors import ConfigError, DataError, UnknownNameError


def normalised(*arguments, **options) -> list[nn.Module]:
    return [nn.Conv2d(*arguments, bias=False, **options), nn.BatchNorm2d(arguments[1])]


#: MobileNetV3-small as its paper's table 2 has it: kernel, middle, channels, squeezed, stride.
SMALL = [
    *((3, 16, 16, 8, 2), (3, 72, 24, 0, 2), (3, 88, 24, 0, 1), (5, 96, 40, 24, 2)),
    *((5, 240, 40, 64, 1), (5, 240, 40, 64, 1), (5, 120, 48, 32, 1), (5, 144, 48, 40, 1)),
    *((5, 288, 96, 72, 2), (5, 576, 96, 144, 1), (5, 576, 96, 144, 1)),
]
STAGES = (1, 2, 3, 2, 3)


def squeeze(channels: int, middle: int, names: tuple[str, str]) -> nn.Module:
    layers = (nn.Conv2d(channels, middle, 1), nn.Conv2d(middle, channels, 1))
    return nn.ModuleDict(dict(zip(names, layers, strict=True)))


def torchvision_small() -> nn.Module:
    """Keys as torchvision's: a block is a sequence of parts, and the head is linear."""
    features = [nn.Sequential(*normalised(3, 16, 3))]
    reads = 16
    for kernel, middle, gives, squeezed, _ in SMALL:
        parts = [nn.Sequential(*normalised(reads, middle, 1))] if middle != reads else []
        parts.append(nn.Sequential(*normalised(middle, middle, kernel, groups=middle)))
        if squeezed:
            parts.append(squeeze(middle, squeezed, ("fc1", "fc2")))
        parts.append(nn.Sequential(*normalised(middle, gives, 1)))
        features.append(nn.ModuleDict({"block": nn.ModuleList(parts)}))
        reads = gives
    features.append(nn.Sequential(*normalised(96, 576, 1)))
    head = (nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(), nn.Linear(1024, 7))
    return nn.ModuleDict({"features": nn.ModuleList(features), "classifier": nn.Sequential(*head)})


def timm_small() -> nn.Module:
    """Keys as timm's: blocks by stage, layers by name, and the head has a convolution."""
    made, reads = [], 16
    for kernel, middle, gives, squeezed, _ in SMALL:
        depthwise = normalised(middle, middle, kernel, groups=middle)
        parts: dict[str, nn.Module] = {}
        if middle != reads:
            parts["conv_pw"], parts["bn1"] = normalised(reads, middle, 1)
            parts["conv_dw"], parts["bn2"] = depthwise
            parts["conv_pwl"], parts["bn3"] = normalised(middle, gives, 1)
        else:
            parts["conv_dw"], parts["bn1"] = depthwise
            parts["conv_pw"], parts["bn2"] = normalised(middle, gives, 1)
        if squeezed:
            parts["se"] = squeeze(middle, squeezed, ("conv_reduce", "conv_expand"))
        made.append(nn.ModuleDict(parts))
        reads = gives
    blocks = iter(made)
    stages = [nn.ModuleList([next(blocks) for _ in range(depth)]) for depth in STAGES]
    last = dict(zip(("conv", "bn1"), normalised(96, 576, 1), strict=True))
    stages.append(nn.ModuleList([nn.ModuleDict(last)]))
    stem = dict(zip(("conv_stem", "bn1"), normalised(3, 16, 3), strict=True))
    head = {"conv_head": nn.Conv2d(576, 1024, 1), "classifier": nn.Linear(1024, 7)}
    return nn.ModuleDict({**stem, "blocks": nn.ModuleList(stages), **head})


def mcunet_in0() -> nn.Module:
    """Keys as MCUNet's: an inverted convolution inside each block."""

    def layer(*arguments, **options) -> nn.Module:
        parts = zip(("conv", "bn"), normalised(*arguments, **options), strict=True)
        return nn.Sequential(OrderedDict(parts))

    rows = [(3, 1, 16), (5, 4, 16), (3, 3, 16), (3, 4, 16), (7, 5, 24), (5, 4, 24), (5, 5, 24)]
    rows += [(7, 5, 48), (5, 4, 48), (3, 5, 56), (5, 4, 56), (3, 5, 56), (3, 6, 112), (5, 4, 112)]
    blocks, reads = [], 24
    for kernel, expansion, gives in [*rows, (3, 6, 192)]:
        middle = reads * expansion
        parts = {"inverted_bottleneck": layer(reads, middle, 1)} if expansion > 1 else {}
        parts["depth_conv"] = layer(middle, middle, kernel, groups=middle)
        parts["point_linear"] = layer(middle, gives, 1)
        blocks.append(nn.ModuleDict({"mobile_inverted_conv": nn.ModuleDict(parts)}))
        reads = gives
    head = nn.ModuleDict({"linear": nn.Linear(192, 7)})
    return nn.ModuleDict(
        {"first_conv": layer(3, 24, 3), "blocks": nn.ModuleList(blocks), "classifier": head}
    )


#: Keys of a file, and of our network, that hold the same numbers.
CASES = [
    (
        "mobilenetv3_small_100",
        "torchvision",
        torchvision_small,
        {
            "features.4.block.2.fc1.weight": "blocks.3.squeeze.reduce.weight",
            "features.4.block.1.1.running_mean": "blocks.3.depthwise.bn.running_mean",
            "features.1.block.0.1.bias": "blocks.0.depthwise.bn.bias",
            "features.12.1.weight": "final.bn.weight",
            "classifier.0.bias": "last.0.bias",
            "classifier.3.weight": "classifier.weight",
        },
    ),
    (
        "mobilenetv3_small_100",
        "timm",
        timm_small,
        {
            "blocks.2.0.se.conv_reduce.weight": "blocks.3.squeeze.reduce.weight",
            "blocks.2.0.bn2.running_mean": "blocks.3.depthwise.bn.running_mean",
            "blocks.0.0.bn1.bias": "blocks.0.depthwise.bn.bias",
            "blocks.5.0.bn1.weight": "final.bn.weight",
            "conv_head.bias": "last.0.bias",
            "classifier.weight": "classifier.weight",
        },
    ),
    (
        "mcunet_in0",
        "mcunet",
        mcunet_in0,
        {
            "blocks.1.mobile_inverted_conv.inverted_bottleneck.bn.bias": "blocks.1.expand.bn.bias",
            "blocks.1.mobile_inverted_conv.depth_conv.bn.bias": "blocks.1.depthwise.bn.bias",
            "blocks.2.mobile_inverted_conv.point_linear.bn.bias": "blocks.2.project.bn.bias",
            "first_conv.conv.weight": "stem.conv.weight",
            "classifier.linear.bias": "classifier.bias",
        },
    ),
]


@pytest.mark.parametrize(
    ("name", "names", "published", "pairs"), CASES, ids=[names for _, names, *_ in CASES]
)
def test_published_files_fill_our_networks(name, names, published, pairs, tmp_path):
    state = {key: torch.rand_like(value.float()) for key, value in published().state_dict().items()}
    path = tmp_path / "published.pth"
    torch.save({"state_dict": state, "epoch": 3}, path)
    network = build(name, 7)
    check_weights(network, path, names=names)
    load_weights(network, path, names=names)
    own = network.state_dict()
    for theirs, ours in pairs.items():
        assert torch.equal(own[ours], state[theirs].reshape(own[ours].shape)), ours
    assert stored_class_count(network, path, {}, names) == 7
    sums = [
        sorted(v.sum().item() for k, v in found.items() if "tracked" not in k)
        for found in (own, state)
    ]
    assert sums[0] == pytest.approx(sums[1])  # every weight of the file is somewhere
    state.pop(next(iter(pairs)))
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(DataError, match=r"missing: blocks\.\d"):
        load_weights(network, tmp_path / "less.safetensors", names=names)


def test_prefixes_are_taken_off_before_public_names(tmp_path):
    theirs = build("cifar_resnet8", 7)
    state = {f"module.{key.replace('linear', 'fc')}": v for key, v in theirs.state_dict().items()}
    save_file(state, tmp_path / "wrapped.safetensors")
    ours = build("cifar_resnet8", 7)
    load_weights(
        ours, tmp_path / "wrapped.safetensors", prefixes={"module.": ""}, names="torchvision"
    )
    assert torch.equal(ours.linear.weight, theirs.linear.weight)


def test_a_linear_layer_over_maps_is_a_convolution():
    """timm's VGG has its first linear layer as a 7x7 convolution."""
    with torch.device("meta"), Undrawn():
        network = build("vgg19", 7)
    assert prefixes_of("timm", network)["pre_logits.fc1."] == "classifier.0."
    assert prefixes_of("torchvision", network) == {}
    with torch.device("meta"), Undrawn():
        assert prefixes_of("timm", build("resnet50", 7)) == {}


def test_rows_of_another_number_are_no_layer_of_another_kind(tmp_path):
    network = build("mobilenetv3_small", 7, width=0.25)
    wider = build("mobilenetv3_small", 7, width=0.5)
    save_file(wider.state_dict(), tmp_path / "wider.safetensors")
    with pytest.raises(DataError, match="misshapen: "):
        load_weights(network, tmp_path / "wider.safetensors", names="mcunet")


@pytest.mark.parametrize("names", namings.names())
def test_networks_that_others_do_not_name(names):
    with pytest.raises(ConfigError, match=f"names '{names}' are not known for a PlainCNN"):
        prefixes_of(names, build("tiny_cnn", 7))


def test_heads_that_others_do_not_name():
    with torch.device("meta"), pytest.raises(ConfigError, match="not known for a MobileNet"):
        prefixes_of("torchvision", build("mcunet_in0", 7))


def test_misspelt_names():
    with pytest.raises(UnknownNameError, match="did you mean 'torchvision'"):
        prefixes_of("torchvison", build("tiny_cnn", 7))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no weights", "expected a file of tensors that torch saved at"),
        ({"optimizer": {"lr": 0.1}}, "got dict at 'optimizer'"),
        ({"model": torch.zeros(1), "step": 3}, "got int at 'step'"),
        ([1, 2], "got list"),
        ({}, "got dict"),
        (None, "cannot read weights"),
    ],
    ids=["text", "no state", "beside a number", "list", "empty", "missing"],
)
def test_files_of_torch_that_are_none(tmp_path, content, message):
    path = tmp_path / "net.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    for read in (load_weights, check_weights):
        with pytest.raises(DataError, match=message):
            read(build("tiny_cnn", 10), path)


class Harmful:
    def __reduce__(self):
        return (print, ("code that a file brought was run",))


def test_no_code_of_a_file_is_run(tmp_path, capsys):
    torch.save({"state_dict": {"weight": Harmful()}}, tmp_path / "harmful.pth")
    with pytest.raises(DataError, match="expected a file of tensors that torch saved at"):
        load_weights(build("tiny_cnn", 10), tmp_path / "harmful.pth")
    assert capsys.readouterr().out == ""
