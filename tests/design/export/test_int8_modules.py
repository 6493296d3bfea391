"""Ordinary torch modules in integers, beside onnxruntime; what comes out wrong is refused."""

import numpy as np
import pytest
import torch
from micro_pairs import SIDE, needs_tflm, pictures
from test_int8_program import CLASSES, both, constant, conv, node, program
from torch import nn

from hybridge.design.export.int8_program import translate
from hybridge.design.export.onnx import freeze
from hybridge.design.export.onnx_steps import read_steps
from hybridge.design.export.tflite_file import Quantisation, TFLiteFile
from hybridge.design.export.tflm_run import MicroInterpreter
from hybridge.design.nets.network import PixelNetwork
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Geometry, TensorSpec

PIXELS = 3 * SIDE * SIDE


def stem():
    return nn.Conv2d(3, 6, 3, stride=2)


class Residual(nn.Module):
    """Adds what a flattened image is, and what it is through ReLU."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = stem(), nn.Linear(6 * 25, CLASSES)

    def forward(self, pixels):
        flat = self.stem(pixels).flatten(1)
        return self.head(flat + torch.relu(flat))


def head(features=6 * 25):
    return nn.Linear(features, CLASSES)


def through(*modules):
    """Return modules behind a linear layer that gives six numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 6), *modules)


MODULES = {
    "flat, relu": lambda: nn.Sequential(stem(), nn.Flatten(), nn.ReLU(), head()),
    "flat, hard swish": lambda: nn.Sequential(stem(), nn.Flatten(), nn.Hardswish(), head()),
    "flat, sum": Residual,
    "logits through relu": lambda: nn.Sequential(nn.Flatten(), head(PIXELS), nn.ReLU()),
    "hard swish of a vector": lambda: through(nn.Hardswish(), head(6)),
    "a vector as a pixel": lambda: through(
        nn.Unflatten(1, (6, 1, 1)), nn.Conv2d(6, 4, 1), nn.Flatten(), head(4)
    ),
}
REFUSED = {
    "a view of shape": lambda: nn.Sequential(
        nn.Flatten(),
        nn.Linear(PIXELS, 96),
        nn.Unflatten(1, (6, 4, 4)),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.Flatten(),
        head(64),
    ),
    "logits through Relu6": lambda: nn.Sequential(nn.Flatten(), head(PIXELS), nn.ReLU6()),
    "expected logits of a linear layer": lambda: nn.Sequential(
        nn.Conv2d(3, CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}


def frozen(network, folder):
    base = PixelNetwork(network, (0.49, 0.49, 0.49), (0.25, 0.25, 0.25)).eval()
    pixels = TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE, 3))
    geometry = Geometry(height=SIDE, width=SIDE)
    return freeze(base, "base", pixels, ("logits",), geometry, folder)


@needs_tflm
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", list(MODULES))
def test_a_module_in_integers_says_what_onnxruntime_says(name, bits, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = frozen(MODULES[name](), tmp_path)
    wanted, got, _ = both(made, bits=bits)
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.04 * wanted.std()


@pytest.mark.parametrize("why", list(REFUSED))
def test_a_module_that_would_be_wrong_is_refused(why, tmp_path):
    made = frozen(REFUSED[why](), tmp_path)
    with pytest.raises(ConfigError, match=rf"{why}.*--target cortex-m"):
        translate(read_steps(made, pictures(2)), TFLiteFile("base"), "logits")


_POOLED = {"kernel_shape": [3, 3], "strides": [1, 1]}
_PADS = constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
ODD = {
    "dilated": ([node("MaxPool", ["x"], ["y"], dilations=[2, 2], **_POOLED)], []),
    "pads by itself": ([node("MaxPool", ["x"], ["y"], auto_pad="SAME_UPPER", **_POOLED)], []),
    "something else than 0": ([node("Pad", ["x", "pads"], ["y"], mode="reflect")], [_PADS]),
    "operator HardSigmoid": (
        [node("HardSigmoid", ["x"], ["gate"]), node("Mul", ["x", "gate"], ["y"])],
        [],
    ),
}


@pytest.mark.parametrize("why", list(ODD))
def test_attributes_that_are_not_followed_are_refused(why, tmp_path):
    steps = read_steps(program(tmp_path, ODD[why]), pictures(2))
    with pytest.raises(ConfigError, match=rf"{why}.*--target cortex-m"):
        translate(steps, TFLiteFile("base"), "logits")


@needs_tflm
def test_a_hard_sigmoid_goes_by_its_own_slope(tmp_path):
    nodes, constants = conv("x", "a", "c", 3)
    middle = ([*nodes, node("HardSigmoid", ["a"], ["y"], beta=0.3)], constants)
    wanted, got, _ = both(program(tmp_path, middle))
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.04 * wanted.std()


@needs_tflm
def test_a_linear_layer_goes_by_its_factors(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(8, 6 * SIDE * SIDE)).astype(np.float32) / 30
    nodes = [
        node("Flatten", ["x"], ["a"]),
        node("Gemm", ["a", "m", "n"], ["y"], transB=1, alpha=0.5, beta=3.0),
    ]
    constants = [constant("m", matrix), constant("n", np.float32(1))]
    wanted, got, _ = both(program(tmp_path, (nodes, constants)))
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.04 * wanted.std()


@needs_tflm
def test_what_no_microcontroller_holds_is_told_by_its_bytes():
    file, scale = TFLiteFile("large"), Quantisation((1.0,))
    image = file.tensor("image", (1, 3000, 3000, 3), "int8", scale)
    gives = file.tensor("gives", (1, 3000, 3000, 3), "int8", scale)
    file.inputs.append(image)
    file.operator("RELU", (image,), (gives,))
    file.outputs.append(gives)
    with pytest.raises(ConfigError, match="the base needs more than 54,000,000 bytes at once"):
        MicroInterpreter(file.pack(), "the base")
