import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.data.parquet import open_parquet
from hybridge.design.export.onnx import freeze
from hybridge.design.nets import PixelNetwork, build, network, networks
from hybridge.design.nets.network import Classifier
from hybridge.design.nets.weights import load_weights
from hybridge.errors import ConfigError, UnknownNameError
from hybridge.plan.tensors import TensorSpec

SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data"))


def pixel_network(name: str, **options) -> PixelNetwork:
    info = networks.get(name)
    return PixelNetwork(build(name, 7, **options), info.mean, info.std).eval()


@pytest.mark.parametrize("name", networks.names())
def test_every_network_embeds_and_classifies(name):
    info = networks.get(name)
    is_small = info.resolution < 100
    with torch.device("cpu" if is_small else "meta"), torch.no_grad():
        network = pixel_network(name)
        pixels = torch.randint(0, 256, (1, *info.geometry.shape), dtype=torch.uint8)
        features, logits = network.embed_and_classify(pixels)
        assert logits.shape == (1, 7)
        assert features.ndim == 2
        assert network(pixels).shape == (1, 7)
        if is_small:  # the others have no values: their weights would take gigabytes
            assert torch.equal(logits, network(pixels))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("vgg19", ["features.34.bias", "classifier.0.weight", "classifier.6.bias"]),
        ("vgg11_cifar", ["features.25.weight", "features.26.running_var", "classifier.bias"]),
        (
            "resnet50",
            [
                *("conv1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "fc.bias"),
                *(
                    "layer4.0.downsample.0.weight",
                    "layer4.0.downsample.1.bias",
                    "layer4.2.bn3.bias",
                ),
            ],
        ),
    ],
)
def test_weights_have_the_names_of_published_files(name, keys):
    with torch.device("meta"):
        state = build(name, 10).state_dict()
    assert [key for key in keys if key not in state] == []


def test_strides_are_in_the_3x3():
    with torch.device("meta"):
        block = build("resnet50", 10).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_default_classes():
    counts = {name: networks.get(name).class_count for name in ("tiny_cnn", "vgg11_cifar", "vgg19")}
    assert counts == {"tiny_cnn": 10, "vgg11_cifar": 10, "vgg19": 1000}


def test_normalisation_is_the_first_layer():
    network = PixelNetwork(nn.Identity(), (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    pixels = torch.full((1, 2, 3, 3), 255, dtype=torch.uint8)
    images = network(pixels)
    assert images.shape == (1, 3, 2, 3)
    assert images[0, :, 0, 0].tolist() == pytest.approx([1, 3, 1])


def test_mean_and_std_must_fit_each_other():
    with pytest.raises(ConfigError, match="as many positive std as mean"):
        PixelNetwork(nn.Identity(), (0.5,), (0.0,))


def test_a_network_without_features_says_so():
    network = PixelNetwork(nn.Flatten(), (0.5,), (0.5,))
    assert not network.embeds
    with pytest.raises(ConfigError, match="Flatten has no penultimate features"):
        network.embed_and_classify(torch.zeros(1, 2, 2, 1, dtype=torch.uint8))


def test_exported_equals_eager(tmp_path):
    geometry = networks.get("cifar_resnet8").geometry
    pixels = TensorSpec(name="pixels", dtype="uint8", shape=geometry.shape)
    network = pixel_network("cifar_resnet8", width=8, stem_stride=2)
    program = freeze(network, "base", pixels, ("logits",), geometry, tmp_path)
    assert program.outputs[0].shape == (7,)


def test_options_change_the_network():
    def size(**options) -> int:
        return sum(p.numel() for p in build("cifar_resnet8", 10, **options).parameters())

    assert size(width=8) < size() < size(width=24)
    assert build("cifar_resnet8", 10, channels=1)(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_misspelt_names_and_options_are_corrected():
    with pytest.raises(UnknownNameError, match="did you mean 'cifar_resnet20'"):
        build("cifar_resnet_20", 10)
    with pytest.raises(ConfigError, match="no option 'widht'; did you mean 'width'"):
        build("cifar_resnet8", 10, widht=8)


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered twice"):
        network("tiny_cnn", resolution=1, mean=(0,), std=(1,), about="")(nn.Identity)


def test_a_network_of_the_users_own(monkeypatch):
    module = types.ModuleType("my_networks")
    module.flat = lambda class_count, size=4: nn.Linear(size, class_count)
    module.constant = 3
    monkeypatch.setitem(sys.modules, "my_networks", module)
    assert build("my_networks:flat", 5, size=2)(torch.zeros(1, 2)).shape == (1, 5)
    with pytest.raises(UnknownNameError, match="did you mean 'flat'"):
        build("my_networks:flatt", 5)
    with pytest.raises(ConfigError, match="no function"):
        build("my_networks:constant", 5)
    with pytest.raises(UnknownNameError, match="no module 'no_such_module'"):
        build("no_such_module:x", 5)


def test_a_module_that_fails_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_networks.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "script_of_networks.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="cannot be imported: RuntimeError: not today"):
        build("broken_networks:x", 5)
    with pytest.raises(ConfigError, match="cannot be imported: SystemExit"):
        build("script_of_networks:x", 5)


def test_embed_and_head_must_be_given():
    with pytest.raises(NotImplementedError):
        Classifier().embed(torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "file", "count", "accuracy"),
    [
        ("cifar_resnet20", "resnet20_cifar10", 150, 0.9173),
        ("cifar_resnet56", "resnet56_cifar10", 150, 0.9339),
        ("vgg11_cifar", "vgg11_cifar10", 300, 0.8816),
    ],
)
def test_published_weights_reach_their_accuracy(name, file, count, accuracy):
    weights = SHARED / "weights" / f"{file}.safetensors"
    if not weights.exists():
        pytest.skip("the published weights are not here")
    info = networks.get(name)
    inner = build(name, 10)
    load_weights(inner, weights)
    network = PixelNetwork(inner, info.mean, info.std).eval()
    data = open_parquet(SHARED / "cifar10" / "test.parquet", info.geometry)
    rows = np.arange(count)
    with torch.no_grad():
        answers = network(torch.from_numpy(data.pixels(rows))).argmax(1).numpy()
    assert (answers == data.labels[rows]).mean() == pytest.approx(accuracy, abs=0.04)
