"""MCUNet's description: the network that a JSON file says, or what is wrong in it."""

import copy
import json

import pytest
import torch

from hybridge.design.nets import build
from hybridge.design.nets.mcunet import IMAGENET
from hybridge.design.nets.mcunet_json import read_description
from hybridge.design.nets.mobilenetv3 import LARGE, outline_of
from hybridge.errors import ConfigError, DataError


def block(reads, gives, kernel, stride, expansion, *, shortcut=False, **keys):
    inverted = {
        "name": "MBInvertedConvLayer",
        "in_channels": reads,
        "out_channels": gives,
        "kernel_size": kernel,
        "stride": stride,
        "expand_ratio": expansion,
        "mid_channels": None if expansion == 1 else reads * expansion,
        "act_func": "relu6",
        "use_se": False,
        **keys,
    }
    identity = {"name": "IdentityLayer", "in_channels": [reads], "out_channels": [gives]}
    return {
        "name": "MobileInvertedResidualBlock",
        "mobile_inverted_conv": inverted,
        "shortcut": identity if shortcut else None,
    }


def convolution(reads, gives, kernel, stride):
    return {
        "name": "ConvLayer",
        "kernel_size": kernel,
        "stride": stride,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "in_channels": reads,
        "out_channels": gives,
        "use_bn": True,
        "act_func": "relu6",
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
    }


@pytest.fixture
def description():
    return {
        "name": "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 0.001, "ws_eps": None},
        "first_conv": convolution(3, 8, 3, 2),
        "blocks": [
            block(8, 8, 3, 1, 1),
            block(8, 16, 5, 2, 3),
            block(16, 16, 7, 1, 4, shortcut=True, use_se=True),
        ],
        "feature_mix_layer": convolution(16, 32, 1, 1),
        "classifier": {"name": "LinearLayer", "in_features": 32, "out_features": 10, "bias": True},
        "resolution": 32,
    }


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "net.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_a_description_becomes_a_network(description, written):
    network = build("mcunet", 5, description=str(written(description))).eval()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    assert network.stem.bn.eps == network.final.bn.eps == 0.001
    first, second, third = network.blocks
    assert (first.expand, first.residual, second.residual) == (None, False, False)
    assert third.residual
    assert third.squeeze.reduce.out_channels == 16
    assert third.depthwise.conv.kernel_size == (7, 7)
    assert sum(p.numel() for p in network.final.parameters()) == 16 * 32 + 2 * 32


def test_a_description_of_a_named_network_is_that_network(description, written):
    rows = IMAGENET["mcunet_in1"]
    blocks = [
        block(
            made.in_channels,
            made.out_channels,
            made.kernel,
            made.stride,
            made.middle // made.in_channels,
            shortcut=made.residual,
        )
        for made in rows.outline.blocks
    ]
    description |= {"first_conv": convolution(3, rows.stem_channels, 3, 2), "blocks": blocks}
    description |= {"feature_mix_layer": None, "bn": {"eps": 1e-5}}
    description["classifier"]["in_features"] = blocks[-1]["mobile_inverted_conv"]["out_channels"]
    outline = read_description(written(description)).outline
    # A block without a residual may say that it skips nothing.
    assert [b.residual for b in outline.blocks] == [b.residual for b in rows.outline.blocks]
    with torch.device("meta"):
        ours = build("mcunet_in1", 9).state_dict()
        theirs = build("mcunet", 9, description=str(written(description))).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


FAULTS = [
    ("blocks.1.mobile_inverted_conv.kernel_size", 4, r"blocks\.1\.mobile_inverted_conv\.kernel"),
    ("blocks.1.mobile_inverted_conv.in_channels", 10, r"blocks\.1: reads 10 channels"),
    ("blocks.1.mobile_inverted_conv.mid_channels", 8, r"blocks\.1.*expand_ratio' 3 and 8 middle"),
    ("blocks.2.mobile_inverted_conv.act_func", "gelu", r"blocks\.2.*act_func"),
    ("blocks.2.mobile_inverted_conv.out_channels", 24, r"blocks\.2.*shortcut needs stride 1"),
    ("blocks.1.mobile_inverted_conv.out_channels", 24, r"blocks\.2: reads 16 channels.*gives 24"),
    ("blocks.0.mobile_inverted_conv", {"name": "ZeroLayer", "stride": 1}, r"blocks\.0.*MBInverted"),
    ("blocks", [], "blocks: .*at least 1"),
    ("first_conv.kernel_size", 5, "first_conv: expected 'kernel_size' 3, got 5"),
    ("first_conv.groups", 2, r"first_conv\.groups"),
    ("feature_mix_layer.kernel_size", 3, "feature_mix_layer: expected 'kernel_size' 1"),
    ("feature_mix_layer.act_func", "relu", "feature_mix_layer: expected the 'act_func' of first"),
    ("feature_mix_layer.in_channels", 8, "feature_mix_layer: reads 8 channels.*gives 16"),
    ("classifier.in_features", 16, "classifier: reads 16 channels.*gives 32"),
    ("classifier.dropout_rate", 1, r"classifier\.dropout_rate"),
    ("name", "MobileNetV2", "name: .*ProxylessNASNets"),
]


@pytest.mark.parametrize(("place", "value", "message"), FAULTS, ids=[place for place, *_ in FAULTS])
def test_faults_are_named_with_their_place(description, written, place, value, message):
    faulty = copy.deepcopy(description)
    *above, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    here = faulty
    for part in above:
        here = here[part]
    here[last] = value
    path = written(faulty)
    with pytest.raises(DataError, match=message) as caught:
        build("mcunet", 5, description=str(path))
    assert str(caught.value).startswith(f"{path} is no MCUNet description")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_description(written, tmp_path):
    with pytest.raises(DataError, match="cannot read MCUNet description"):
        build("mcunet", 5, description=str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="is no MCUNet description"):
        build("mcunet", 5, description=str(written("not JSON")))
    with pytest.raises(ConfigError, match="expected the path of a JSON file, got 3"):
        build("mcunet", 5, description=3)


def test_widths_round_channels_and_keep_the_features():
    narrow, wide = outline_of(LARGE, 0.5), outline_of(LARGE, 1.5)
    assert (narrow.stem_channels, narrow.final_channels, narrow.last_channels) == (8, 480, 1280)
    assert (wide.stem_channels, wide.final_channels, wide.last_channels) == (24, 1440, 1920)
    for outline in (narrow, wide):
        channels = [c for b in outline.blocks for c in (b.in_channels, b.middle, b.out_channels)]
        assert all(count % 8 == 0 for count in channels)
    with pytest.raises(ConfigError, match="expected a width above 0, got 0"):
        build("mobilenetv3_large", 5, width=0)


def test_normalisation_of_published_weights():
    """torchvision's add 0.001 to variances, timm's 0.00001."""
    with torch.device("meta"):
        network = build("mobilenetv3_small", 5, norm_eps=1e-3)
        assert {m.eps for m in network.modules() if hasattr(m, "eps")} == {1e-3}
        assert build("mobilenetv3_small", 5).stem.bn.eps == 1e-5
