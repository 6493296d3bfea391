"""`hybridge partition`."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.codecs.codec import codec_named
from hybridge.design.nets import build
from hybridge.design.nets.weights import save_weights

PARTS = ("edge_ms", "link_ms", "cloud_ms")


def found(call, *arguments):
    called = call("partition", *arguments, "--json")
    assert (called.status, called.err) == (0, "")
    return json.loads(called.out)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_weights(build("cifar_resnet8", 10), tmp_path / "resnet8.safetensors")
    return tmp_path / "resnet8.safetensors"


@pytest.fixture
def photos(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "photos.npz", pixels=pixels, labels=np.arange(9) % 2)
    return pixels, f"arrays:{tmp_path / 'photos.npz'}"


def test_a_row_for_each_bandwidth(call):
    bandwidths = ("--bandwidth-mbps", 0.01, "--bandwidth-mbps", 1000)
    what = found(call, "cifar_resnet20", "--device", "stm32f746", *bandwidths)
    assert (what["network"], what["resolution"], what["classes"]) == ("cifar_resnet20", 32, 10)
    assert (what["device"], what["cloud"], what["link"]) == ("stm32f746", "v100", "lte")
    slow, fast = what["cuts"]
    assert (slow["bandwidth_mbps"], fast["bandwidth_mbps"]) == (0.01, 1000)
    assert slow["best"] == slow["edge_only"]
    assert fast["best"] == fast["cloud_only"]
    assert (slow["best"]["cloud"], slow["best"]["crossing"], slow["best"]["bytes"]) == ([], [], 0)
    assert (fast["best"]["edge"], fast["best"]["crossing"]) == ([], ["input"])
    assert fast["best"]["bytes"] == 3 * 32 * 32
    for cut in (*slow.values(), *fast.values()):
        if isinstance(cut, dict):
            assert cut["latency_ms"] == pytest.approx(sum(cut[part] for part in PARTS))
            assert len(cut["edge"]) + len(cut["cloud"]) == 72
    device = ("--device", "stm32f746")
    printed = call("partition", "cifar_resnet20", *device, *bandwidths).out
    assert len([line for line in printed.splitlines() if " input " in line]) == 1
    assert "Cloud only" in printed


class Funnel(nn.Module):
    """Few numbers are left after its first layer, and most of its work."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(3, 2, 4, stride=4)
        self.layers = nn.Sequential(nn.Conv2d(2, 512, 3), nn.ReLU(), nn.Conv2d(512, 64, 3))
        self.last = nn.Linear(64 * 4 * 4, class_count)

    def forward(self, images):
        return self.last(self.layers(self.shrink(images)).flatten(1))


class Gate(nn.Module):
    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(12, class_count)

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return logits if logits.max() > 0 else -logits


@pytest.fixture
def elsewhere(monkeypatch):
    module = types.ModuleType("nets_elsewhere")
    module.funnel, module.gate = Funnel, Gate
    monkeypatch.setitem(sys.modules, "nets_elsewhere", module)


@pytest.mark.usefixtures("elsewhere")
def test_a_cut_in_the_middle(call):
    size = ("--resolution", 32, "--classes", 5)
    arguments = ("nets_elsewhere:funnel", *size, "--device", "stm32f746", "--link", "wifi-near")
    (cut,) = found(call, *arguments, "--bandwidth-mbps", 0.5, "--codec", "fp16")["cuts"]
    best = cut["best"]
    assert best["edge"] == ["shrink"]
    assert best["cloud"] == ["layers.0", "layers.1", "layers.2", "flatten", "last"]
    assert (best["crossing"], best["bytes"]) == (["shrink"], 2 * 2 * 8 * 8)
    assert best["latency_ms"] < min(cut[name]["latency_ms"] for name in ("edge_only", "cloud_only"))
    rows = [line.split() for line in call("partition", *arguments).out.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["best"]]
    assert row[:4] == ["best", "1", "5", "shrink"]
    assert ["edge", "shrink"] in rows
    assert ["cloud", "layers.0", "to", "last"] in rows


def test_sizes_are_measured_on_images(call, weights, photos):
    pixels, source = photos
    trained = ("--weights", weights, "--data", source, "--image-codec", "jpeg-90")
    what = found(call, "cifar_resnet8", *trained, "--limit", 3, "--bandwidth-mbps", 100)
    assert what["sizes"] == {
        "measured": True,
        "images": 3,
        "image_codec": "jpeg-90",
        "codec": "int8-zstd",
    }
    encoded = codec_named("jpeg-90").encode(pixels[[0, 3, 6]])
    assert what["cuts"][0]["cloud_only"]["bytes"] == encoded.payload_bytes / 3
    assert what["cuts"][0]["cloud_only"]["cloud"][-1] == "network.linear"
    printed = call("partition", "cifar_resnet8", *trained).out
    assert "means of 9 images, by jpeg-90 and int8-zstd" in printed


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["vgg91"], ["unknown network 'vgg91'"]),
        (["vgg11_cifar", "--device", "v10"], ["unknown device 'v10'", "did you mean 'v100'"]),
        (["vgg11_cifar", "--cloud", "cloud.json"], ["cannot read device profile cloud.json"]),
        (["vgg11_cifar", "--link", "5g"], ["unknown link '5g'", "did you mean '3g'"]),
        (["vgg11_cifar", "--bandwidth-mbps", 0], ["--bandwidth-mbps", "positive number, got 0"]),
        (["vgg11_cifar", "--bandwidth-mbps", "inf"], ["--bandwidth-mbps", "got inf"]),
        (["vgg11_cifar", "--bandwidth-mbps", "fast"], ["--bandwidth-mbps", "number"]),
        (["vgg11_cifar", "--resolution", 8], ["features.21", "size"]),
        (["vgg11_cifar", "--codec", "jpeg-90"], ["'jpeg-90' is no codec of features", "fp16"]),
        (["vgg11_cifar", "--weights", "w.safetensors"], ["--weights goes with --data"]),
        (["vgg11_cifar", "--data", "digits"], ["--data needs --weights"]),
        (["mynets:net"], ["needs --resolution and --classes"]),
    ],
    ids=lambda value: "-".join(map(str, value))[:40],
)
def test_bad_input_is_refused(call, arguments, parts):
    call("partition", *arguments).assert_refused(*parts)


def test_bad_weights_and_images_are_refused(call, weights, photos, tmp_path):
    _, source = photos

    def refused(network, file, data, *parts, options=()):
        arguments = ("--weights", file, "--data", data, *options)
        call("partition", network, *arguments).assert_refused(*parts)

    refused("vgg11_cifar", weights, source, "the weights are not this network's")
    refused("cifar_resnet8", tmp_path / "none", source, "expected a safetensors file")
    refused("cifar_resnet8", weights, "arrays:none.npz", "none.npz")
    refused("cifar_resnet8", weights, "images", "unknown kind of data 'images'")
    codec = ("--image-codec", "png")
    refused("cifar_resnet8", weights, source, "unknown codec 'png'", options=codec)
    size = ("--resolution", 8, "--classes", 2)
    refused("mynets:net", weights, source, "--data needs a registered network", options=size)


@pytest.mark.usefixtures("elsewhere")
def test_a_network_that_cannot_be_captured_is_refused(call):
    refused = call("partition", "nets_elsewhere:gate", "--resolution", 2, "--classes", 5)
    refused.assert_refused("Gate, line", "logits.max() > 0")
